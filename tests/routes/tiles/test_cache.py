"""Tiles on disk: bounded, correct with concurrent writers, and never those of a replaced file."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from starlette.testclient import TestClient

from auth.access import Verdict
from products.area import Area
from products.raster.blocks import RasterBlocks
from routes.tiles.cache import TileCache
from tests.conftest import application
from tests.odd.rasters import classes, gdal_cog
from tests.routes.tiles.test_tile import pixels, two_rasters

MB = 1024**2


def key(number: int, folder: int = 0) -> str:
    return f"{folder:02x}{number:022x}"


def test_a_stored_tile_is_available_to_every_process(tmp_path: Path) -> None:
    first, second = TileCache(tmp_path, MB), TileCache(tmp_path, MB)
    assert first.get(key(1)) is None
    assert first.put(key(1), b"tile")
    assert second.get(key(1)) == b"tile"
    assert (first.hits, first.misses, second.hits) == (0, 1, 1)


def test_the_cache_is_bounded_and_keeps_recently_used_tiles(tmp_path: Path) -> None:
    share = 40 * 4096
    cache = TileCache(tmp_path, 256 * share)
    for number in range(35):
        cache.put(key(number), b"x" * 1000)
        os.utime(tmp_path / "00" / key(number), (1_000_000 + number, 1_000_000 + number))
    assert cache.get(key(0)) == b"x" * 1000, "a use is noted"
    for number in range(100, 110):
        cache.put(key(number), b"x" * 1000)
    assert cache.bytes <= share * 9 / 8
    assert cache.get(key(0)) is not None
    assert cache.get(key(1)) is None
    assert all(cache.get(key(number)) for number in range(100, 110))


def test_a_too_large_tile_is_not_kept(tmp_path: Path) -> None:
    cache = TileCache(tmp_path, 256 * 8192)
    cache.put(key(1), b"x" * 100_000)
    assert cache.bytes <= 8192


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 40], ids=["empty", "cut", "other"])
def test_a_damaged_tile_is_not_answered(tmp_path: Path, damage: bytes) -> None:
    cache = TileCache(tmp_path, MB)
    cache.put(key(1), b"a tile that is whole")
    path = tmp_path / "00" / key(1)
    path.write_bytes(damage)
    assert cache.get(key(1)) is None
    assert not path.exists()
    cache.put(key(1), b"anew")
    assert cache.get(key(1)) == b"anew"


def test_a_misnamed_tile_is_not_answered(tmp_path: Path) -> None:
    cache = TileCache(tmp_path, MB)
    cache.put(key(1), b"one")
    shutil.copy(tmp_path / "00" / key(1), tmp_path / "00" / key(2))
    assert cache.get(key(2)) is None


def test_a_failing_disk_does_not_stop_answers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tiles").write_text("a file where a folder should be")
    cache = TileCache(tmp_path / "tiles", MB)
    with caplog.at_level(logging.WARNING):
        assert not cache.put(key(1), b"tile")
        assert not cache.put(key(1), b"tile")
    assert cache.get(key(1)) is None
    assert len([record for record in caplog.records if "no tile is stored" in record.message]) == 1


WRITER = """
import sys
from pathlib import Path
from routes.tiles.cache import TileCache
cache = TileCache(Path(sys.argv[1]), 256 * 30 * 4096)
number = 0
print("begun", flush=True)
while True:
    number += 1
    name = f"00{number % 60:022x}"
    content = name.encode() * 200
    cache.put(name, content)
    assert cache.get(f"00{(number * 7) % 60:022x}") in (None, f"00{(number * 7) % 60:022x}".encode() * 200)
"""


def test_writers_that_are_killed_leave_whole_tiles_and_the_bound(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(2)
    ]
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == b"begun\n"
    cache = TileCache(tmp_path, 256 * 30 * 4096)
    seen = 0
    while seen < 200:
        for number in range(60):
            content = cache.get(key(number))
            assert content in {None, key(number).encode() * 200}
            seen += content is not None
    for each in running:
        assert each.poll() is None, "no writer met a wrong tile"
        each.kill()
        each.communicate()
    (tmp_path / "00" / f"{key(1)}.1.1.new").write_bytes(b"left by a killed writer")
    os.utime(tmp_path / "00" / f"{key(1)}.1.1.new", (0, 0))
    for number in range(200, 240):
        cache.put(key(number), b"x" * 5000)
    assert cache.bytes <= 30 * 4096 * 9 / 8
    assert not (tmp_path / "00" / f"{key(1)}.1.1.new").exists()
    assert cache.clear() > 0
    assert cache.bytes == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Path]]:
    folder = tmp_path_factory.mktemp("cached")
    app = application(two_rasters(folder), state={"dir": folder / "state"}, tiles={"cache": "16M"})
    with TestClient(app) as client:
        yield client, folder


def place(client: TestClient, collection: str = "all") -> str:
    sets = client.get(f"/collections/{collection}/map/tiles").json()["tilesets"]
    limit = sets[1]["tileMatrixSetLimits"][12]
    middle = ((limit[f"min{of}"] + limit[f"max{of}"]) // 2 for of in ("TileRow", "TileCol"))
    return "/map/tiles/EuropeanETRS89_LAEAQuad/12/{}/{}".format(*middle)


def test_a_second_request_reads_no_block(served: tuple[TestClient, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = served
    path = f"/collections/all{place(client)}"
    first = client.get(path)
    monkeypatch.setattr(RasterBlocks, "window", lambda *_: pytest.fail("a block was read"))
    again = client.get(path)
    assert (again.status_code, again.content, again.headers["etag"]) == (200, first.content, first.headers["etag"])
    monkeypatch.undo()
    cache = client.app.state.resources.tile_cache  # type: ignore[attr-defined]
    hits = cache.hits
    for changed in ("?hide=1", "?recolour=1:0x102030", "?bgcolor=0x102030", "?f=webp", ""):
        client.get(f"{path}{changed}")
    assert cache.hits == hits + 1, "changed styles are not kept, other forms are others"


def test_a_replaced_file_is_never_answered_from_the_cache(served: tuple[TestClient, Path], tmp_path: Path) -> None:
    client, folder = served
    path = f"/collections/all{place(client)}"
    before = client.get(path)
    kept = folder / "kept.tif"
    shutil.copy2(folder / "all.tif", kept)
    gdal_cog(tmp_path / "new.tif", np.where(classes(512, 512) == 1, 10, 9).astype(np.uint8))
    shutil.move(tmp_path / "new.tif", folder / "all.tif")
    try:
        after = client.get(path)
        assert after.headers["etag"] != before.headers["etag"]
        assert (pixels(after.content) != pixels(before.content)).any()
    finally:
        shutil.move(kept, folder / "all.tif")


@pytest.mark.parametrize("rows", [False, True], ids=["area", "rows"])
def test_restricted_callers_get_nothing_from_the_cache(
    served: tuple[TestClient, Path], monkeypatch: pytest.MonkeyPatch, *, rows: bool
) -> None:
    client, _ = served
    path = f"/collections/all{place(client)}"
    assert pixels(client.get(path).content)[..., 3].any()
    nothing = Area(shapely.box(0, 0, 1, 1))
    verdict = Verdict(allowed=True, rows=("a = 1",)) if rows else Verdict(allowed=True, area=nothing)
    monkeypatch.setattr(client.app.state.resources, "policy", lambda *_: verdict)  # type: ignore[attr-defined]
    answer = client.get(path)
    assert answer.status_code == (403 if rows else 200)
    assert rows or not pixels(answer.content)[..., 3].any()
