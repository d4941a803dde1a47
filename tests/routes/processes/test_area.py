"""`POST /area`: the polygons of a file of whichever maker, as the area of an order; what cannot be read is said."""

import io
import json
import sqlite3
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS
from shapely.geometry import shape
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from tests.conftest import ROOT, MakeApp, application

FIRST, SECOND = shapely.box(16.0, 48.0, 16.5, 48.25), shapely.box(17.0, 48.0, 17.25, 48.5)
IN_3035 = shapely.box(4_600_000, 2_800_000, 4_610_000, 2_820_000)
"""A box of 10 km by 20 km; the projection is equal-area."""
OCTETS = "application/octet-stream"
KML = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Folder>
<name>a</name><Placemark><Polygon><outerBoundaryIs><LinearRing>
<coordinates>16,48,0 16.5,48,0 16.5,48.25,0 16,48.25,0 16,48,0</coordinates>
</LinearRing></outerBoundaryIs></Polygon></Placemark>
<Placemark><Point><coordinates>1,2</coordinates></Point></Placemark></Folder><Folder><name>b</name><Placemark><Polygon>
<outerBoundaryIs><LinearRing><coordinates>17,48 17.25,48 17.25,48.5 17,48.5 17,48</coordinates></LinearRing>
</outerBoundaryIs></Polygon></Placemark></Folder></Document></kml>"""


@pytest.fixture(scope="module")
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of one application for all tests: none of them changes anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDCAST_STATE_DIR", str(request.getfixturevalue("sample")))
        configuration = read_configuration(ROOT / "pygeoapi-config.yml")
        state = {"dir": tmp_path_factory.mktemp("state")}
        app = application(configuration, state=state, jobs={"upload": 2_000_000})
    with TestClient(app, base_url="http://inside.invalid") as client:
        yield client


def post(client: TestClient, content: bytes, media_type: str = OCTETS) -> dict[str, Any]:
    answer = client.post("/area", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/geo+json"
    feature: dict[str, Any] = answer.json()
    return feature


def refused(client: TestClient, content: bytes, status: int, media_type: str = OCTETS) -> str:
    answer = client.post("/area", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def written(folder: Path, suffix: str, crs: str | None = "EPSG:4326", geometries: Any = (FIRST, SECOND)) -> Path:
    """Write by GDAL."""
    path = folder / f"made{suffix}"
    number = np.arange(len(geometries))
    kind = geometries[0].geom_type
    pyogrio.raw.write(path, shapely.to_wkb(geometries), [number], ["n"], geometry_type=kind, crs=crs)
    return path


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def shapefile(folder: Path, crs: str | None = "EPSG:4326", geometries: Any = (FIRST, SECOND)) -> dict[str, bytes]:
    written(folder, ".shp", crs, geometries)
    return {f"a folder/{each.name}": each.read_bytes() for each in folder.glob("made.*")}


def by_hand(folder: Path, *, system: int = 3035, geometry: shapely.Geometry = IN_3035) -> bytes:
    """Return a GeoPackage that no library wrote, as its standard says: without an index, with the least of tables."""
    path = folder / "hand.gpkg"
    with sqlite3.connect(path) as database:
        database.executescript("""
            pragma application_id = 1196444487;
            pragma user_version = 10300;
            create table gpkg_spatial_ref_sys (srs_name text not null, srs_id integer primary key,
                organization text not null, organization_coordsys_id integer not null,
                definition text not null, description text);
            create table gpkg_contents (table_name text primary key, data_type text not null, identifier text unique,
                description text, last_change text, min_x real, min_y real, max_x real, max_y real, srs_id integer);
            create table gpkg_geometry_columns (table_name text, column_name text, geometry_type_name text not null,
                srs_id integer not null, z integer not null, m integer not null, primary key (table_name, column_name));
            create table "my areas" (id integer primary key, shape blob);
        """)
        database.execute(
            "insert into gpkg_contents (table_name, data_type, srs_id) values ('my areas', 'features', ?)", [system]
        )
        database.execute("insert into gpkg_geometry_columns values ('my areas', 'shape', 'POLYGON', ?, 0, 0)", [system])
        rows = [("none", -1, "NONE", -1, "undefined", None), ("none", 0, "NONE", 0, "undefined", None)]
        if system > 0:
            rows.append(("given", system, "EPSG", system, CRS.from_epsg(3035).to_wkt("WKT1_GDAL"), None))
        database.executemany("insert into gpkg_spatial_ref_sys values (?, ?, ?, ?, ?, ?)", rows)
        blob = b"GP\0\1" + struct.pack("<i", system) + shapely.to_wkb(geometry)
        database.execute('insert into "my areas" values (1, ?)', [blob])
    database.close()
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["GeoJSON", "GeoPackage", "Shapefile", "KML", "KMZ", "zipped GeoPackage"])
def test_all_polygons_of_a_file_are_one_area(asked: TestClient, tmp_path: Path, kind: str) -> None:
    makers: Mapping[str, Callable[[], bytes]] = {
        "GeoJSON": lambda: written(tmp_path, ".geojson").read_bytes(),
        "GeoPackage": lambda: written(tmp_path, ".gpkg").read_bytes(),
        "Shapefile": lambda: zipped(shapefile(tmp_path)),
        "KML": KML.encode,
        "KMZ": lambda: zipped({"doc.kml": KML.encode(), "images/a.png": b"x"}),
        "zipped GeoPackage": lambda: zipped({"b.gpkg": written(tmp_path, ".gpkg").read_bytes(), "readme.txt": b"?"}),
    }
    feature = post(asked, makers[kind]())
    assert feature["type"] == "Feature"
    assert shape(feature["geometry"]).symmetric_difference(shapely.union(FIRST, SECOND)).area < 1e-9
    assert feature["properties"]["notes"] == (
        ["Left out, as they are no polygons: points (1)."] if kind in {"KML", "KMZ"} else []
    )


@pytest.mark.parametrize("kind", ["GeoPackage by hand", "GeoPackage", "Shapefile", "GeoJSON"])
def test_a_file_in_metres_is_taken_to_longitude_and_latitude(asked: TestClient, tmp_path: Path, kind: str) -> None:
    if kind == "GeoPackage by hand":
        content = by_hand(tmp_path)
    elif kind == "Shapefile":
        content = zipped(shapefile(tmp_path, "EPSG:3035", [IN_3035]))
    elif kind == "GeoPackage":
        content = written(tmp_path, ".gpkg", "EPSG:3035", [IN_3035]).read_bytes()
    else:
        named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3035"}}
        content = json.dumps({**json.loads(shapely.to_geojson(IN_3035)), "crs": named}).encode()
    feature = post(asked, content)
    assert feature["properties"]["km2"] == pytest.approx(200, abs=0.01)
    west, south, *_ = shape(feature["geometry"]).bounds
    assert (west, south) == (pytest.approx(13.6, abs=0.3), pytest.approx(48.3, abs=0.3))


def test_the_area_can_be_ordered(asked: TestClient, tmp_path: Path) -> None:
    park = shapely.box(5_018_000, 3_050_000, 5_022_000, 3_054_000)
    feature = post(asked, written(tmp_path, ".gpkg", "EPSG:3035", [park]).read_bytes())
    body = {"inputs": {"aoi": feature, "product": "Raster"}}
    answer = asked.post("/processes/extract-product/execution", json=body, headers={"Prefer": "respond-async"})
    assert answer.status_code == 201, answer.text


BOW_TIE = shapely.Polygon([(16, 48), (17, 49), (17, 48), (16, 49), (16, 48)])
VRT = """<!-- <kml> --><OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>{path}</SrcDataSource></OGRVRTLayer>
</OGRVRTDataSource>"""


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("empty", 400, "The file is empty."),
        ("text", 415, "of no form that is read here. Allowed: GeoJSON, GeoPackage"),
        ("broken JSON", 400, "begins like GeoJSON and is no JSON"),
        ("JSON of others", 400, 'it has no "type"'),
        ("no features", 400, "The file has no features."),
        ("broken GeoPackage", 400, "it is damaged"),
        ("SQLite", 400, "it is damaged, or not what its first bytes say"),
        ("broken ZIP", 400, "The ZIP cannot be read: it is damaged or not complete."),
        ("ZIP of nothing", 400, "this one has none"),
        ("ZIP of two", 400, "this one has a.kml, b.kml"),
        ("ZIP bomb", 413, "holds more than 20 MB unpacked"),
        ("ZIP that lies about its size", 400, "The ZIP cannot be read"),
        ("many files", 413, "has 201 files. Allowed are 200."),
        ("large", 413, "The file is larger than 2 MB"),
        ("no system", 400, "does not say the coordinate system of 'area'"),
        ("unknown system", 400, "is unknown or no system of places on the ground"),
        ("system of GeoJSON", 400, "EPSG:99999"),
        ("crosses itself", 400, "Allowed is a valid polygon"),
        ("points", 400, "no polygons, only points (2)"),
        ("one part", 400, "This is one part of a Shapefile. Send all of them"),
        ("other file", 400, "damaged"),
    ],
)
def test_what_cannot_be_read_is_said(asked: TestClient, tmp_path: Path, kind: str, status: int, said: str) -> None:
    points = [shapely.Point(1, 2), shapely.Point(2, 3)]
    unknown = {"crs": {"type": "name", "properties": {"name": "EPSG:99999"}}}
    geojson = json.dumps({**json.loads(shapely.to_geojson(FIRST)), **unknown})
    (tmp_path / "secret.geojson").write_text(shapely.to_geojson(FIRST))
    sqlite3.connect(tmp_path / "plain.sqlite").execute("create table a (b)").connection.close()
    lying = bytearray(zipped({"a.kml": b"x" * 100_000}))
    place = lying.rindex(b"PK\x01\x02")
    lying[place + 24 : place + 28] = struct.pack("<I", 50)
    makers: Mapping[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "text": lambda: b"my area is a nice one",
        "broken JSON": lambda: b'{"type": "Polygon", "coordinates": [[[1, 2',
        "JSON of others": lambda: b'{"openapi": "3.0"}',
        "no features": lambda: b'{"type": "FeatureCollection", "features": []}',
        "broken GeoPackage": lambda: by_hand(tmp_path)[:9_000],
        "SQLite": (tmp_path / "plain.sqlite").read_bytes,
        "broken ZIP": lambda: zipped(shapefile(tmp_path))[:400],
        "ZIP of nothing": lambda: zipped({"a.txt": b"a"}),
        "ZIP of two": lambda: zipped({"a.kml": b"a", "b.kml": b"b"}),
        "ZIP bomb": lambda: zipped({"a.kml": bytes(21_000_000)}),
        "ZIP that lies about its size": lambda: bytes(lying),
        "many files": lambda: zipped({f"{n}.txt": b"" for n in range(201)}),
        "large": lambda: bytes(2_000_001),
        "no system": lambda: zipped({name: it for name, it in shapefile(tmp_path).items() if not name.endswith("prj")}),
        "unknown system": lambda: by_hand(tmp_path, system=-1),
        "system of GeoJSON": geojson.encode,
        "crosses itself": lambda: written(tmp_path, ".gpkg", geometries=[BOW_TIE]).read_bytes(),
        "points": lambda: written(tmp_path, ".gpkg", geometries=points).read_bytes(),
        "one part": lambda: written(tmp_path, ".shp").read_bytes(),
        "other file": lambda: VRT.format(path=tmp_path / "secret.geojson").encode(),
    }
    assert said in refused(asked, makers[kind](), status)


def test_half_a_million_vertices_are_refused(make_app: MakeApp, tmp_path: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 500_000, endpoint=False)
    circle = shapely.Polygon(np.column_stack([16 + 0.1 * np.cos(angles), 48 + 0.1 * np.sin(angles)]))
    content = written(tmp_path, ".gpkg", geometries=[circle]).read_bytes()
    with TestClient(make_app(), base_url="http://inside.invalid") as client:
        assert "The area has 500,001 vertices. Allowed are 200,000" in refused(client, content, 400)


def test_a_media_type_that_no_file_has_is_415(asked: TestClient) -> None:
    assert "allowed: application/octet-stream" in refused(asked, b"{}", 415, "text/html")


def test_barely_crossing_polygons_are_repaired_and_it_is_said(asked: TestClient) -> None:
    ring = [[16, 48], [17, 48], [17, 49], [17.5, 49.5], [17, 49], [16, 49], [16, 48]]
    feature = post(asked, json.dumps({"type": "Polygon", "coordinates": [ring]}).encode(), "application/geo+json")
    assert shape(feature["geometry"]).equals(shapely.box(16, 48, 17, 49))
    assert "it was repaired" in feature["properties"]["notes"][0]


def test_the_child_reaches_no_network_and_opens_no_other_formats(tmp_path: Path) -> None:
    code = """
import socket, sys, pyogrio
from products.vector.upload import keep_drivers, limit_process
keep_drivers(pyogrio)
assert set(pyogrio.list_drivers()) == {"ESRI Shapefile", "GPKG", "KML"}, pyogrio.list_drivers()
limit_process(1000)
try:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM)
except PermissionError:
    print("refused")
try:
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(2000))
except OSError as error:
    print(error.strerror)
try:
    bytearray(3 * 1024 ** 3)
except MemoryError:
    print("no memory")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["refused", "File too large", "no memory"]
