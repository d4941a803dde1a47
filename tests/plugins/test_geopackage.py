import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from pygeoapi.plugin import load_plugin
from pygeoapi.provider.base import ProviderConnectionError, ProviderItemNotFoundError

from plugins.crs import CRS84, Box, Crs, crs_of
from plugins.features import ItemQuery
from plugins.geojson import geojson_texts
from plugins.geopackage import GeoPackageProvider
from products.errors import RequestTooLarge
from products.nations import NATIONS_FILE
from products.vector import meeting, query
from products.vector.query import Selection, SortKey


def provider_of(path: Path, **definition: Any) -> GeoPackageProvider:
    provider: GeoPackageProvider = load_plugin(
        "provider",
        {"name": "plugins.geopackage.GeoPackageProvider", "type": "feature", "data": str(path), **definition},
    )
    return provider


@pytest.fixture
def nations() -> GeoPackageProvider:
    return provider_of(NATIONS_FILE, id_field="id")


@pytest.fixture
def land_cover(sample: Path) -> GeoPackageProvider:
    return provider_of(sample / "sample" / "clcplus_2023_parks.gpkg")


def test_a_missing_file_is_no_error_until_it_is_used(tmp_path: Path) -> None:
    provider = provider_of(tmp_path / "gone.gpkg")
    for use in (provider.get_fields, provider.query, lambda: provider.get("1"), lambda: provider.crs_list):
        with pytest.raises(ProviderConnectionError):
            use()


def test_a_missing_id_field_is_a_broken_source() -> None:
    with pytest.raises(ProviderConnectionError):
        provider_of(NATIONS_FILE, id_field="iso").get_fields()


def test_fields_have_json_types_and_the_values_of_classes(
    land_cover: GeoPackageProvider, nations: GeoPackageProvider
) -> None:
    fields = land_cover.fields
    assert {name: field["type"] for name, field in fields.items()} == {
        "class_code": "integer", "class_name": "string", "area_m2": "number", "year": "integer",
    }  # fmt: skip
    assert fields["class_name"]["enum"][9] == "Water"
    assert 254 in fields["class_code"]["enum"]
    assert "id" not in nations.fields


def test_systems_include_the_default_and_the_storage_crs(
    land_cover: GeoPackageProvider, nations: GeoPackageProvider
) -> None:
    assert land_cover.storage_crs_uri == "http://www.opengis.net/def/crs/EPSG/0/3035"
    assert nations.storage_crs_uri == CRS84.uri
    for provider in (land_cover, nations):
        assert provider.crs_list[0] == CRS84.uri
        assert provider.storage_crs_uri in provider.crs_list


def test_items_by_text_and_by_number(nations: GeoPackageProvider, land_cover: GeoPackageProvider) -> None:
    assert nations.get("TR_3035")["properties"]["name"] == "TURKEY"
    assert land_cover.get("77")["id"] == 77
    for provider, identifier in ((nations, "1"), (nations, "' OR '1'='1"), (land_cover, "TR"), (land_cover, "77.0")):
        with pytest.raises(ProviderItemNotFoundError):
            provider.get(identifier)


def test_a_query_is_a_page_of_all_items(nations: GeoPackageProvider) -> None:
    page = nations.query(offset=44, limit=10)
    assert [feature["id"] for feature in page["features"]] == ["TR_3035", "XK_3909"]
    assert page["numberMatched"] == 46


def test_a_too_large_page_is_cut_but_has_an_item(nations: GeoPackageProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "_MAX_BYTES", 20_000)
    assert 1 < len(nations.find(ItemQuery(limit=46)).features) < 46
    monkeypatch.setattr(query, "_MAX_BYTES", 1)
    page = nations.find(ItemQuery(limit=46, offset=33))
    assert [feature["id"] for feature in page.features] == ["NO_25833"]
    assert page.summary.matched == 46


def test_an_area_with_too_many_items_is_refused_only_if_all_are_needed(
    land_cover: GeoPackageProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "_MAX_CANDIDATES", 1_000)
    boxes = [Box((20, 49, 21, 50), CRS84)]
    with pytest.raises(RequestTooLarge, match="smaller"):
        land_cover.find(ItemQuery(boxes=boxes, selection=Selection(order=(SortKey("class_code"),))))
    assert len(land_cover.find(ItemQuery(boxes=boxes, limit=50)).features) == 50


def test_boxes_in_web_mercator(nations: GeoPackageProvider) -> None:
    box = Box((2_337_000, 6_841_000, 2_338_000, 6_842_000), crs_of(3857))
    assert [feature["id"] for feature in nations.find(ItemQuery(boxes=[box])).features] == ["PL_2180"]


def test_a_filter_and_a_box_apply_together(nations: GeoPackageProvider) -> None:
    box = Box((-10, 48, 3, 56), CRS84)
    found = nations.find(ItemQuery(boxes=[box], selection=Selection(equal={"code": "GB"}), limit=50))
    assert {feature["id"] for feature in found.features} == {"GB_27700", "GB_3108", "GB_3109"}


@pytest.mark.parametrize("target", [CRS84, crs_of(4326), crs_of(3035)])
@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_polygon_with_a_coordinate_that_is_no_number_has_no_geometry(number: float, place: int, target: Crs) -> None:
    corners = np.array([(19.0, 49.0), (20, 49), (20, 50), (19, 50), (19, 49)])
    corners[place, 1] = number
    with np.errstate(invalid="ignore"):
        polygons = np.array([shapely.Polygon(corners), shapely.box(1, 2, 3, 4)], dtype=object)
    assert [text == "null" for text in geojson_texts(polygons, CRS84, target)] == [True, False]


@pytest.mark.parametrize("number", [1e15, -1e300, 1e305, 1.7e308])
def test_the_largest_numbers_are_unchanged(number: float) -> None:
    points = np.array([shapely.Point(number, 49.123456789), shapely.Point(1, 2, number)], dtype=object)
    found = [json.loads(text)["coordinates"] for text in geojson_texts(points, CRS84, CRS84)]
    assert found == [[number, 49.1234568], [1, 2, number]]
