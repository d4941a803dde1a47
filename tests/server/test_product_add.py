"""`landcast product add`: from delivered GeoTIFFs to a product that can be requested and ordered."""

import os
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner, Result
from pyproj import CRS, Transformer
from rasterio.io import MemoryFile
from rasterio.warp import transform_bounds
from rio_cogeo.cogeo import cog_validate
from starlette.testclient import TestClient

from orchestration.job import Manifest, Order
from orchestration.work import JobContext
from products.catalogue import catalogue_of, read_configuration
from products.progress import unheard
from products.raster.cog import Pixels
from products.raster.pyramid import halve
from products.vector.geopackage import read_geopackage
from server.check import find_problems
from server.cli import main
from server.configuration import Findings
from tests.conftest import ROOT, MakeApp
from tests.odd.rasters import masked_beside, place_of, plain, with_alpha
from tests.registry import work_of

WORDS = ["--id", "made", "--title", "Made 2021", "--attribution", "Made here."]
PLACE = Affine(10, 0, 5_200_000, 0, -10, 3_300_000)


@pytest.fixture
def config(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the committed configuration, on the sample."""
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(sample))
    monkeypatch.setenv("LANDCAST_AUTH_OPEN", "yes")
    path = tmp_path / "config.yml"
    text = (ROOT / "pygeoapi-config.yml").read_text()
    text = text.replace("data: sample/", f"data: {ROOT}/sample/").replace("data: products/", f"data: {ROOT}/products/")
    path.write_text(text)
    return path


def run(results: Path, order: Order, config: Path) -> Manifest:
    """Execute an order like the runner, in this process."""
    folder = results / "job"
    folder.mkdir()
    bench = JobContext("job", order, results, folder, config, lambda _: pytest.fail("fetched"), unheard)
    work = work_of(order.process)
    return work.assemble([work.make(part, bench) for part in work.plan(bench)], bench)


def add(config: Path, *files: Path, year: int = 2021, words: list[str] = WORDS) -> Result:
    """Run the command; it makes the raster beside the configuration."""
    into = ["--into", str(config.parent / "made"), "--config", str(config), "--year", str(year)]
    return CliRunner().invoke(main, ["product", "add", *map(str, files), *words, *into])


def write(path: Path, pixels: Pixels, *, place: Affine = PLACE, bands: int = 1, **profile: Any) -> Path:
    """Write a GeoTIFF like a delivered one."""
    height, width = pixels.shape
    given = {"crs": "EPSG:3035", "dtype": "uint8", "compress": "deflate", **profile}
    with rasterio.open(path, "w", "GTiff", width, height, bands, transform=place, **given) as target:
        for band in range(1, bands + 1):
            target.write(pixels.astype(given["dtype"]), band)
    return path


def classes(height: int, width: int) -> Pixels:
    pixels: Pixels = np.random.default_rng(4).integers(1, 12, (height, width), np.uint8)
    pixels[: height // 3, : width // 2] = 255
    return pixels


@pytest.mark.parametrize(
    ("shape", "profile"),
    [
        ((1111, 777), {}),
        ((1300, 1030), {"tiled": True, "blockxsize": 256, "blockysize": 128}),
        ((1024, 600), {"compress": "none"}),
        ((3, 5), {}),
    ],
)
def test_the_made_raster_has_the_pixels_and_overviews_by_mode(
    config: Path, tmp_path: Path, shape: tuple[int, int], profile: dict[str, Any]
) -> None:
    pixels = classes(*shape)
    done = add(config, write(tmp_path / "in.tif", pixels, **profile))
    assert done.exit_code == 0, done.output
    made = tmp_path / "made" / "made.tif"
    valid, errors, _ = cog_validate(made, strict=False)
    assert (valid, errors) == (True, [])
    with rasterio.open(made) as raster:
        np.testing.assert_array_equal(raster.read(1), pixels)
        assert (raster.nodata, raster.transform, raster.colormap(1)[1]) == (255, PLACE, (255, 0, 0, 255))
        factors = raster.overviews(1)
    for level in range(len(factors)):
        pixels = halve(np.pad(pixels, [(0, size % 2) for size in pixels.shape], constant_values=255))
        with rasterio.open(made, overview_level=level) as overview:
            np.testing.assert_array_equal(overview.read(1), pixels)


def test_tiles_of_one_raster_are_one_product_with_no_data_in_the_gap(config: Path, tmp_path: Path) -> None:
    pixels = classes(600, 500)
    left = write(tmp_path / "left.tif", pixels)
    given = np.where((pixels == 3) | (pixels == 255), 77, pixels)
    right = write(tmp_path / "right.tif", given, place=PLACE @ Affine.translation(700, 100), nodata=77)
    done = add(config, right, left)
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "made" / "made.tif") as raster:
        whole = raster.read(1)
    assert whole.shape == (700, 1200)
    np.testing.assert_array_equal(whole[:600, :500], pixels)
    np.testing.assert_array_equal(whole[100:, 700:], np.where(pixels == 3, 255, pixels))
    assert (whole[:, 500:700] == 255).all()


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"crs": None}, "wrong.tif is no class raster: it has no CRS"),
        ({"bands": 2}, "wrong.tif is no class raster: it has 2 bands"),
        ({"dtype": "complex64"}, "wrong.tif is no class raster: its values are complex64"),
        (
            {"place": PLACE @ Affine.rotation(5)},
            "its pixels are not square, north up: the grid is rotated",
        ),
        ({"place": PLACE @ Affine.scale(1, -1)}, "its rows run from south to north; gdalwarp turns them"),
        ({"place": PLACE @ Affine.scale(1, 1.001)}, "not square, north up, but 10 x 10.01"),
        ({"nodata": 3}, "wrong.tif says that 3 is no data, but 3 is the class 'Woody broadleaved deciduous trees'"),
        ({"crs": "EPSG:3857"}, "wrong.tif is in EPSG:3857, right.tif in EPSG:3035"),
        ({"place": PLACE @ Affine.translation(0.5, 0)}, "wrong.tif is not on the grid of right.tif"),
        ({"place": PLACE @ Affine.scale(2)}, "wrong.tif has pixels of 20, right.tif of 10"),
    ],
)
def test_a_file_that_differs_is_refused_by_name(
    config: Path, tmp_path: Path, profile: dict[str, Any], said: str
) -> None:
    before = config.read_bytes()
    right = write(tmp_path / "right.tif", classes(20, 20))
    done = add(config, right, write(tmp_path / "wrong.tif", classes(20, 20), **profile))
    assert done.exit_code == 1
    assert said in done.stderr
    assert config.read_bytes() == before
    assert not list((tmp_path / "made").glob("*"))


@pytest.mark.parametrize(
    ("words", "year", "said"),
    [
        (["--id", "clcplus-2023", *WORDS[2:]], 2021, "the product clcplus-2023 exists already"),
        (WORDS, 2023, "clcplus has the year 2023 already"),
    ],
)
def test_an_already_configured_product_is_refused(
    config: Path, tmp_path: Path, words: list[str], year: int, said: str
) -> None:
    before = config.read_bytes()
    done = add(config, write(tmp_path / "in.tif", classes(9, 9)), year=year, words=words)
    assert (done.exit_code, config.read_bytes()) == (1, before)
    assert said in done.stderr


def test_a_write_that_fails_leaves_the_configuration_and_no_file(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = config.read_bytes()
    well = Findings((), ())
    found = iter([well, well, Findings(("the disk is full",), ())])  # the file, again before it is written, and after
    monkeypatch.setattr("server.commands.product_entry.examine", lambda _: next(found))
    done = add(config, write(tmp_path / "in.tif", classes(9, 9)))
    assert (done.exit_code, config.read_bytes()) == (1, before)
    assert "the disk is full" in done.stderr
    assert not list((tmp_path / "made").glob("*"))
    assert not list(tmp_path.glob(".config.yml*"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("metadata:", "x-metadata:", "metadata: missing"),
        ("    year: 2023\n", "    year:\n", "products.clcplus-2023.year: must be a whole number, not nothing"),
        ("resources:\n", "resources:\nx-more:\n", "resources: must be a mapping, not nothing"),
        ("server:", "server: 1\nserver:", "'server' is repeated"),
    ],
)
def test_an_invalid_configuration_is_refused_before_the_work(
    config: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    config.write_text(config.read_text().replace(old, new, 1))
    before = config.read_bytes()
    done = add(config, write(tmp_path / "in.tif", classes(9, 9)))
    assert (done.exit_code, config.read_bytes(), (tmp_path / "made").exists()) == (1, before, False)
    assert isinstance(done.exception, SystemExit)
    assert said in done.stderr


def test_a_read_only_configuration_is_refused_before_the_work(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.commands.product_entry.os.access", lambda _, mode: not mode & os.W_OK)  # root may
    done = add(config, write(tmp_path / "in.tif", classes(9, 9)))
    assert (done.exit_code, (tmp_path / "made").exists()) == (1, False)
    assert f"{tmp_path}: is not writable" in done.stderr


def test_values_without_a_class_are_reported(config: Path, tmp_path: Path) -> None:
    done = add(config, write(tmp_path / "in.tif", np.array([[1, 77], [77, 2]], np.uint8)))
    assert done.exit_code == 0
    assert "warning: 2 pixels have the value 77, which is not a class" in done.stderr


def test_the_product_is_checked_listed_served_and_ordered_by_year(
    config: Path, tmp_path: Path, make_app: MakeApp
) -> None:
    own = tmp_path / "classes.yml"
    own.write_text('[{value: 1, name: Wet, colour: "#0000ff"}, {value: 2, name: Dry, colour: "#ffee00"}]')
    before = config.read_text()
    pixels = np.full((300, 300), 2, np.uint8)
    done = add(config, write(tmp_path / "in.tif", pixels), words=[*WORDS, "--classes", str(own)])
    assert done.exit_code == 0, done.output
    after = config.read_text()
    assert [line for line in before.splitlines() if "#" in line and line.lstrip()[0] == "#"] == [
        line for line in after.splitlines() if line.lstrip()[:1] == "#"
    ]
    assert after.count("${LANDCAST_STATE_DIR:-var}") == before.count("${LANDCAST_STATE_DIR:-var}")
    assert find_problems(config) == []
    listed = CliRunner().invoke(main, ["product", "list", "--config", str(config)])
    assert f"made\tclcplus\t2021\t{tmp_path}/made/made.tif\t" in listed.stdout
    document = read_configuration(config)
    assert catalogue_of(document).find(year=2021).classes[1].name == "Dry"
    with TestClient(make_app(document)) as client:
        assert client.get("/collections/made-raster", params={"f": "json"}).json()["title"] == "Made 2021, raster"
        with rasterio.open(tmp_path / "made" / "made.tif") as raster:
            assert raster.colormap(1)[2][:3] == (255, 238, 0)
        order = {"inputs": {"product": "Raster", "year": 2020, "aoi": "POLYGON((23 52,23.01 52,23.01 52.01,23 52))"}}
        answer = client.post("/processes/extract-product/execution", json=order)
        assert (answer.status_code, "allowed: 2023, 2021" in answer.json()["detail"]) == (400, True)


@pytest.fixture
def own(config: Path, tmp_path: Path) -> Path:
    """Return the configuration with a product of two own classes, as raster and vector."""
    given = tmp_path / "classes.yml"
    given.write_text('[{value: 1, name: Wet & wild, colour: "#0000ff"}, {value: 2, name: Dry, colour: "#ffee00"}]')
    pixels = np.full((300, 300), 2, np.uint8)
    pixels[:100] = 1
    words = [*WORDS, "--classes", str(given), "--vector", "--series", "wetness"]
    done = add(config, write(tmp_path / "in.tif", pixels), words=words)
    assert done.exit_code == 0, done.output
    return config


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # a PNG has no place
def test_its_own_classes_are_shown_everywhere(own: Path, make_app: MakeApp) -> None:
    assert find_problems(own) == []
    with TestClient(make_app(read_configuration(own))) as client:
        place = "/collections/made-raster"
        page = client.get(place, params={"f": "html"}).text
        assert "#ffee00" in page
        assert "Wet &amp; wild" in page
        assert "Made 2021. Made here.</" in page
        assert "Sealed" not in page
        titles = [each["title"] for each in client.get(f"{place}/schema").json()["properties"]["class"]["oneOf"]]
        assert titles == ["Wet & wild", "Dry"]
        with MemoryFile(client.get(f"{place}/map").content) as file, file.open(driver="PNG") as picture:
            assert (255, 238, 0) in {colour[:3] for colour in picture.colormap(1).values()}
        answer = client.get(f"{place}/coverage", params={"f": "tiff"})
        with MemoryFile(answer.content) as file, file.open() as coverage:
            assert coverage.colormap(1)[1][:3] == (0, 0, 255)
        answer = client.get(f"{place}/coverage", params={"f": "json", "scale-factor": "10"})
        assert "Wet & wild" in answer.text
        items = client.get("/collections/made-vector/items", params={"sortby": "class_code"}).json()["features"]
        assert [each["properties"]["class_name"] for each in items] == ["Wet & wild", "Dry"]
        queryables = client.get("/collections/made-vector/queryables").json()["properties"]
        assert queryables["class_name"]["enum"] == ["Wet & wild", "Dry"]
        assert "Sealed" in client.get("/collections/clcplus-raster", params={"f": "html"}).text


@pytest.mark.parametrize("kind", ["Raster", "Vector"])
def test_its_own_classes_are_delivered(own: Path, tmp_path: Path, kind: str) -> None:
    product = catalogue_of(read_configuration(own)).find("wetness", 2021)
    west, south, east, north = transform_bounds(3035, 4326, *rasterio.open(product.raster).bounds)
    aoi = {"bbox": [west, south, east, north]}
    order = Order("extract-product", {"product": kind, "aoi": aoi, "series": "wetness", "year": 2021}, "local")
    (output,) = run(tmp_path, order, own)
    assert output.file is not None
    with ZipFile(tmp_path / output.file.path) as package:
        text = {Path(name).suffix: package.read(name) for name in package.namelist() if name[-3:] not in ("tif", "pkg")}
        assert text[".txt"].decode() == "1\tWet & wild\n2\tDry\n"
        assert not any(b"Sealed" in content for content in text.values())
        if kind == "Raster":
            assert text[".clr"].decode() == "1 0 0 255\n2 255 238 0\n"
            assert b"Wet &amp; wild" in text[".qml"]
            assert b"Wet & wild" in text[".dbf"]
        else:
            assert b"Wet &amp; wild" in text[".sld"]


def test_a_value_without_a_class_prevents_a_vector(config: Path, tmp_path: Path) -> None:
    before = config.read_bytes()
    done = add(config, write(tmp_path / "in.tif", np.array([[1, 77]], np.uint8)), words=[*WORDS, "--vector"])
    assert (done.exit_code, config.read_bytes()) == (1, before)
    assert "made.tif has values that are no class of the product: 77 (1 pixel). Name them in --classes" in done.stderr
    assert not list((tmp_path / "made").glob("*"))


def made(tmp_path: Path) -> Pixels:
    with rasterio.open(tmp_path / "made" / "made.tif") as raster:
        pixels: Pixels = raster.read(1)
    return pixels


@pytest.mark.parametrize(
    ("dtype", "nodata", "said"),
    [
        ("int8", -128, "in.tif: int8 with no data -128, converted to bytes"),
        ("int16", -32768, "in.tif: int16 with no data -32768"),
        ("uint16", 65535, "in.tif: uint16 with no data 65535"),
        ("int32", None, "in.tif: int32 with no data 255"),
        ("uint32", 0, "in.tif: uint32 with no data 0"),
        ("float32", float("nan"), "in.tif: float32, converted"),
        ("float64", -3.4028234663852886e38, "in.tif: float64 with no data -3.40282e+38"),
        ("uint8", 200, "in.tif: uint8 with no data 200"),
    ],
)
def test_integers_of_any_type_are_converted_with_a_notice(
    config: Path, tmp_path: Path, dtype: str, nodata: float | None, said: str
) -> None:
    pixels = classes(60, 50)
    given = np.where(pixels == 255, 255 if nodata is None else nodata, pixels.astype("float64")).astype(dtype)
    done = add(config, plain(tmp_path / "in.tif", given, nodata=nodata))
    assert done.exit_code == 0, done.output
    assert said in done.stderr
    np.testing.assert_array_equal(made(tmp_path), pixels)


@pytest.mark.parametrize(
    ("nodata", "more", "said"),
    [
        (None, [], "in.tif declares no value for no data: its pixels of 255 (24) are taken as no data"),
        (255, [], ""),
        (None, ["--nodata", "255"], ""),
    ],
)
def test_undeclared_no_data_is_reported(
    config: Path, tmp_path: Path, nodata: int | None, more: list[str], said: str
) -> None:
    pixels = np.where(classes(60, 50) == 255, 1, classes(60, 50))
    pixels[3:7, 10:16] = 255
    done = add(config, plain(tmp_path / "in.tif", pixels, nodata=nodata), words=[*WORDS, *more])
    assert done.exit_code == 0, done.output
    assert said in done.stderr
    assert ("declares no value" in done.stderr) == bool(said)
    np.testing.assert_array_equal(made(tmp_path), pixels)


@pytest.mark.parametrize(
    ("values", "profile", "said"),
    [
        ([1, 300, 300, 1000], {"dtype": "int16"}, "it has 300 (2 pixels) and 1000 (1 pixel)"),
        ([1, -5, 2, 2], {"dtype": "int8"}, "it has -5 (1 pixel)"),
        ([1.5, 2, 2, 1], {"dtype": "float32"}, "it has 1.5 (1 pixel)"),
        ([1, float("inf"), 2, 1], {"dtype": "float64"}, "it has inf (1 pixel)"),
        ([1, 255, 2, 0], {"dtype": "uint8", "nodata": 0}, "it has 255 (1 pixel)"),
    ],
)
def test_other_numbers_are_refused_with_the_found_values(
    config: Path, tmp_path: Path, values: list[float], profile: dict[str, Any], said: str
) -> None:
    before = config.read_bytes()
    done = add(config, plain(tmp_path / "in.tif", np.array([values], profile["dtype"]), **profile))
    assert (done.exit_code, config.read_bytes()) == (1, before)
    assert said in done.stderr
    assert "--nodata" in done.stderr
    assert not list((tmp_path / "made").glob("*"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--nodata", "3"], [1, 255, 2, 4]),
        (["--nodata", "none"], [1, 3, 2, 4]),
        (["--nodata", "3", "--nodata", "4"], [1, 255, 2, 255]),
        (["--nodata", "99"], [1, 3, 2, 4]),
    ],
)
def test_the_caller_chooses_the_no_data_value(
    config: Path, tmp_path: Path, given: list[str], expected: list[int]
) -> None:
    values = np.array([[1, 3, 2, 4]], np.uint8)
    done = add(config, plain(tmp_path / "in.tif", values, nodata=3), words=[*WORDS, *given])
    assert done.exit_code == 0, done.output
    assert made(tmp_path)[0].tolist() == expected


def test_a_no_data_value_that_is_not_a_number_is_refused(config: Path, tmp_path: Path) -> None:
    done = add(config, plain(tmp_path / "in.tif", classes(9, 9)), words=[*WORDS, "--nodata", "water"])
    assert (done.exit_code, "allowed: a number, or `none`" in done.stderr) == (2, True)


def test_masks_alpha_scale_and_offset_are_applied(config: Path, tmp_path: Path) -> None:
    values = np.arange(1, 9, dtype=np.uint8).reshape(2, 4)
    mask = np.where(values == 3, 0, 255).astype(np.uint8)
    expected = np.where(values == 3, 255, values)
    halves = np.where(values == 3, 250, (values - 1) * 2)
    makers = {
        "inside": plain(tmp_path / "inside.tif", values, mask=mask),
        "beside": masked_beside(tmp_path / "beside.tif", values, mask),
        "alpha": with_alpha(tmp_path / "alpha.tif", values, mask),
        "scaled": plain(tmp_path / "scaled.tif", halves, scaled=(0.5, 1), nodata=250),
    }
    for year, (name, path) in enumerate(makers.items(), 2000):
        done = add(config, path, words=["--id", name, *WORDS[2:]], year=year)
        assert done.exit_code == 0, done.output
        assert "scale 0.5 and offset 1" in done.stderr if name == "scaled" else "a mask" in done.stderr
        with rasterio.open(tmp_path / "made" / f"{name}.tif") as raster:
            np.testing.assert_array_equal(raster.read(1), expected)


def test_overlapping_tiles_with_different_values_are_reported(config: Path, tmp_path: Path) -> None:
    pixels = np.full((600, 600), 2, np.uint8)
    one = write(tmp_path / "one.tif", pixels)
    other = np.full((600, 600), 2, np.uint8)
    other[10:20, :5], other[100, 50] = 5, 7
    two = write(tmp_path / "two.tif", other, place=PLACE @ Affine.translation(500, 0))
    done = add(config, one, two)
    assert done.exit_code == 0, done.output
    assert (
        "warning: 51 pixels differ where one.tif and two.tif overlap, from 5205000 3298990 to 5205510 3299900: those "
        "of one.tif are taken" in done.stderr
    )
    assert made(tmp_path)[10, 500] == 2
    done = add(config, one, one, words=["--id", "same", *WORDS[2:]], year=2020)
    assert "differ" not in done.stderr


@pytest.mark.parametrize("epsg", [4326, 3857, 2180, 25832, 2263, 3832])
def test_polygons_in_any_system_have_their_areas_on_the_ellipsoid(config: Path, tmp_path: Path, epsg: int) -> None:
    """Components across seams of 512 pixels are one polygon; their total area is that of the raster's outline."""
    pixels = np.full((700, 1100), 2, np.uint8)
    pixels[100:600, 200:900] = 5
    pixels[300:310, :] = 7
    done = add(config, plain(tmp_path / "in.tif", pixels, epsg), words=[*WORDS, "--vector"])
    assert done.exit_code == 0, done.output
    assert find_problems(config) == []
    with read_geopackage(tmp_path / "made" / "made.gpkg") as reader:
        assert reader.layer.epsg == epsg
        [batch] = reader.features((-1e9, -1e9, 1e9, 1e9))
    rows = [dict(zip(reader.layer.names, row, strict=True)) for row in batch.rows]
    assert sorted(row["class_code"] for row in rows) == [2, 2, 5, 5, 7]
    geodetic, geod = CRS.from_epsg(epsg).geodetic_crs, CRS.from_epsg(epsg).get_geod()
    assert geod is not None
    to_degrees = Transformer.from_crs(epsg, geodetic, always_xy=True)
    for row, geometry in zip(rows, batch.geometries, strict=True):
        dense = shapely.segmentize(geometry, 3 * place_of(epsg).a)
        points = shapely.transform(dense, to_degrees.transform, interleaved=False)
        area, _ = geod.geometry_area_perimeter(points)
        assert row["area_m2"] == pytest.approx(abs(area), rel=1e-6)
