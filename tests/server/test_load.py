"""`landcast load`: the table has the file's content, mistakes are reported, readers see the old or the new table."""

import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pyogrio
import pytest
import shapely
import yaml
from click.testing import CliRunner, Result
from psycopg2.extensions import parse_dsn

from plugins.postgis import PostgisProvider
from server.cli import main
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    return postgres.spatial()


def configured(folder: Path, url: str, table: str, **given: Any) -> Path:
    provider = {
        "type": "feature", "name": "plugins.postgis.PostgisProvider", "table": table, "data": parse_dsn(url), **given,
    }  # fmt: skip
    document = yaml.safe_load(Path("pygeoapi-config.yml").read_text())
    document["resources"] = {"loaded": {**document["resources"]["parks"], "providers": [provider]}}
    path = folder / "configuration.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def load(file: Path, configuration: Path, *options: str) -> Result:
    return CliRunner().invoke(
        main, ["load", str(file), "--collection", "loaded", "--config", str(configuration), *options]
    )


def provider_of(configuration: Path) -> PostgisProvider:
    return PostgisProvider(yaml.safe_load(configuration.read_text())["resources"]["loaded"]["providers"][0])


def write(path: Path, driver: str, *, count: int = 300, epsg: str | None = "EPSG:3035", layer: str = "cover") -> None:
    """Write squares of 100 m with GDAL."""
    x, y = 4_321_000 + 100 * (np.arange(count) % 20), 3_210_000 + 100 * (np.arange(count) // 20)
    squares = shapely.box(x, y, x + 100, y + 100)
    values = [np.arange(count, dtype=np.int64) * 2, np.array([f"n {each}" for each in range(count)], dtype=object)]
    values[1][7:8] = None
    pyogrio.raw.write(
        path, shapely.to_wkb(squares), values, ["number", "name"], geometry_type="Polygon", crs=epsg, driver=driver,
        **({} if driver in {"GeoJSON", "ESRI Shapefile"} else {"layer": layer}),
    )  # fmt: skip


@pytest.mark.parametrize("driver", ["GPKG", "ESRI Shapefile", "FlatGeobuf", "GeoJSON"])
def test_a_table_has_the_content_of_its_file(database: str, tmp_path: Path, driver: str) -> None:
    suffix = {"GPKG": "gpkg", "ESRI Shapefile": "shp", "FlatGeobuf": "fgb", "GeoJSON": "geojson"}[driver]
    write(tmp_path / f"squares.{suffix}", driver)
    configuration = configured(tmp_path, database, f"by {driver} %s \"'")
    done = load(tmp_path / f"squares.{suffix}", configuration)
    assert done.exit_code == 0, done.output
    assert "300 rows, 0 of them without a geometry" in done.output
    made = provider_of(configuration)
    page = made.query(limit=1_000, sortby=[{"property": "number"}])
    assert [each["properties"]["number"] for each in page["features"]] == list(range(0, 600, 2))
    assert page["features"][7]["properties"] == {"number": 14, "name": None}
    assert page["features"][0]["geometry"]["coordinates"][0][0][0] == pytest.approx([10, 52], abs=0.002)
    table = made.feature_table
    assert (table.shape, table.geometry.indexed, table.system.srid) == ("multipolygon", True, 3035)
    assert table.in_degrees is not None
    assert made.query(bbox=[9.9, 51.9, 10.001, 52.001])["numberMatched"] in {1, 2, 3, 4}


BROKEN = [
    ("good", [[[10, 50], [11, 50], [11, 51], [10, 50]]]),
    ("crossing", [[[10, 50], [11, 51], [11, 50], [10, 51], [10, 50]]]),
    ("", None),
    ("line", [[[10, 50], [11, 50], [10, 50], [10, 50]]]),
    ('a "quoted", ü\n\\N', [[[10, 50], [11, 50], [11, 51], [10, 50]]]),
]


def test_invalid_geometries_are_repaired_or_listed_and_no_row_is_lost(database: str, tmp_path: Path) -> None:
    features = [
        {
            "type": "Feature", "properties": {"name": name},
            "geometry": rings and {"type": "Polygon", "coordinates": rings},
        }
        for name, rings in BROKEN
    ]  # fmt: skip
    file = tmp_path / "broken.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    configuration = configured(tmp_path, database, "broken")
    done = load(file, configuration)
    assert done.exit_code == 2
    assert "row 1: Self-intersection" in done.output
    assert "row 3: nothing is left of it" in done.output
    found = provider_of(configuration).query()["features"]
    assert [each["properties"]["name"] for each in found] == [name for name, _ in BROKEN]
    assert [each["geometry"] is None for each in found] == [False, False, True, True, False]
    mended = shapely.from_geojson(json.dumps(found[1]["geometry"]))
    assert shapely.is_valid(mended)
    assert shapely.area(mended) == pytest.approx(0.5)


def test_the_former_table_is_served_until_the_new_one_is_complete(
    database: str, postgres: Postgres, tmp_path: Path
) -> None:
    write(tmp_path / "one.gpkg", "GPKG", count=10)
    write(tmp_path / "two.gpkg", "GPKG", count=20)
    configuration = configured(tmp_path, database, "switched", id_field="number")
    assert load(tmp_path / "one.gpkg", configuration).exit_code == 0
    postgres.run(database, "grant select on switched to public")
    made = provider_of(configuration)
    assert made.query(limit=1)["features"][0]["id"] == 0
    with closing(psycopg2.connect(database)) as reader, reader.cursor() as cursor:
        cursor.execute("select count(*) from switched")  # its transaction goes on
        results: list[Result] = []
        loading = threading.Thread(target=lambda: results.append(load(tmp_path / "two.gpkg", configuration)))
        loading.start()
        loading.join(1)
        assert made.query(resulttype="hits")["numberMatched"] == 10
        cursor.execute("select count(*) from switched")
        assert cursor.fetchone() == (10,)
    loading.join(90)
    assert results[0].exit_code == 0, results[0].output
    assert (
        made.query(resulttype="hits")["numberMatched"] == 20
        or provider_of(configuration).query()["numberMatched"] == 20
    )
    assert postgres.run(database, "select has_table_privilege('public', 'switched', 'select')") == [(True,)]
    left = postgres.run(database, "select relname from pg_class where relname like 'switched%' and relkind = 'r'")
    assert left == [("switched",)]


def test_postgis_may_be_in_any_schema_and_a_table_of_another_schema_stays(postgres: Postgres, tmp_path: Path) -> None:
    """The table is made in the first schema; of a table of that name in a later schema it gets only the grants."""
    url = postgres.empty()
    admin = url.replace("//landcast:", "//postgres:")
    for statement in (
        "create schema land authorization landcast; create schema gis; grant usage on schema gis to public",
        "set client_min_messages = error; create extension postgis schema gis",
        "grant create on schema public to landcast",
    ):
        postgres.run(admin, statement)
    postgres.run(url, "create table squares (a int); grant select on squares to public")
    configuration = configured(tmp_path, url, "squares")
    document = yaml.safe_load(configuration.read_text())
    document["resources"]["loaded"]["providers"][0]["data"]["search_path"] = ["land", "public"]
    configuration.write_text(yaml.safe_dump(document))
    for count in (10, 20):
        write(tmp_path / f"{count}.gpkg", "GPKG", count=count)
        done = load(tmp_path / f"{count}.gpkg", configuration)
        assert done.exit_code == 0, done.output
        assert provider_of(configuration).query(resulttype="hits")["numberMatched"] == count
        found = postgres.run(url, "select relnamespace::regnamespace::text from pg_class where relname = 'squares'")
        assert sorted(found) == [("land",), ("public",)]
        assert postgres.run(url, "select has_table_privilege('public', 'land.squares', 'select')") == [(True,)]
    assert postgres.run(
        url, "select attname from pg_attribute where attrelid = 'public.squares'::regclass and attnum > 0"
    ) == [("a",)]


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"layer": "a"}, ("--layer", "b"), "has no layer 'b'"), ({"epsg": None}, (), "--epsg"),
        ({}, ("--epsg", "999998"), "999998"), ({"id_field": "none"}, (), "no attribute 'none'"),
        ({"id_field": "name"}, (), "not unique or missing"), ({"table": "seen"}, (), "cannot be replaced"),
    ],
    ids=str,
)  # fmt: skip
def test_an_unloadable_file_is_named_and_nothing_changes(
    database: str, tmp_path: Path, change: dict[str, Any], options: tuple[str, ...], said: str
) -> None:
    postgres = Postgres(database)
    postgres.run(database, "create table if not exists seen (a int); create or replace view sees as select a from seen")
    of_file = {name: change[name] for name in change if name in {"layer", "epsg"}}
    write(tmp_path / "some.gpkg", "GPKG", count=10, **of_file)
    given = {name: change[name] for name in change if name == "id_field"}
    done = load(tmp_path / "some.gpkg", configured(tmp_path, database, change.get("table", "some"), **given), *options)
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output
    assert "test-password" not in done.output
    assert postgres.run(database, "select count(*) from pg_class where relname like 'some%' and relkind = 'r'") == [
        (0,)
    ]


@pytest.mark.parametrize(("name", "content"), [("no.gpkg", b"nothing"), ("empty.geojson", b""), ("a.txt", b"a,b\n1,2")])
def test_a_file_without_features_is_refused(database: str, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    done = load(tmp_path / name, configured(tmp_path, database, "some"))
    assert done.exit_code == 1
    assert name in done.output
    assert "Traceback" not in done.output


def test_a_collection_outside_of_postgis_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "some.gpkg", "GPKG", count=1)
    done = CliRunner().invoke(main, ["load", str(tmp_path / "some.gpkg"), "--collection", "parks"])
    assert done.exit_code == 1
    assert "'parks' is not a collection whose provider is plugins.postgis.PostgisProvider" in done.output
