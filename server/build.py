"""The version and the commit of the program."""

import subprocess
from contextlib import suppress
from importlib.metadata import version as version_of
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_NOTED = Path(__file__).with_name("COMMIT")
"""Written when the program is packed without its repository: `git rev-parse HEAD > server/COMMIT`."""
UNKNOWN = "unknown"


def version() -> str:
    """Return the version."""
    return version_of("landcast")


def commit() -> str:
    """Return the commit in hexadecimal, with `+` for a changed file; `unknown` without a repository and that file."""
    with suppress(OSError):
        return _NOTED.read_text("ascii").strip() or UNKNOWN
    if not (_ROOT / ".git").exists():  # a repository further up is not ours
        return UNKNOWN
    try:
        done = subprocess.run(  # noqa: S603  the command is ours
            ["git", "-C", str(_ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],  # noqa: S607  git is on PATH
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return done.stdout.strip() or UNKNOWN
