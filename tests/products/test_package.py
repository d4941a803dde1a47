import zipfile
from pathlib import Path

import pytest

from products.package import pack
from products.progress import unheard


@pytest.fixture
def members(tmp_path: Path) -> list[Path]:
    """Return two files, not in the order of their names."""
    raster, text = tmp_path / "b.tif", tmp_path / "a.txt"
    raster.write_bytes(b"tile" * 1_000_000)
    text.write_text("Sealed\n" * 1000)
    return [raster, text]


def test_a_package_has_every_member_in_order_without_folders(members: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "out" / "p.zip"
    pack(members, target, report=unheard)
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == ["b.tif", "a.txt"]
        assert archive.testzip() is None
        assert [archive.read(member.name) == member.read_bytes() for member in members] == [True, True]


def test_compressed_members_are_stored_and_text_is_deflated(members: list[Path], tmp_path: Path) -> None:
    pack(members, tmp_path / "p.zip", report=unheard)
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        raster, text = archive.infolist()
    assert (raster.compress_type, raster.compress_size) == (zipfile.ZIP_STORED, raster.file_size)
    assert (text.compress_type, text.compress_size < text.file_size / 10) == (zipfile.ZIP_DEFLATED, True)


def test_the_same_files_give_the_same_bytes(members: list[Path], tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        pack(members, tmp_path / name, report=unheard)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_packing_reports_progress_up_to_one(members: list[Path], tmp_path: Path) -> None:
    reports: list[float] = []
    pack(members, tmp_path / "p.zip", report=lambda done, _: reports.append(done))
    assert len(reports) > 2
    assert reports == sorted(reports)
    assert reports[-1] == 1


def test_stopped_packing_leaves_nothing(members: list[Path], tmp_path: Path) -> None:
    def stop(_done: float, _message: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        pack(members, tmp_path / "out" / "p.zip", report=stop)
    assert list((tmp_path / "out").iterdir()) == []
