from pathlib import Path

import pytest
import shapely
from pyproj import CRS

from products.nations import NATIONS, NATIONS_FILE, find_nation
from products.vector.geopackage import read_geopackage

TABLE = """
ALBANIA AL 2462
AUSTRIA AT 31287
BOSNIA AND HERZEGOVINA BA 3908
BELGIUM BE 3812
BULGARIA BG 32635
SWITZERLAND CH 2056
CYPRUS CY 32636
CZECH REPUBLIC CZ 5514
GERMANY DE 32632
DENMARK DK 25832
ESTONIA EE 3301
SPAIN ES 25830
SPAIN (CANARIES) ES 32628
FINLAND FI 3067
FRANCE FR 2154
GREAT BRITAIN GB 27700
GUERNSEY (CHANNEL ISLANDS) GB 3108
GREECE GR 2100
CROATIA HR 3765
HUNGARY HU 23700
IRELAND IE 2157
ICELAND IS 5325
ITALY IT 32632
JERSEY (CHANNEL ISLANDS) GB 3109
LIECHTENSTEIN LI 2056
LITHUANIA LT 3346
LUXEMBOURG LU 2169
LATVIA LV 3059
MONTENEGRO ME 25834
FYR OF MACEDONIA MK 6204
MALTA MT 23033
NORTHERN IRELAND NI 29903
NETHERLANDS NL 28992
NORWAY NO 25833
POLAND PL 2180
PORTUGAL PT 3763
PORTUGAL (AZORES CENTRAL AND EASTERN GROUP) PT 5015
PORTUGAL (AZORES WESTERN GROUP) PT 5014
PORTUGAL (MADEIRA) PT 5016
ROMANIA RO 3844
SERBIA RS 25834
SWEDEN SE 3006
SLOVENIA SI 3912
SLOVAKIA SK 5514
TURKEY TR None
KOSOVO UNDER UNSCR 1244/99 XK 3909
"""
INSIDE = {
    "AL_2462": (19.82, 41.33), "AT_31287": (16.37, 48.21), "BE_3812": (4.35, 50.85), "BG_32635": (23.32, 42.70),
    "CH_2056": (7.45, 46.95), "CY_32636": (33.38, 35.17), "CZ_5514": (14.42, 50.09), "DE_32632": (13.40, 52.52),
    "EE_3301": (24.75, 59.42), "ES_25830": (-3.70, 40.42), "ES_32628": (-16.60, 28.25), "FI_3067": (24.95, 60.22),
    "FR_2154": (2.35, 48.86), "GB_27700": (-0.13, 51.51), "GB_3108": (-2.58, 49.45), "GB_3109": (-2.13, 49.22),
    "GR_2100": (23.73, 38.00), "IE_2157": (-6.30, 53.35), "IS_5325": (-21.80, 64.10), "IT_32632": (12.50, 41.90),
    "LI_2056": (9.55, 47.15), "LU_2169": (6.13, 49.61), "LV_3059": (24.11, 56.95), "MT_23033": (14.45, 35.89),
    "NI_29903": (-6.00, 54.57), "NO_25833": (10.75, 59.95), "PL_2180": (21.01, 52.23), "PT_3763": (-9.16, 38.75),
    "PT_5014": (-31.20, 39.44), "PT_5015": (-25.50, 37.79), "PT_5016": (-16.98, 32.75), "RS_25834": (20.46, 44.80),
    "SE_3006": (18.00, 59.33), "TR_3035": (32.85, 39.93), "XK_3909": (21.16, 42.66),
}  # fmt: skip
"""Capitals, or a place inland."""
OUTSIDE = {
    "FR_2154": (-53.1, 4.0), "NO_25833": (16.0, 78.5), "ES_25830": (-16.6, 28.25), "PT_3763": (-25.5, 37.79),
    "GB_27700": (-6.0, 54.57), "NL_28992": (-68.9, 12.2), "DK_25832": (-45.0, 65.0), "RS_25834": (21.16, 42.66),
    "IE_2157": (-6.0, 54.57),
}  # fmt: skip
"""Places that are, or were once, of the state but are not in its product."""


@pytest.fixture(scope="module")
def outlines() -> dict[str, shapely.Geometry]:
    with read_geopackage(NATIONS_FILE) as reader:
        (batch,) = reader.features((-180, -90, 180, 90))
    return {row[0]: outline for outline, row in zip(batch.geometries, batch.rows, strict=True)}


def test_nations_are_the_46_of_the_product() -> None:
    lines = [f"{nation.name} {nation.code} {nation.epsg}" for nation in NATIONS]
    assert lines == TABLE.strip().splitlines()
    assert len(lines) == 46


def test_ids_are_unique() -> None:
    ids = [nation.id for nation in NATIONS]
    assert len(set(ids)) == 46
    assert {"AL_2462", "TR_3035", "GB_27700", "GB_3108"} <= set(ids)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("BOSNIA AND HERZEGOVINA", "Bosnia and Herzegovina"),
        ("FYR OF MACEDONIA", "FYR of Macedonia"),
        ("KOSOVO UNDER UNSCR 1244/99", "Kosovo under UNSCR 1244/99"),
        ("SPAIN (CANARIES)", "Spain (Canaries)"),
        ("PORTUGAL (AZORES CENTRAL AND EASTERN GROUP)", "Portugal (Azores Central and Eastern Group)"),
    ],
)
def test_titles_are_readable_and_find_the_nation(name: str, title: str) -> None:
    nation = find_nation(title)
    assert nation is not None
    assert (nation.name, nation.title) == (name, title)


@pytest.mark.parametrize("name", ["poland", "POLAND", " Poland "])
def test_a_nation_is_found_in_upper_or_lower_case(name: str) -> None:
    nation = find_nation(name)
    assert nation is not None
    assert nation.id == "PL_2180"


@pytest.mark.parametrize("name", ["", "Atlantis", "PL"])
def test_an_unknown_nation_is_none(name: str) -> None:
    assert find_nation(name) is None


def test_the_file_holds_the_table_and_is_small() -> None:
    with read_geopackage(NATIONS_FILE) as reader:
        (batch,) = reader.features((-180, -90, 180, 90))
        assert reader.layer.names == ("id", "name", "title", "code", "epsg")
    expected = [(nation.id, nation.name, nation.title, nation.code, nation.epsg or 3035) for nation in NATIONS]
    assert sorted(batch.rows) == sorted(expected)
    assert Path(NATIONS_FILE).stat().st_size < 700_000


def test_outlines_are_valid_and_in_europe(outlines: dict[str, shapely.Geometry]) -> None:
    assert all(outline.is_valid and not outline.is_empty for outline in outlines.values())
    europe = shapely.box(-32, 27, 45, 72)
    assert all(europe.covers(outline) for outline in outlines.values())


@pytest.mark.parametrize(("id_", "place"), INSIDE.items())
def test_outlines_hold_their_capital(
    outlines: dict[str, shapely.Geometry], id_: str, place: tuple[float, float]
) -> None:
    assert [name for name, outline in outlines.items() if outline.contains(shapely.Point(place))] == [id_]


@pytest.mark.parametrize(("id_", "place"), OUTSIDE.items())
def test_outlines_exclude_territories_outside_of_the_product(
    outlines: dict[str, shapely.Geometry], id_: str, place: tuple[float, float]
) -> None:
    assert not outlines[id_].contains(shapely.Point(place))


@pytest.mark.parametrize("nation", NATIONS, ids=lambda nation: nation.id)
def test_each_nation_is_in_the_area_of_use_of_its_system(outlines: dict[str, shapely.Geometry], nation: object) -> None:
    epsg, id_ = getattr(nation, "crs", 0), getattr(nation, "id", "")
    area = CRS.from_epsg(epsg).area_of_use
    assert area is not None
    centre = outlines[id_].centroid
    assert area.west - 0.1 <= centre.x <= area.east + 0.1
    assert area.south - 0.1 <= centre.y <= area.north + 0.1
