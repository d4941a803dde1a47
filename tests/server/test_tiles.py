"""`landcast tiles`: seeded tiles are those of the server, an archive has the same tiles, and mistakes are named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from pmtiles.reader import MmapSource, Reader, all_tiles
from pmtiles.tile import TileType
from starlette.testclient import TestClient

from products.raster.blocks import RasterBlocks
from server.cli import main
from tests.conftest import application
from tests.routes.tiles.test_tile import two_rasters

Run = Callable[..., Result]


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    made = two_rasters(tmp_path)
    (tmp_path / "config.yml").write_text(yaml.safe_dump(made))
    return made


@pytest.fixture
def run(document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    assert document
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LANDCAST_TILES_CACHE", "16M")
    monkeypatch.setenv("LANDCAST_AUTH_OPEN", "yes")

    def made(*arguments: str) -> Result:
        config = [] if arguments[0] == "clear" else ["--config", str(tmp_path / "config.yml")]
        return CliRunner().invoke(main, ["tiles", *arguments, *config])

    return made


def test_a_seeded_tile_is_answered_without_reading_a_block(
    run: Run, document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("seed", "all", "--zoom", "8-12")
    assert said.exit_code == 0, said.output
    assert "100 %" in said.output
    again = run("seed", "all", "--zoom", "8-12")
    assert again.output.splitlines()[-1] == said.output.splitlines()[-1]
    app = application(document, state={"dir": tmp_path / "state"}, tiles={"cache": "16M"})
    with TestClient(app) as client:
        sets = client.get("/collections/all/map/tiles").json()["tilesets"]
        limit = next(each for each in sets[0]["tileMatrixSetLimits"] if each["tileMatrix"] == "12")
        path = f"/collections/all/map/tiles/WebMercatorQuad/12/{limit['minTileRow'] + 1}/{limit['minTileCol'] + 1}"
        monkeypatch.setattr(RasterBlocks, "window", lambda *_: pytest.fail("a block was read"))
        assert client.get(path).status_code == 200
    cleared = run("clear")
    assert cleared.exit_code == 0
    count = int(cleared.output.split()[0])
    assert 0 < count <= int(said.output.splitlines()[-1].split()[0])
    assert run("clear").output == "0 tiles removed\n"


def test_an_archive_has_the_tiles_that_the_server_answers(run: Run, document: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "west.pmtiles"
    said = run("export", "west", str(target), "--zoom", "9-12")
    assert said.exit_code == 0, said.output
    with target.open("rb") as file, TestClient(application(document, state={"dir": tmp_path / "other"})) as client:
        reader = Reader(MmapSource(file))
        header, about = reader.header(), reader.metadata()
        tiles = dict(all_tiles(MmapSource(file)))
        assert (header["min_zoom"], header["max_zoom"], header["tile_type"]) == (9, 12, TileType.PNG)
        assert header["clustered"]
        assert about["name"] == "west"
        assert about["classes"][0]["value"] == 1
        assert f"{len(tiles)} tiles" in said.output
        sets = client.get("/collections/west/map/tiles").json()["tilesets"]
        empty = 0
        for limit in sets[0]["tileMatrixSetLimits"][9:13]:
            zoom = int(limit["tileMatrix"])
            for row in range(limit["minTileRow"], limit["maxTileRow"] + 1):
                for column in range(limit["minTileCol"], limit["maxTileCol"] + 1):
                    answer = client.get(f"/collections/west/map/tiles/WebMercatorQuad/{zoom}/{row}/{column}")
                    found = tiles.pop((zoom, column, row), None)
                    assert found in {None, answer.content}
                    empty += found is None
        assert not tiles, "no tile that the server does not have"
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["seed", "none", "--zoom", "1"], "'none' is no collection with map tiles; there are all, west"),
        (["seed", "all", "--zoom", "3-1"], "allowed: a zoom, or the first and the last one as 0-12"),
        (["seed", "all", "--zoom", "x"], "allowed: a zoom"),
        (["seed", "all", "--zoom", "60"], "WebMercatorQuad has no zoom 60; allowed: 0 to 24"),
        (["seed", "all", "--zoom", "0-24"], "allowed: 10,000,000 at once"),
        (["seed", "all", "--zoom", "1", "--bbox", "1,2,3"], "allowed: west,south,east,north"),
        (["seed", "all", "--zoom", "1", "--bbox", "nan,0,1,1"], "allowed: west,south,east,north"),
        (["seed", "all", "--zoom", "8", "--bbox", "-80,-20,-70,-10"], "has no tiles there; allowed: a box that meets"),
        (["seed", "all", "--zoom", "1", "--set", "mine"], "'mine' is no tile matrix set"),
        (["export", "all", "/nowhere/x.pmtiles", "--zoom", "1"], "No such file"),
    ],
)
def test_mistakes_are_named(run: Run, arguments: list[str], expected: str) -> None:
    said = run(*arguments)
    assert said.exit_code != 0
    assert expected in said.output
    assert "Traceback" not in said.output


def test_without_the_setting_nothing_is_seeded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANDCAST_TILES_CACHE")
    assert "set LANDCAST_TILES_CACHE" in run("seed", "all", "--zoom", "1").output


def test_a_disk_that_refuses_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "tiles").write_text(json.dumps("a file"))
    said = run("seed", "all", "--zoom", "10")
    assert said.exit_code == 1
    assert "could not be written: the disk is full, or fails" in said.output


def test_tiles_are_drawn_in_the_classes_of_the_product(run: Run, document: dict[str, Any], tmp_path: Path) -> None:
    classes = [{"value": 1, "name": "One", "colour": "#010203"}]
    product = {"title": "Mine", "year": 2020, "raster": "west", "attribution": "me", "classes": classes}
    (tmp_path / "config.yml").write_text(yaml.safe_dump({**document, "products": {"mine": product}}))
    target = tmp_path / "west.pmtiles"
    assert run("export", "west", str(target), "--zoom", "9").exit_code == 0
    with target.open("rb") as file:
        assert Reader(MmapSource(file)).metadata()["classes"] == classes
