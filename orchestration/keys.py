"""Secrets that are made once and kept in the state folder."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile


def stored_key(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the key in the file, made once for all processes, readable by their user only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.") as draft:
            draft.write(make())
            draft.flush()
            os.fsync(draft.fileno())
            _link_if_first(Path(draft.name), path)
    return path.read_bytes()


def _link_if_first(draft: Path, path: Path) -> None:
    """Give the complete draft its name, unless another process was first."""
    with suppress(FileExistsError):
        path.hardlink_to(draft)
