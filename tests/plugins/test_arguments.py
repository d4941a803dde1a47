"""pygeoapi's arguments, one by one: their effect in our providers, and refusals."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from babel import Locale
from pygeoapi.api.coverages import get_collection_coverage
from pygeoapi.api.itemtypes import get_collection_item, get_collection_items
from pygeoapi.api.maps import get_collection_map
from pygeoapi.crs import create_crs_transform_spec
from pygeoapi.plugin import load_plugin
from pygeoapi.provider.base import (
    ProviderConnectionError,
    ProviderInvalidQueryError,
    ProviderNoDataError,
    ProviderRequestEntityTooLargeError,
)

from plugins.cog import CogProvider
from plugins.cog_map import CogMapProvider
from plugins.geopackage import GeoPackageProvider
from products.vector import meeting, query
from products.vector.layer import Column
from tests.odd.geopackages import by_us
from tests.odd.rasters import classes, gdal_cog

EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
COLUMNS = [Column("name", "TEXT"), Column("size", "REAL"), Column("raw", "BLOB"), Column("year", "INTEGER")]
ROWS = [("a", 1.5, b"\1", 2019), ("b", None, None, 2020), ("c", 2.5, b"\2", 2021)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("arguments")
    by_us(made / "places.gpkg", COLUMNS, ROWS)
    gdal_cog(made / "classes.tif", classes(300, 400), 4326)
    return made


def features(folder: Path, **given: Any) -> GeoPackageProvider:
    definition = {
        "type": "feature",
        "name": "plugins.geopackage.GeoPackageProvider",
        "data": str(folder / "places.gpkg"),
    }
    made = load_plugin("provider", {**definition, **given})
    assert isinstance(made, GeoPackageProvider)
    return made


def coverage(folder: Path, **given: Any) -> CogProvider:
    definition = {"type": "coverage", "name": "plugins.cog.CogProvider", "data": str(folder / "classes.tif")}
    made = load_plugin("provider", {**definition, **given})
    assert isinstance(made, CogProvider)
    return made


def drawing(folder: Path, **given: Any) -> CogMapProvider:
    definition = {"type": "map", "name": "plugins.cog_map.CogMapProvider", "data": str(folder / "classes.tif")}
    made = load_plugin("provider", {**definition, **given})
    assert isinstance(made, CogMapProvider)
    return made


def ids(page: dict[str, Any]) -> list[int]:
    return [feature["id"] for feature in page["features"]]


@pytest.mark.parametrize(
    ("handler", "method"),
    [
        (get_collection_items, GeoPackageProvider.query),
        (get_collection_item, GeoPackageProvider.get),
        (get_collection_coverage, CogProvider.query),
        (get_collection_map, CogMapProvider.query),
    ],
)
def test_every_argument_of_a_handler_has_a_name(handler: Any, method: Any) -> None:
    """The arguments that pygeoapi passes are in its code, as keywords of a call or as members of `query_args`."""
    source = inspect.getsource(handler)
    given = {name for name in inspect.signature(method).parameters if name not in {"self", "crs", "bbox_crs"}}
    asked = {name for name in given if f"{name}=" in source or f"'{name}'" in source or name == "identifier"}
    assert asked == given
    with pytest.raises(TypeError):
        method(object(), unheard_of=1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"offset": 1, "limit": 1}, [2]),
        ({"bbox": [20.05, 49, 20.15, 51]}, [2]),
        ({"bbox": [20.05, 49, 0, 20.15, 51, 9]}, [2]),
        ({"bbox": [20.1, 50, 20.1, 50]}, [2]),
        ({"datetime_": "2020-01-01/.."}, [2, 3]),
        ({"properties": [("name", "c")]}, [3]),
        ({"properties": [("size", "1.5"), ("name", "a")]}, [1]),
        ({"properties": [("raw", "Ag==")]}, [3]),
        ({"properties": [("year", 2020)]}, [2]),
        ({"properties": [("name", "a"), ("name", "a")]}, [1]),
        ({"sortby": [{"property": "name", "order": "-"}]}, [3, 2, 1]),
        ({"sortby": [{"property": "size", "order": "+"}]}, [2, 1, 3]),
        ({"resulttype": "hits"}, []),
    ],
    ids=str,
)
def test_items_by_argument(folder: Path, arguments: dict[str, Any], expected: list[int]) -> None:
    page = features(folder).query(**arguments)
    assert ids(page) == expected
    assert page["numberReturned"] == len(expected)
    if not arguments.keys() & {"offset", "resulttype"}:
        assert page["numberMatched"] == len(expected)


def test_the_shape_of_items(folder: Path) -> None:
    [feature] = features(folder).query(limit=1, select_properties=["size"], skip_geometry=True)["features"]
    assert feature == {"type": "Feature", "id": 1, "geometry": None, "properties": {"size": 1.5}}
    assert "numberMatched" not in features(folder, count=False).query(limit=1)
    assert features(folder, count=False).query(resulttype="hits")["numberMatched"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"offset": 10**30}, "offset"), ({"limit": 10**30}, "limit"),
        ({"offset": -1}, "offset"), ({"limit": -1}, "limit"), ({"limit": True}, "limit"),
        ({"resulttype": "all"}, "resulttype"),
        ({"bbox": [1, 2, 3]}, "bbox"), ({"bbox": [1, 2, float("nan"), 3]}, "bbox"), ({"bbox": [1, 3, 2, 2]}, "bbox"),
        ({"datetime_": "soon"}, "datetime"),
        ({"properties": [("none", "1")]}, "properties: 'none'"), ({"properties": [("size", "large")]}, "size: allowed"),
        ({"properties": [("name", "a"), ("name", "b")]}, "name: 'b'"),
        ({"sortby": [{"property": "none", "order": "+"}]}, "sortby"),
        ({"sortby": [{"property": "name", "order": "?"}]}, "sortby"),
        ({"select_properties": ["none"]}, "properties"), ({"q": ","}, "q: "), ({"q": ""}, "q: "),
        ({"filterq": ["a filter"]}, "filter: "), ({"language": Locale("de")}, "lang: de"),
    ],
    ids=str,
)  # fmt: skip
def test_invalid_arguments_of_items_are_refused(folder: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ProviderInvalidQueryError) as refused:
        features(folder).query(**arguments)
    assert refused.value.http_status_code == 400
    assert refused.value.message.startswith(said)


def spec(crs: str, **given: Any) -> Any:
    return create_crs_transform_spec({"crs": [crs], **given}, crs)


def test_coordinates_have_the_order_of_their_system(folder: Path) -> None:
    """As the handlers do it: from `storage_crs` of the configuration to `crs` of the query, unless equal."""

    def first(storage: str | None, asked: str | None, **more: Any) -> list[float]:
        given = {"storage_crs": storage} if storage else {}
        made = features(folder, **given, **more)
        transformation = spec(asked, **given, **more) if asked else None
        page = made.query(limit=1, crs_transform_spec=transformation)
        item = made.get("1", crs_transform_spec=transformation)
        assert page["features"][0]["geometry"] == item["geometry"]
        return list(item["geometry"]["coordinates"])

    assert first(None, None) == [20, 50]
    assert first(None, f"{EPSG}4326") == [50, 20]
    assert first(None, f"{EPSG}4326", always_xy=True) == [20, 50]
    assert first(f"{EPSG}4326", f"{EPSG}4326") == [50, 20]
    assert first(f"{EPSG}4326", "http://www.opengis.net/def/crs/OGC/1.3/CRS84") == [20, 50]
    assert first(None, "http://www.opengis.net/def/crs/OGC/0/CRS84h") == [20, 50]
    assert first(None, f"{EPSG}3857") == pytest.approx([2226389.82, 6446275.84])
    assert first(None, f"{EPSG}2180") == pytest.approx([237_447, 571_645], abs=1)  # northing
    assert first(None, "http://www.opengis.net/def/crs/ESRI/0/54009") == pytest.approx([1_600_000, 5_900_000], rel=0.1)
    with pytest.raises(ProviderInvalidQueryError, match="crs: "):
        features(folder).query(crs_transform_spec=type("Spec", (), {"target_crs_uri": "none"})())


def test_a_bbox_has_the_order_of_the_configured_system(folder: Path) -> None:
    """The handlers transform it into `storage_crs`, in the axis order of that CRS."""
    assert ids(features(folder, storage_crs=f"{EPSG}4326").query(bbox=[49, 20.05, 51, 20.15])) == [2]
    with pytest.raises(ProviderInvalidQueryError, match="bbox"):
        features(folder, storage_crs=f"{EPSG}3857").query(bbox=[float("inf"), 1, float("inf"), 2])


def test_a_page_that_would_end_early_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handlers calculate the next page from the limit, and would skip items."""
    monkeypatch.setattr(query, "_MAX_BYTES", 1)
    assert ids(features(folder).query(limit=1, offset=1)) == [2]
    with pytest.raises(ProviderRequestEntityTooLargeError, match="1 at a time"):
        features(folder).query(limit=2)


def test_a_query_that_takes_too_long_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_MAX_CANDIDATES", 0)
    with pytest.raises(ProviderRequestEntityTooLargeError, match="smaller"):
        features(folder).query(bbox=[20.05, 49, 20.15, 51], sortby=[{"property": "name"}])


def test_the_values_of_a_property_are_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = features(folder)
    assert made.get_domains() == ({"name": ["a", "b", "c"], "size": [1.5, 2.5], "year": [2019, 2020, 2021]}, True)
    assert made.get_domains(["size"], current=True) == ({"size": [1.5, 2.5]}, True)
    monkeypatch.setattr("plugins.geopackage.MOST_VALUES", 2)
    assert made.get_domains() == ({"size": [1.5, 2.5]}, True)


def test_only_configured_properties_are_shown(folder: Path) -> None:
    made = features(folder, properties=["year", "name"])
    assert list(made.fields) == ["year", "name"]
    assert list(made.get("2")["properties"].items()) == [("year", 2020), ("name", "b")]
    assert list(made.query(select_properties=["name"])["features"][0]["properties"]) == ["name"]
    assert made.get_domains()[0].keys() == {"name", "year"}
    for refused in (
        {"properties": [("size", "1.5")]},
        {"sortby": [{"property": "size"}]},
        {"select_properties": ["size"]},
    ):
        with pytest.raises(ProviderInvalidQueryError):
            made.query(**refused)
    with pytest.raises(ProviderConnectionError, match="no column none"):
        features(folder, properties=["none"]).get_fields()


def test_texts_have_one_language(folder: Path) -> None:
    made = features(folder, language="de-AT")
    assert ids(made.query(language=Locale("de", "AT"))) == [1, 2, 3]
    assert made.get("1", language=Locale("de", "AT"))["id"] == 1
    with pytest.raises(ProviderInvalidQueryError, match="allowed: de-AT"):
        made.get("1", language=Locale("fr"))
    with pytest.raises(ProviderConnectionError, match="languages: de, fr"):
        features(folder, languages=["de", "fr"])


def test_the_provider_is_read_only(folder: Path) -> None:
    assert features(folder, editable=True).editable is False


def test_a_coverage_by_argument(folder: Path) -> None:
    made = coverage(folder)
    west, south, east, north = made.whole.bbox
    side = made.grid.resolution
    box = (west + 10 * side, north - 30 * side, west + 50 * side, north - 10 * side)
    lat_lon = (box[1], box[0], box[3], box[2])
    expected = classes(300, 400)[10:30, 10:50].ravel().tolist()
    asked: list[dict[str, Any]] = [
        {"bbox": box}, {"bbox": box, "bbox_crs": 4326}, {"bbox": box, "bbox_crs": "4326"},
        {"bbox": lat_lon, "bbox_crs": f"{EPSG}4326"}, {"bbox": lat_lon, "bbox_crs": "[EPSG:4326]"},
        {"bbox": box, "bbox_crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
        {"bbox": box, "format_": "coveragejson"}, {"bbox": box, "properties": ["class"]},
        {"bbox": box, "datetime_": "2020-01-01"},
        {"subsets": {"Lon": [box[0], box[2]], "Lat": [box[1], box[3]]}},
        {"subsets": {"x": [box[0], box[2]], "y": [box[1], box[3]]}},
    ]  # fmt: skip
    for arguments in asked:
        found = made.query(**arguments)
        assert isinstance(found, dict)
        assert found["ranges"]["class"]["values"] == expected, arguments
    far = made.query(subsets={"Lat": [-(10**400), 10**400], "Lon": [box[0], box[2]]})
    assert isinstance(far, dict)
    assert far["ranges"]["class"]["shape"] == [300, 40]
    half = made.query(subsets={"Lat": ["*", south + 20 * side]})
    assert isinstance(half, dict)
    assert half["ranges"]["class"]["shape"] == [20, 400]
    assert isinstance(made.query(bbox=box, format_="GTiff"), bytes)
    assert made.filename == "classes.tif"
    assert coverage(folder, format={"name": "png", "mimetype": "image/png"}).filename == "classes.png"
    with pytest.raises(ProviderNoDataError):
        made.query(bbox=[0, 0, 1, 1])
    assert set(made.axes) >= {"Lat", "Lon", "Long", "x", "y", "E", "N"}
    assert east > west


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"properties": ["none"]}, "properties"), ({"datetime_": "soon"}, "datetime"), ({"format_": "NetCDF"}, "f: "),
        ({"format_": "png"}, "f: "), ({"bbox": [1, 2, 3]}, "bbox"), ({"bbox": [2, 1, 1, 2], "bbox_crs": 3857}, "bbox"),
        ({"bbox": [1, 1, 2, 2], "bbox_crs": 27700}, "bbox-crs"),
        ({"bbox": [1, 1, 2, 2], "bbox_crs": "none"}, "bbox-crs"),
        ({"bbox": [1, 1, 2, 2], "bbox_crs": "99999999"}, "bbox-crs"),
        ({"subsets": {"Lat": [50]}}, "subset"), ({"subsets": {"Lat": ["a", "b"]}}, "subset"),
        ({"subsets": {"Depth": [1, 2]}}, "subset"), ({"subsets": {"Lat": [1, 2], "N": [1, 2]}}, "subset"),
        ({"subsets": {"Lat": [2, 1]}}, "subset"), ({"subsets": {"Lat": [True, 2]}}, "subset"),
        ({"subsets": {"Lat": [float("nan"), 2]}}, "subset"),
        ({"subsets": {"Lat": [1, 2]}, "bbox": [1, 1, 2, 2]}, "subset"),
    ],
    ids=str,
)  # fmt: skip
def test_invalid_arguments_of_a_coverage_are_refused(folder: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ProviderInvalidQueryError) as refused:
        coverage(folder).query(**arguments)
    assert refused.value.message.startswith(said)


def test_an_unsupported_format_is_refused(folder: Path) -> None:
    made = coverage(folder, format={"name": "NetCDF", "mimetype": "application/x-netcdf"})
    assert made.query(bbox=made.whole.bbox)
    with pytest.raises(ProviderInvalidQueryError, match="allowed: json"):
        made.query(format_="NetCDF")


def test_a_large_coverage_is_scaled_down_as_by_our_route(folder: Path) -> None:
    found = coverage(folder).query()
    assert isinstance(found, dict)
    assert found["ranges"]["class"]["shape"] == [150, 200]


def test_the_smallest_box_is_a_pixel(folder: Path) -> None:
    made = coverage(folder)
    west, _, _, north = made.whole.bbox
    side = made.grid.resolution
    found = made.query(bbox=[west + 5 * side, north - 7 * side, west + 5 * side + 1e-13, north - 7 * side + 1e-13])
    assert isinstance(found, dict)
    assert found["ranges"]["class"]["shape"] == [1, 1]
    assert found["ranges"]["class"]["values"][0] in np.unique(classes(300, 400)).tolist()


def test_invalid_arguments_of_a_map_are_refused(folder: Path) -> None:
    made = drawing(folder)
    box = made._coverage.whole.bbox
    handed: dict[str, Any] = {"bbox-crs": f"{EPSG}4326"}
    assert made.query(bbox=box, **handed).startswith(b"\x89PNG")
    refused: list[dict[str, Any]] = [
        {"style": "grey"}, {"format_": "jpeg"}, {"subsets": {"z": [1]}}, {"select_properties": ["none"]},
        {"datetime_": "soon"}, {"width": 0}, {"height": -1}, {"crs": f"{EPSG}27700"}, {"crs": ValueError("none")},
        {"transparent": "perhaps"}, {"bbox": [2, 1, 1, 2], "crs": f"{EPSG}3857"}, {"bbox": [1, 2, float("inf"), 3]},
    ]  # fmt: skip
    for arguments in refused:
        with pytest.raises(ProviderInvalidQueryError):
            made.query(**{"bbox": box, **arguments})
    with pytest.raises(ProviderInvalidQueryError):
        made.get_legend()
    with pytest.raises(ProviderRequestEntityTooLargeError):
        made.query(bbox=box, width=100_000, height=100_000)
    with pytest.raises(ProviderConnectionError, match="allowed: png"):
        drawing(folder, format={"name": "jpeg", "mimetype": "image/jpeg"})
