"""Items as CSV: each geometry as WKT, whatever its type, and each value, whatever signs it has."""

import json
from typing import Any

import pytest

from routes.features.forms import Table, as_csv

HOLED = [[[0.0, 0.0], [9.0, 0.0], [9.0, 9.5], [0.0, 0.0]], [[1.0, 1.0], [2.0, 1.0], [2.0, 2.0], [1.0, 1.0]]]


@pytest.mark.parametrize(
    ("type_", "coordinates", "wkt"),
    [
        ("Polygon", HOLED, "POLYGON ((0 0, 9 0, 9 9.5, 0 0), (1 1, 2 1, 2 2, 1 1))"),
        ("MultiPolygon", [HOLED[:1], HOLED[1:]], "MULTIPOLYGON (((0 0, 9 0, 9 9.5, 0 0)), ((1 1, 2 1, 2 2, 1 1)))"),
        ("LineString", [[-0.5, 1], [20.0000001, 10.05]], "LINESTRING (-0.5 1, 20.0000001 10.05)"),
        ("MultiLineString", [[[0, 1], [2, 3]], [[4, 5], [6, 7]]], "MULTILINESTRING ((0 1, 2 3), (4 5, 6 7))"),
        ("MultiPoint", [[0, 1], [2, 3]], "MULTIPOINT ((0 1), (2 3))"),
        ("LineString", [[0, 1, 5], [2, 3, 6]], "LINESTRING Z (0 1 5, 2 3 6)"),
        ("Polygon", [], ""),
    ],
)
def test_a_geometry_is_wkt(type_: str, coordinates: Any, wkt: str) -> None:
    outline = json.dumps({"type": type_, "coordinates": coordinates}, separators=(",", ":"))
    item = f'{{"type":"Feature","id":7,"geometry":{outline},"properties":{{"name":"a"}}}}'.encode()
    head, line = b"".join(as_csv([[item]], Table("id", ("name",), "geometry", points=False))).decode().splitlines()
    assert head == "id,name,geometry"
    assert line == ("7,a," if not wkt else f'7,a,"{wkt}"')


def test_values_with_the_names_of_members_are_values() -> None:
    odd = '"geometry":null,"properties":{}'
    items = [
        f'{{"type":"Feature","id":{json.dumps(odd)},"geometry":null,"properties":{{"name":{json.dumps(odd)}}}}}'.encode(),
        b'{"type":"Feature","geometry":{"type":"Point","coordinates":[1.0,2.5]},"properties":{"name":true}}',
    ]
    wkt = b"".join(as_csv([items], Table("id", ("name",), "geometry", points=False))).decode().splitlines()
    quoted = '"' + odd.replace('"', '""') + '"'
    assert wkt[1:] == [f"{quoted},{quoted},", ",true,POINT (1 2.5)"]
    points = b"".join(as_csv([items], Table("id", ("name",), "geometry", points=True))).decode().splitlines()
    assert (points[0], points[1:]) == ("id,name,x,y", [f"{quoted},{quoted},,", ",true,1.0,2.5"])
