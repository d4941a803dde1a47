"""Coverages as NetCDF, as GDAL's own reader sees them: pixels, CRS, no data, classes."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from plugins.cog import CogProvider
from plugins.coverage_netcdf import flag_meanings, write_netcdf
from plugins.crs import Box
from products.classes import LandCoverClass
from tests.odd.rasters import classes, rio_cog, surface, written

pytest.importorskip("h5netcdf", reason="landcast[netcdf] is not installed")


def provider(path: Path, *bands: dict[str, Any]) -> CogProvider:
    given = {"bands": list(bands)} if bands else {}
    return CogProvider({"type": "coverage", "name": "plugins.cog.CogProvider", "data": str(path), **given})


def netcdf(cog: CogProvider, path: Path, box: Box | None = None) -> Path:
    """Write the box of a coverage, by default the whole, in its own pixels."""
    box = box or cog.whole
    with cog.open(box, cog.size_of(box)) as pixels, path.open("w+b") as file:
        write_netcdf(file, pixels)
    return path


def band(path: Path, name: str) -> Any:
    return rasterio.open(f"netcdf:{path}:{name}")


def test_classes_are_flags_with_their_names_and_no_data(tmp_path: Path) -> None:
    values = classes(300, 411)
    values[40:50, 30:60] = 255
    cog = provider(rio_cog(tmp_path / "odd.tif", values, source={"nodata": 255}))
    path = netcdf(cog, tmp_path / "odd.nc")
    with band(path, "class") as found, rasterio.open(tmp_path / "odd.tif") as source:
        np.testing.assert_array_equal(found.read(1), values)
        assert (found.crs.to_epsg(), found.transform, found.nodata) == (3035, source.transform, 255)
        about = found.tags(1)
        general = found.tags()
    assert about["long_name"] == "Land-cover class"
    assert about["flag_values"] == "{1,2,3,4,5,6,7,8,9,10,11,253,254}"
    meanings = about["flag_meanings"].split()
    assert (meanings[0], meanings[1], len(meanings)) == ("Sealed", "Woody_needle_leaved_trees", 13)
    assert about["flag_colors"].split()[:2] == ["#ff0000", "#228b22"]
    assert general["NC_GLOBAL#Conventions"] == "CF-1.11"
    assert general["crs#grid_mapping_name"] == "lambert_azimuthal_equal_area"
    assert (general["x#standard_name"], general["y#standard_name"]) == (
        "projection_x_coordinate",
        "projection_y_coordinate",
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "float32", "float64"])
def test_values_of_every_type_are_the_same(tmp_path: Path, dtype: str) -> None:
    values = surface(2, dtype)
    cog = provider(written(tmp_path / "odd.tif", values), {"name": "height", "unit": "m"}, {"name": "x"})
    box = Box((4_900_140.0, 3_094_200.0, 4_908_000.0, 3_099_940.0), cog.native)
    path = netcdf(cog, tmp_path / "odd.nc", box)
    for name, expected in zip(("height", "x_"), values, strict=True):
        with band(path, name) as found:
            np.testing.assert_array_equal(found.read(1), expected[3:290, 7:400])
            assert found.dtypes == (dtype,)
            assert found.tags(1).get("units") == ("m" if name == "height" else None)


@pytest.mark.parametrize(
    ("crs", "place", "unit"),
    [
        ("EPSG:4326", Affine(0.01, 0, -70.5, 0, -0.01, 10.25), "degrees_east"),
        ("EPSG:32633", Affine(10, 0, 500_005, 0, -10, 5_000_015), "metre"),
        ("EPSG:2263", Affine(30, 0, 900_000, 0, -30, 200_000), "0.304800609601219 metre"),
    ],
)
@pytest.mark.parametrize("missing", ["nan", "mask"])
def test_crs_place_and_no_data_are_those_of_the_file(
    tmp_path: Path, crs: str, place: Affine, unit: str, missing: str
) -> None:
    values = surface(1, "float32" if missing == "nan" else "int16")
    hole = np.zeros(values.shape[1:], bool)
    hole[100:150, 200:260] = True
    given: dict[str, Any] = {"mask": np.where(hole, 0, 255).astype("uint8")}
    if missing == "nan":
        values[:, hole] = np.nan
        given = {"nodata": np.nan}
    cog = provider(written(tmp_path / "odd.tif", values, crs=crs, transform=place, **given), {"name": "height"})
    path = netcdf(cog, tmp_path / "odd.nc")
    with band(path, "height") as found:
        assert found.crs.to_epsg() == int(crs.removeprefix("EPSG:"))
        assert found.transform.almost_equals(place)
        read = found.read(1, masked=True)
        across = "lon" if crs == "EPSG:4326" else "x"
        assert found.tags()[f"{across}#units"] == unit
    np.testing.assert_array_equal(np.ma.getmaskarray(read), hole)
    np.testing.assert_array_equal(read[~hole], values[0][~hole])


def test_a_row_of_blocks_is_in_memory_at_a_time(tmp_path: Path) -> None:
    values = classes(1_100, 40)
    cog = provider(rio_cog(tmp_path / "tall.tif", values))
    asked: list[tuple[int, int]] = []
    with cog.open(cog.whole, (40, 1_100)) as pixels:

        def rows(first: int, last: int) -> NDArray[Any]:
            asked.append((first, last))
            return pixels.rows(first, last)

        file = BytesIO()
        write_netcdf(file, replace(pixels, rows=rows))
    assert asked == [(0, 512), (512, 1024), (1024, 1100)]
    assert file.tell() == len(file.getvalue())


def test_the_names_of_classes_become_different_words() -> None:
    named = [(1, "Bare soil"), (2, "Bare, soil"), (3, "Вода"), (4, "Rock/scree (>50 %)")]
    legend = tuple(LandCoverClass(value, name, (0, 0, 0)) for value, name in named)
    assert flag_meanings(legend) == ["Bare_soil", "Bare_soil_2", "class_3", "Rock_scree_50"]
