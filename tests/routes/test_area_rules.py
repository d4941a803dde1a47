"""A caller restricted to an area of a raster sees the same pixels by every route and order, and none beyond."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import MemoryFile
from starlette.testclient import TestClient

from auth.access import Access, Action, Verdict
from auth.identity import Identity
from orchestration.job import VISIBLE, Order
from orchestration.work import JobContext
from plugins.cog import CogProvider
from plugins.crs import Box, crs_of
from products.area import Area
from products.catalogue import read_configuration
from products.classes import CLASSES, by_value
from products.operation import reproject
from products.progress import unheard
from products.raster.blocks import RasterBlocks
from products.raster.geotiff import geotiff
from products.raster.nearest import read_nearest
from products.raster.scaled import Method
from routes.resources import Resources
from tests.conftest import ROOT, application
from tests.odd.rasters import classes, gdal_cog, surface, written

EPSG = "http://www.opengis.net/def/crs/EPSG/0"
LAND, HEIGHTS = "land", "heights"
WEST, NORTH, SIDE, ROWS, COLUMNS = 4_900_000.0, 3_100_000.0, 10.0, 700, 900
BOX = (WEST, NORTH - ROWS * SIDE, WEST + COLUMNS * SIDE, NORTH)
WHOLE = Verdict(allowed=True)
PROCESSES = ("extract-product", "estimate-product", "area-statistics", "european-product", "national-product")
AOI = {"bbox": [float(each) for each in np.round(reproject(BOX, 3035, 4326), 3)]}


def star(seed: int) -> Area:
    """Return a random outline around a random place of the raster: two stars, one of them with a hole."""
    random = np.random.default_rng(seed)
    west, south, east, north = reproject(BOX, 3035, 4326)
    found = []
    for size in (0.45, 0.2):
        centre = random.uniform((west, south), (east, north))
        angles = np.sort(random.uniform(0, 2 * np.pi, 25))
        radii = random.uniform(0.2, size, 25)
        points = centre + np.column_stack([np.cos(angles), np.sin(angles)]) * radii[:, None] * (
            east - west,
            north - south,
        )
        found.append(shapely.make_valid(shapely.Polygon(points)))
    found[0] = shapely.difference(found[0], shapely.buffer(shapely.centroid(found[0]), 0.1 * (north - south)))
    return Area(shapely.union_all(found))


def inside(area: Area, epsg: int = 3035) -> NDArray[np.bool_]:
    """Return a mask of pixels with their centre in the area, by GEOS alone."""
    outline = area.project(epsg)
    x, y = WEST + SIDE * (np.arange(COLUMNS) + 0.5), NORTH - SIDE * (np.arange(ROWS) + 0.5)
    held: NDArray[np.bool_] = shapely.contains_xy(outline, *np.meshgrid(x, y))
    return held


@dataclass
class RestrictedSite:
    """A server whose policy decides by `verdict` on the collections, for every caller."""

    client: TestClient
    resources: Resources
    folder: Path
    values: NDArray[np.uint8]
    verdict: Verdict = WHOLE

    def decide(self, identity: Identity, access: Access) -> Verdict:
        """Restrict the reading of collections."""
        del identity
        restricted = access.resource not in PROCESSES and access.action is not Action.DISCOVER
        return self.verdict if restricted else WHOLE

    def masked(self, area: Area) -> Path:
        """Return a raster without data outside of an area."""
        return gdal_cog(self.folder / "masked.tif", np.where(inside(area), self.values, 255).astype(np.uint8))

    def coverage(self, query: str = "f=tiff", collection: str = LAND) -> NDArray[Any]:
        """Return the bands of a coverage."""
        answer = self.client.get(f"/collections/{collection}/coverage?{query}")
        assert answer.status_code == 200, answer.text
        with MemoryFile(answer.content) as memory, memory.open() as dataset:
            values: NDArray[Any] = dataset.read()
        return values

    def order(self, process: str, inputs: dict[str, Any]) -> Order:
        """Return the order that is stored."""
        answer = self.client.post(
            f"/processes/{process}/execution", json={"inputs": inputs}, headers={"Prefer": "respond-async, wait=0"}
        )
        assert answer.status_code in {201, 504}, answer.text
        job = self.resources.store.get(answer.json()["jobID"])
        assert job is not None
        return job.order

    def done(self, order: Order) -> Any:
        """Execute an order, and return the value or the file of its output."""
        folder = self.folder / "results" / order.process
        folder.mkdir(parents=True)
        catalogue = self.resources.catalogue
        context = JobContext(
            "job",
            order,
            folder.parent,
            folder,
            folder,
            lambda _: pytest.fail("fetched"),
            unheard,
            catalogue=lambda _: catalogue,
        )
        work = import_module(f"orchestration.work.{order.process.replace('-', '_')}").WORK
        pieces = [work.make(part, context) for part in work.plan(context)]
        (output,) = work.assemble(pieces, context)
        return output.value if output.file is None else folder.parent / output.file.path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestrictedSite]:
    folder = tmp_path_factory.mktemp("areas")
    values = classes(ROWS, COLUMNS)
    document = read_configuration(ROOT / "pygeoapi-config.yml")
    resources, base = document["resources"], document["resources"]["clcplus-raster"]
    land = {**base["providers"][0], "data": str(gdal_cog(folder / "land.tif", values))}
    heights = {**land, "data": str(written(folder / "heights.tif", surface(2, "float32"), nodata=-1))}
    document["resources"] = {name: resources[name] for name in PROCESSES} | {
        LAND: {**base, "providers": [land]},
        HEIGHTS: {**base, "providers": [{**heights, "bands": [{"name": "low"}, {"name": "high"}]}]},
    }
    product = {**document["products"]["clcplus-2023"], "raster": LAND}
    del product["vector"]
    document["products"] = {"land": product}
    app = application(document, state={"dir": folder / "state"})
    with TestClient(app, base_url="http://inside.invalid") as client:
        site = RestrictedSite(client, app.state.resources, folder, values)
        app.state.resources.policy, app.state.resources.wait = site.decide, 0.01
        yield site


@pytest.fixture
def site(shared: RestrictedSite, tmp_path: Path) -> RestrictedSite:
    shared.verdict, shared.folder = WHOLE, tmp_path
    return shared


def drawn(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGBA"))


def coloured(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    table = np.zeros((256, 4), np.uint8)
    for value, each in by_value(CLASSES).items():
        table[value] = (*each.rgb, 255)
    found: NDArray[np.uint8] = table[values]
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_coverage_map_tile_statistics_and_order_have_the_same_pixels(site: RestrictedSite, seed: int) -> None:
    area = star(seed)
    site.verdict = Verdict(allowed=True, area=area)
    expected = np.where(inside(area), site.values, 255)
    assert 0 < np.count_nonzero(expected != 255) < expected.size
    np.testing.assert_array_equal(site.coverage()[0], expected)

    system = f"{EPSG}/3035"
    box = f"{BOX[1]},{BOX[0]},{BOX[3]},{BOX[2]}"
    place = f"bbox={box}&bbox-crs={system}&crs={system}&width={COLUMNS}&height={ROWS}&f=png"
    image = site.client.get(f"/collections/{LAND}/map?{place}")
    np.testing.assert_array_equal(drawn(image.content)[..., 3] > 0, expected != 255)
    np.testing.assert_array_equal(drawn(image.content)[expected != 255], coloured(expected)[expected != 255])

    masked = RasterBlocks(site.masked(area))
    for path, bounds, crs in tiles_of(site):
        tile = site.client.get(path)
        assert tile.status_code == 200, tile.text
        wanted = read_nearest(masked, bounds, crs, (256, 256))
        seen = np.zeros((256, 256, 4), np.uint8) if wanted is None else coloured(wanted)
        np.testing.assert_array_equal(drawn(tile.content), seen, path)

    statistics = site.done(site.order("area-statistics", {"aoi": AOI}))["features"][0]["classes"]
    counted = {each["value"]: each["pixels"] for each in statistics if each["pixels"]}
    values, counts = np.unique(expected[expected != 255], return_counts=True)
    assert counted == dict(zip(values.tolist(), counts.tolist(), strict=True))

    with zipfile.ZipFile(site.done(site.order("extract-product", {"product": "Raster", "aoi": AOI}))) as package:
        name = next(each for each in package.namelist() if each.endswith(".tif"))
        with MemoryFile(package.read(name)) as memory, memory.open() as dataset:
            column, row = (
                round(each) for each in ~rasterio.Affine(SIDE, 0, WEST, 0, -SIDE, NORTH) @ dataset.transform @ (0, 0)
            )
            delivered = np.full_like(expected, 255)
            delivered[row : row + dataset.height, column : column + dataset.width] = dataset.read(1)
    np.testing.assert_array_equal(delivered, expected)


def tiles_of(site: RestrictedSite) -> Iterator[tuple[str, tuple[float, float, float, float], int]]:
    """Yield tiles of one collection in the middle of the raster, at its own scale and finer."""
    for set_id, matrix in (("EuropeanETRS89_LAEAQuad", "14"), ("WebMercatorQuad", "14"), ("WebMercatorQuad", "16")):
        tiles = site.resources.matrix_sets[set_id]
        assert isinstance(tiles.crs, int)
        limits = tiles.matrices[matrix].limits(reproject(BOX, 3035, tiles.crs))
        assert limits is not None
        row, column = (limits.top + limits.bottom) // 2, (limits.left + limits.right) // 2
        path = f"/collections/{LAND}/map/tiles/{set_id}/{matrix}/{row}/{column}"
        yield path, tiles.matrices[matrix].bounds(row, column), tiles.crs


@pytest.mark.parametrize("method", ["nearest", "mode"])
@pytest.mark.parametrize("epsg", [3857, 4326])
def test_in_another_system_no_pixel_from_outside_is_visible(site: RestrictedSite, epsg: int, method: Method) -> None:
    area = star(4)
    site.verdict = Verdict(allowed=True, area=area)
    name = {"nearest": "nearest-neighbor", "mode": "modal"}[method]
    answer = site.client.get(
        f"/collections/{LAND}/coverage?crs={EPSG}/{epsg}&f=tiff", headers={"Prefer": f"interpolation={name}"}
    )
    assert answer.headers["preference-applied"] == f"interpolation={name}"
    with MemoryFile(answer.content) as memory, memory.open() as dataset:
        found, bounds = dataset.read(1), tuple(dataset.bounds)
    masked = CogProvider({"name": "x", "type": "coverage", "data": str(site.masked(area))})
    box = Box((bounds[0], bounds[1], bounds[2], bounds[3]), crs_of(epsg))
    with masked.open(box, (found.shape[1], found.shape[0]), method=method) as pixels:
        content = geotiff(pixels.tiff, pixels.rows)
    with MemoryFile(content) as memory, memory.open() as dataset:
        wanted = dataset.read(1)
    assert np.count_nonzero(found != 255) > 1000
    np.testing.assert_array_equal(found, wanted)


def test_values_are_masked_in_each_band_and_never_averaged_with_those_outside(site: RestrictedSite) -> None:
    bounds = (4_900_000.0, 3_094_000.0, 4_908_220.0, 3_100_000.0)
    area = Area(shapely.box(*reproject((4_902_000, 3_095_000, 4_905_000, 3_099_000), 3035, 4326)))
    whole = site.coverage(collection=HEIGHTS)
    site.verdict = Verdict(allowed=True, area=area)
    found = site.coverage(collection=HEIGHTS)
    outline = area.project(3035)
    x, y = bounds[0] + 20 * (np.arange(411) + 0.5), bounds[3] - 20 * (np.arange(300) + 0.5)
    held = shapely.contains_xy(outline, *np.meshgrid(x, y))
    assert 0 < np.count_nonzero(held) < held.size
    np.testing.assert_array_equal(found, np.where(held, whole, np.float32(-1)))

    headers = {"Prefer": "interpolation=maximum"}
    answer = site.client.get(f"/collections/{HEIGHTS}/coverage?scale-factor=3&f=tiff", headers=headers)
    assert answer.headers["preference-applied"] == "interpolation=maximum"
    with MemoryFile(answer.content) as memory, memory.open() as dataset:
        scaled = dataset.read()
    assert (scaled != -1).any()
    assert scaled.max() <= whole[:, held].max()
    assert whole.max() > whole[:, held].max() + 1


def test_answers_for_different_areas_have_different_etags(site: RestrictedSite) -> None:
    path = next(tiles_of(site))[0]
    tags = {}
    for name, area in (("whole", None), ("one", star(1)), ("other", star(2))):
        site.verdict = Verdict(allowed=True, area=area)
        tags[name] = site.client.get(path).headers["etag"]
    assert len(set(tags.values())) == 3
    for tag in tags.values():
        answer = site.client.get(path, headers={"If-None-Match": tag})
        assert answer.status_code == (304 if tag == tags["other"] else 200)


def test_a_tile_of_all_collections_has_the_visible_part_of_each(site: RestrictedSite) -> None:
    area = star(5)
    site.verdict = Verdict(allowed=True, area=area)
    path, bounds, crs = next(tiles_of(site))
    alone = drawn(site.client.get(path).content)
    answer = site.client.get(path.replace(f"/collections/{LAND}", "") + f"?collections={LAND}")
    np.testing.assert_array_equal(drawn(answer.content), alone)
    wanted = read_nearest(RasterBlocks(site.masked(area)), bounds, crs, (256, 256))
    np.testing.assert_array_equal(alone, 0 if wanted is None else coloured(wanted))


PATHS: list[Callable[[RestrictedSite], str]] = [
    lambda _: f"/collections/{LAND}/coverage",
    lambda _: f"/collections/{LAND}/map",
    lambda site: next(tiles_of(site))[0],
]


@pytest.mark.parametrize("path", PATHS, ids=["coverage", "map", "tile"])
def test_a_refused_request_beyond_the_area_names_it(
    site: RestrictedSite, path: Callable[[RestrictedSite], str]
) -> None:
    small = Area(shapely.box(*reproject((4_901_000, 3_096_000, 4_902_000, 3_097_000), 3035, 4326)))
    site.verdict = Verdict(allowed=True, area=small, refuses=True)
    answer = site.client.get(path(site))
    west, south, east, north = small.geometry.bounds
    assert answer.status_code == 403
    assert f"between {west:.6g} {south:.6g} and {east:.6g} {north:.6g}" in answer.json()["detail"]
    large = Area(shapely.box(*AOI["bbox"]).buffer(0.5))
    site.verdict = Verdict(allowed=True, area=large, refuses=True)
    assert site.client.get(path(site)).status_code == 200


def test_the_file_as_a_whole_is_refused(site: RestrictedSite) -> None:
    site.verdict = Verdict(allowed=True, area=star(1))
    answer = site.client.get(f"/collections/{LAND}/files/land.tif")
    assert answer.status_code == 403
    assert "which lies between" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", [f"/collections/{LAND}/coverage", f"/collections/{LAND}/map", f"/collections/{LAND}/files/land.tif"]
)
def test_rows_refuse_a_raster(site: RestrictedSite, path: str) -> None:
    site.verdict = Verdict(allowed=True, rows=("a = 1",))
    assert site.client.get(path).status_code == 403
    assert site.client.get(next(tiles_of(site))[0]).status_code == 403
    order = {"inputs": {"product": "Raster", "aoi": AOI}}
    assert site.client.post("/processes/extract-product/execution", json=order).status_code == 403


def test_orders_that_cannot_be_cut_or_have_nothing_inside_are_refused(site: RestrictedSite) -> None:
    small, other = (reproject((west, 3_096_000, west + 1_000, 3_097_000), 3035, 4326) for west in (4.901e6, 4.904e6))
    site.verdict = Verdict(allowed=True, area=Area(shapely.box(*small)))
    beyond = {"bbox": list(other)}
    for process, inputs in (
        ("european-product", {"product": "Raster"}),
        ("extract-product", {"product": "Raster", "aoi": beyond}),
        ("area-statistics", {"aoi": beyond}),
    ):
        answer = site.client.post(f"/processes/{process}/execution", json={"inputs": inputs})
        assert answer.status_code == 403, (process, answer.text)
        assert "that you may see, which lies between" in answer.json()["detail"]
    site.verdict = Verdict(allowed=True, area=star(1), refuses=True)
    body = {"inputs": {"product": "Raster", "aoi": AOI}}
    assert site.client.post("/processes/extract-product/execution", json=body).status_code == 403


def test_an_order_within_the_area_and_one_without_a_rule_are_stored_as_they_are(site: RestrictedSite) -> None:
    inputs = {"product": "Raster", "aoi": AOI}
    assert VISIBLE not in site.order("extract-product", inputs).inputs
    site.verdict = Verdict(allowed=True, area=Area(shapely.box(*AOI["bbox"]).buffer(0.1)))
    assert VISIBLE not in site.order("extract-product", inputs).inputs
    site.verdict = Verdict(allowed=False)
    assert VISIBLE not in site.order("extract-product", inputs).inputs, "the grant of the process alone decides"


def test_the_estimate_is_for_the_restricted_area(site: RestrictedSite) -> None:
    area = star(2)
    site.verdict = Verdict(allowed=True, area=area)
    order = site.order("estimate-product", {"product": "Raster", "aoi": AOI})
    assert shapely.area(shapely.from_wkb(order.inputs[VISIBLE])) <= shapely.area(area.geometry)
    estimate = site.done(order)
    assert estimate["pixels"]["total"] == np.count_nonzero(inside(area))
    json.dumps(order.inputs)
