"""Vector tiles of a dense layer in a GeoPackage: areas of classes, neighbours without gaps, and what is left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely
from affine import Affine
from pyproj import Transformer

from auth.access import Verdict, current_verdict
from plugins.crs import crs_of
from plugins.features import TileQuery
from plugins.geopackage import GeoPackageProvider
from products.tiling import tile_matrix_sets
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer

EPSG, WEST, NORTH, METRES, SIDE = 2180, 500_000.0, 400_000.0, 30.0, 130
COLUMNS = (Column("class_code", "INTEGER"), Column("name", "TEXT"))
LEAST = {"9": 1 / 512, "10": 1 / 4096, "12": 1 / 4096}


def cover() -> tuple[list[Any], list[int]]:
    """Return polygons that cover a square of four kilometres, in the Polish system, and their classes.

    Patches have holes with other patches; one in five pixels is of another class; each ten of a class are one feature.
    """
    chance = np.random.default_rng(5)
    patches = np.kron(chance.integers(1, 7, (26, 26)), np.ones((5, 5), int))
    noise = chance.random((SIDE, SIDE)) < 0.2
    pixels = np.where(noise, chance.integers(1, 7, (SIDE, SIDE)), patches).astype(np.uint8)
    place = Affine(METRES, 0, WEST, 0, -METRES, NORTH)
    found: dict[int, list[Any]] = {}
    for shape, value in rasterio.features.shapes(pixels, transform=place):
        found.setdefault(int(value), []).append(shapely.geometry.shape(shape))
    made = [
        (shapely.MultiPolygon(polygons[begin : begin + 10]) if begin % 20 else polygons[begin + number], code)
        for code, polygons in found.items()
        for begin in range(0, len(polygons), 10)
        for number in range(1 if begin % 20 else len(polygons[begin : begin + 10]))
    ]
    return [geometry for geometry, _ in made], [code for _, code in made]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> tuple[GeoPackageProvider, Any, Any]:
    """Return a provider, its geometries in the Web Mercator and their classes."""
    path = tmp_path_factory.mktemp("dense") / "dense.gpkg"
    geometries, codes = cover()
    whole = np.array(
        [each if each.geom_type == "MultiPolygon" else shapely.MultiPolygon([each]) for each in geometries]
    )
    with write_geopackage(path, Layer("cover", EPSG, COLUMNS)) as writer:
        writer.add(range(1, len(whole) + 1), whole, [(code, f"class {code}") for code in codes])
    transformer = Transformer.from_crs(EPSG, 3857, always_xy=True)
    moved = shapely.transform(whole, lambda xy: np.column_stack(transformer.transform(*xy.T)))
    return GeoPackageProvider({"name": "g", "type": "feature", "data": str(path)}), moved, np.array(codes)


def middle_tile(matrix: str) -> TileQuery:
    """Return the tile with the middle of the layer."""
    x, y = Transformer.from_crs(EPSG, 3857, always_xy=True).transform(WEST + 1_950, NORTH - 1_950)
    found = tile_matrix_sets()["WebMercatorQuad"].matrices[matrix]
    place = found.limits((x, y, x, y))
    assert place is not None
    return TileQuery(found.bounds(place.top, place.left), crs_of(3857), "l", 20_000, LEAST[matrix])


def read(content: bytes, folder: Path) -> tuple[dict[str, Any], Any]:
    """Return what GDAL reads: columns by name, and geometries in units of the tile, y upwards."""
    path = folder / "tile.mvt"
    path.write_bytes(content)
    meta, _, wkb, columns = pyogrio.raw.read(path)
    return dict(zip(meta["fields"], columns, strict=True)), shapely.from_wkb(wkb)


@pytest.mark.parametrize("matrix", ["10", "12"])
def test_classes_have_their_area(dense: tuple[GeoPackageProvider, Any, Any], tmp_path: Path, matrix: str) -> None:
    """Within two hundredths, where a class has a hundredth of the tile; and no gap is between neighbours."""
    provider, moved, codes = dense
    tile = middle_tile(matrix)
    found, outlines = read(provider.tile(tile), tmp_path)
    assert shapely.is_valid(outlines).all()
    west, south, east, north = tile.bounds
    unit = (east - west) / 4096
    cut = shapely.clip_by_rect(outlines, 0, 0, 4096, 4096)
    true = shapely.clip_by_rect(moved, west, south, east, north)
    compared = 0
    for code in range(1, 7):
        wanted = shapely.area(true[codes == code]).sum()
        got = shapely.area(cut[found["class_code"] == code]).sum() * unit**2
        if wanted > 0.001 * (east - west) * (north - south):
            compared += 1
            assert got == pytest.approx(wanted, rel=0.02), code
    assert compared == 6
    together = shapely.buffer(shapely.union_all(outlines), 0.8)
    assert shapely.area(shapely.get_parts(together)).max() == pytest.approx(together.area)
    assert sum(len(part.interiors) for part in shapely.get_parts(together)) == 0


def test_the_largest_features_are_in_a_tile_of_few(dense: tuple[GeoPackageProvider, Any, Any], tmp_path: Path) -> None:
    provider, moved, _ = dense
    tile = middle_tile("10")
    bounds = shapely.bounds(moved)
    sizes = np.maximum(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    few = TileQuery(tile.bounds, tile.crs, "l", 50, tile.least)
    found, outlines = read(provider.tile(few), tmp_path)
    assert len(outlines) == 50
    unit = (tile.bounds[2] - tile.bounds[0]) / 4096
    each = shapely.bounds(outlines)
    smallest = (np.maximum(each[:, 2] - each[:, 0], each[:, 3] - each[:, 1]) * unit).min()
    assert smallest > np.sort(sizes)[-50] * 0.9
    reset = current_verdict.set(Verdict(allowed=True, rows=("class_code = 3",)))
    try:
        found, outlines = read(provider.tile(few), tmp_path)
    finally:
        current_verdict.reset(reset)
    assert (len(outlines), set(found["class_code"].tolist())) == (50, {3})


def test_what_is_smaller_than_a_part_of_the_side_is_left_out(
    dense: tuple[GeoPackageProvider, Any, Any], tmp_path: Path
) -> None:
    provider, moved, _ = dense
    tile = middle_tile("9")
    limit = (tile.bounds[2] - tile.bounds[0]) / 512
    bounds = shapely.bounds(moved)
    sizes = np.maximum(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    _, outlines = read(provider.tile(tile), tmp_path)
    assert (sizes > limit * 1.2).sum() <= len(outlines) <= (sizes > limit / 1.2).sum() < len(moved)
