"""The size of a folder on disk, and its stored value."""

import os
from pathlib import Path

import pytest

from orchestration.files.usage import allocated, known_usage, note_usage, readable_size

_MB = 1 << 20


def _file(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def test_blocks_are_counted_not_lengths(tmp_path: Path) -> None:
    empty = allocated(tmp_path)
    _file(tmp_path / "j" / "1" / "a.zip", _MB)
    with (tmp_path / "holes").open("wb") as sparse:
        sparse.truncate(100 * _MB)
    assert _MB <= allocated(tmp_path) - empty < 1.1 * _MB
    assert allocated(tmp_path / "nothing") == 0


def test_a_linked_source_file_is_not_counted(tmp_path: Path) -> None:
    source = _file(tmp_path / "europe.tif", _MB)
    prebuilt_files = tmp_path / "results" / "house"
    for key in ("a", "b"):
        (prebuilt_files / key).mkdir(parents=True)
        (prebuilt_files / key / "europe.tif").hardlink_to(source)
    (prebuilt_files / "a" / "link.tif").symlink_to(source)
    assert allocated(prebuilt_files) < _MB / 2
    source.unlink()
    assert _MB <= allocated(prebuilt_files) < 1.1 * _MB, "once it is ours alone it counts, and once"


def test_the_recorded_usage_is_shared_and_replaced(tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert known_usage(results) is None
    note_usage(results, 123_456_789_012)
    note_usage(results, 7)
    assert known_usage(results) == 7
    (tmp_path / "usage").write_bytes(b"\0" * 64)
    assert known_usage(results) is None


@pytest.mark.parametrize(
    ("size", "expected"), [(999, "999 bytes"), (1536, "1.5 KiB"), (50 * 1024**3, "50 GiB"), (2 * 1024**5, "2048 TiB")]
)
def test_sizes_are_formatted_for_people(size: int, expected: str) -> None:
    assert readable_size(size) == expected
