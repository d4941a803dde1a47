"""The schema of the configuration: all mistakes and all keys without effect are reported together."""

import ast
from collections.abc import Iterator
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from products.catalogue import read_configuration
from products.yaml_file import read_yaml
from server.configuration import SCHEMA, examine

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


@pytest.fixture
def configuration() -> dict[str, Any]:
    """Return the sample's configuration, for tests to damage."""
    return read_configuration(Path("pygeoapi-config.yml"))


def changed(configuration: dict[str, Any], place: str, value: object) -> dict[str, Any]:
    *parents, last = [ast.literal_eval(step) if step.isdigit() else step for step in place.split("/")]
    document: Any = deepcopy(configuration)
    inner = document
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    result: dict[str, Any] = document
    return result


def test_the_sample_configuration_has_no_mistakes(configuration: dict[str, Any]) -> None:
    found = examine(configuration)
    assert (found.flaws, found.ignored) == ((), ())


def test_a_password_of_digits_is_named(configuration: dict[str, Any]) -> None:
    data = {"host": "h", "dbname": "d", "user": "u", "password": 1234}
    entry = {"type": "feature", "name": "plugins.postgis.PostgisProvider", "data": data, "table": "t", "id_field": "id"}
    flaws = examine(changed(configuration, "resources/parks/providers/0", entry)).flaws
    assert [each for each in flaws if "password" in each] == [
        "resources.parks.providers[0].data.password: must be text, not 1234; quote it"
    ]


def test_all_mistakes_are_named_at_once(configuration: dict[str, Any]) -> None:
    for place, value in {
        "server/limts": {"default_items": 5},
        "server/limits/default_items": -5,
        "resources/parks/typ": "collection",
        "resources/parks/extents/spatial/bbox": [200, 10, -300, 99],
        "resources/parks/providers/0/crs": ["http://nope"],
        "resources/nations/extents/temporal": {"begin": "yesterday", "end": 7},
        "products/clcplus-2023/year": "last",
        "products/second": {"title": "a", "year": 2018, "raster": "nowhere", "attribution": "b"},
        "products/third": {"title": "a", "year": 2018, "raster": "clcplus-raster", "attribution": "b"},
        "products/fourth": {"title": "a", "year": 2018, "raster": "clcplus-raster", "attribution": "b"},
        "metadata/contact": {"nme": "x"},
    }.items():
        configuration = changed(configuration, place, value)
    time = "must be a time, such as 2023-01-01T00:00:00Z or nothing, not"
    nowhere = "'http://nope' is not a CRS that PROJ knows, written as http://www.opengis.net/def/crs/EPSG/0/3035"
    box = "west 200 is not within -180 to 180, east -300 is not within -180 to 180, north 99 is not within -90 to 90"
    assert sorted(examine(configuration).flaws) == [
        "metadata.contact.name: missing; is 'nme' meant for it?",
        "metadata.contact.nme: unknown; did you mean name?",
        "products.clcplus-2023.year: must be a whole number, not 'last'",
        "products.fourth: clcplus has the year 2018 twice",
        "products.second.raster: there is no collection 'nowhere' with a source",
        f"resources.nations.extents.temporal.begin: {time} 'yesterday'",
        f"resources.nations.extents.temporal.end: {time} 7",
        f"resources.parks.extents.spatial.bbox: {box}",
        f"resources.parks.providers[0].crs[0]: {nowhere}",
        "resources.parks.typ: unknown; did you mean type?",
        "server.limits.default_items: -5 is below 1",
        "server.limts: unknown; did you mean limits?",
    ]


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ("resources/echo/attempts", 0, "resources.echo.attempts: 0 is below 1"),
        ("resources/echo/airflow", {"task": "x"}, "resources.echo.airflow: task needs dag"),
        ("resources/echo/airflow", {"dagg": "x"}, "resources.echo.airflow.dagg: unknown; did you mean dag?"),
        ("resources/echo/airflow", {"dag": "a b"}, "resources.echo.airflow.dag: 'a b': must be the id of a DAG"),
        ("resources/echo/airflow", {"dag": "a", "files": "b"}, "resources.echo.airflow.files: 'b': must be a path fro"),
        ("resources/parks/providers", 5, "resources.parks.providers: must be a list, not 5"),
        ("resources/parks/providers", {"type": "feature"}, "resources.parks.providers: must be a list, not a mapping"),
        ("resources/parks/providers", [], "resources.parks.providers: is empty"),
        ("resources/parks/providers", [None], "resources.parks.providers[0]: must be a mapping, not nothing"),
        (
            "resources/parks/providers/0",
            {"type": "feature", "name": "a.B"},
            "resources.parks.providers[0].data: missing",
        ),
        ("resources/parks/providers/0/type", "wfs", "resources.parks.providers[0].type: 'wfs' is none of feature, cov"),
        ("resources/parks/providers/0/type", "coverage", "resources.parks.providers[0].type: 'coverage' is not what"),
        (
            "resources/parks/providers/0/data",
            {"host": "x"},
            "resources.parks.providers[0].data: must be text, not a map",
        ),
        ("resources/parks/providers/0/tabel", "x", "resources.parks.providers[0].tabel: unknown; did you mean table?"),
        ("resources/parks/providers/0/time_field", [], "resources.parks.providers[0].time_field: is empty"),
        (
            "resources/clcplus-raster/providers/0/properties",
            ["a"],
            "resources.clcplus-raster.providers[0].properties: is not honoured: ",
        ),
        ("resources/parks/providers/0/storage_crs", "EPSG:3035", "resources.parks.providers[0].storage_crs: 'EPSG:30"),
        ("resources/parks/extents", "Europe", "resources.parks.extents: must be a mapping, not 'Europe'"),
        ("resources/parks/extents", {}, "resources.parks.extents.spatial: missing"),
        (
            "resources/parks/extents/spatial/bbox",
            [1, 2, 3],
            "resources.parks.extents.spatial.bbox: must be four numbers",
        ),
        (
            "resources/parks/extents/spatial/bbox",
            [1, 5, 2, 4],
            "resources.parks.extents.spatial.bbox: south 5 is above",
        ),
        ("resources/parks/extents/spatial/bbox", [1, 2, 9, 3, 4, 8], "resources.parks.extents.spatial.bbox: the lower"),
        (
            "resources/parks/extents/spatial/bbox",
            [1, 2, 3, "4"],
            "resources.parks.extents.spatial.bbox[3]: must be a num",
        ),
        (
            "resources/parks/extents/spatial/bbox",
            [1, 2, 3, float("nan")],
            "resources.parks.extents.spatial.bbox[3]: must",
        ),
        (
            "resources/parks/extents/spatial/bbox",
            [1, 2, True, 4],
            "resources.parks.extents.spatial.bbox[2]: must be a n",
        ),
        (
            "resources/parks/extents/spatial/crs",
            "EPSG:3035",
            "resources.parks.extents.spatial.crs: 'EPSG:3035': must be",
        ),
        ("resources/parks/extents/spatial/box", [], "resources.parks.extents.spatial.box: unknown; did you mean bbox?"),
        (
            "resources/parks/extents/temporal",
            {"begin": "2024-01-01", "end": "2023-01-01"},
            "resources.parks.extents.temp",
        ),
        ("resources/parks/extents/height", {"range": [1]}, "resources.parks.extents.height.url: missing"),
        ("resources/parks/links", "https://example.org", "resources.parks.links: must be a list, not 'https:"),
        ("resources/parks/links", None, "resources.parks.links: must be a list, not nothing"),
        ("resources/parks/links", [{"href": "x", "rel": "y"}], "resources.parks.links[0].type: missing"),
        (
            "resources/parks/limits",
            {"max_items": 5, "default_items": 9},
            "resources.parks.limits: default_items 9 is ab",
        ),
        ("resources/parks/limits", {"max_distance_x": 9}, "resources.parks.limits.max_distance_x: is not honoured: "),
        ("resources/parks/visibility", "secret", "resources.parks.visibility: 'secret' is none of default, hidden"),
        ("resources/parks/title", "", "resources.parks.title: missing"),
        ("resources/parks/title", {"english": "x"}, "resources.parks.title.english: 'english' is not a language"),
        ("resources/parks/keywords", "parks", "resources.parks.keywords: must be a list or a mapping, not 'parks'"),
        (
            "resources/parks/type",
            "catalog",
            "resources.parks.type: 'catalog' is none of collection, stac-collection, pro",
        ),
        ("resources/echo/processor", None, "resources.echo.processor: must be a mapping, not nothing"),
        ("resources/echo/processor", {}, "resources.echo.processor.name: missing"),
        ("resources/echo/processor/testng", True, "resources.echo.processor.testng: unknown; did you mean testing?"),
        ("resources/parks", None, "resources.parks: must be a mapping, not nothing"),
        (
            "resources/a b",
            {},
            "resources.a b: 'a b': must be letters, digits, `.`, `_` and `-`, of a collection also",
        ),
        ("resources", {}, "resources: is empty"),
        ("server", None, "server: must be a mapping, not nothing"),
        ("server/languages", [False], "server.languages[0]: must be text, not False; quote it"),
        ("server/languages", ["xx-nothing"], "server.languages[0]: 'xx-nothing' is not a language, such as en-GB"),
        ("server/admin", True, "server.admin: is not honoured: there is no Admin API"),
        ("server/encoding", "latin-1", "server.encoding: 'latin-1' is none of utf-8, UTF-8, utf8"),
        ("server/cors", False, "server.cors: is not honoured: every answer may be read by scripts of other sites"),
        ("metadata", None, "metadata: must be a mapping, not nothing"),
        ("metadata/license", {"name": "x"}, "metadata.license.url: missing"),
        (
            "metadata/contact/phone",
            [],
            "metadata.contact.phone: must be text or a whole number or a mapping, not a list",
        ),
        ("products", [], "products: must be a mapping, not a list"),
        ("products", {}, "products: is empty"),
        ("products/clcplus-2023/year", 2023.5, "products.clcplus-2023.year: must be a whole number, not 2023.5"),
        ("products/clcplus-2023/version", "a/b", "products.clcplus-2023.version: 'a/b': must be letters, digits"),
        (
            "products/clcplus-2023/classes",
            [{"value": 300, "name": "x", "colour": "red"}],
            "products.clcplus-2023.classes",
        ),
        ("resorces", {}, "resorces: unknown; did you mean resources?"),
    ],
)
def test_a_configuration_that_prevents_a_start_is_named(
    configuration: dict[str, Any], place: str, value: object, problem: str
) -> None:
    found = examine(changed(configuration, place, value))
    assert [flaw for flaw in found.flaws if flaw.startswith(problem)], found.flaws


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("x-common", {"anything": [1]}),
        ("server", {}),
        ("server", {"language": "de"}),
        ("resources/parks/title", {"en": "Parks", "de-AT": "Parke"}),
        ("resources/parks/keywords", {"en": ["parks"], "de": ["Parke"]}),
        ("resources/parks/extents/spatial/bbox", [170, -10, -170, 10]),
        ("resources/parks/extents/spatial/bbox", [-180, -90, 0, 180, 90, 9000]),
        ("resources/parks/extents/temporal", {"begin": None, "end": "2023-12-31", "trs": "x", "resolution": "P1D"}),
        (
            "resources/parks/extents/height",
            {"url": "https://example.org", "range": [0, 10], "units": "m", "values": [1]},
        ),
        ("resources/parks/providers/0/time_field", ["begin", "end"]),
        ("resources/parks/providers/0/table", "parks"),
        (
            "resources/parks/providers/0",
            {"type": "feature", "name": "some.Plugin", "data": {"x": 1}, "own": {"y": [2]}},
        ),
        ("resources/echo/processor", {"name": "some.Process", "own": 5}),
        ("resources/parks/visibility", "hidden"),
        ("server/cors", True),
        ("metadata/contact/phone", 4912345),
    ],
)
def test_a_valid_configuration_has_no_warnings(configuration: dict[str, Any], place: str, value: object) -> None:
    found = examine(changed(configuration, place, value))
    assert (found.flaws, found.ignored) == ((), ())


def test_a_key_without_effect_is_a_warning_unless_it_has_the_default(configuration: dict[str, Any]) -> None:
    server = {
        "url": "https://x",
        "bind": {"host": "x", "port": 1},
        "gzip": False,
        "pretty_print": None,
        "languages": ["en", "de"],
        "manager": {"name": "TinyDB"},
    }
    configuration["server"] = server
    found = examine(configuration)
    assert found.flaws == ()
    assert [line.partition(": is not honoured: ")[0] for line in found.ignored] == [
        *("server.manager.name", "server.bind", "server.url"),
    ]


def _keys(schema: Any, definitions: Any, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each key of a schema, by its name and its own schema, through references and conditions."""
    if not isinstance(schema, dict):
        return
    for name, inner in schema.get("properties", {}).items():
        yield name, inner
        yield from _keys(inner, definitions, seen)
    for word in ("items", "additionalProperties", "then", "if"):
        yield from _keys(schema.get(word), definitions, seen)
    for word in ("allOf", "anyOf"):
        for inner in schema.get(word, ()):
            yield from _keys(inner, definitions, seen)
    for inner in schema.get("patternProperties", {}).values():
        yield from _keys(inner, definitions, seen)
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and name not in seen:
        yield from _keys(definitions.get(name), definitions, (*seen, name))


def _names(document: Any) -> dict[str, Any]:
    return dict(_keys(document, document.get("$defs", {})))


def test_every_key_of_pygeoapis_schema_is_known() -> None:
    place = files("pygeoapi").joinpath("resources/schemas/config/pygeoapi-config-0.x.yml")
    theirs = _names(yaml.safe_load(place.read_text()))
    whole = {
        "logging",
        "pubsub",
        "bind",
        "map",
        "templates",
        "rotation",
        "linked-data",
        "formatters",
        "geometry",
        "format",
    }
    below = {
        "host",
        "port",
        "path",
        "static",
        "context",
        "geom",
        "attachment",
        "mimetype",
        "broker",
        "channel",
        "hidden",
    }
    below |= {"level", "logfile", "logformat", "dateformat", "mode", "when", "interval", "max_bytes", "backup_count"}
    ours = _names(read_yaml(SCHEMA))
    assert theirs.keys() - ours.keys() - below - {"x_field", "y_field", "attribution"} == {"rotation"}
    assert whole - {"rotation"} <= ours.keys()


def test_keys_without_effect_are_documented() -> None:
    document = Path("docs/configuration.md").read_text()
    schema = read_yaml(SCHEMA)
    for name, inner in _keys(schema, schema["$defs"]):
        for word in ("ignored", "refused"):
            if isinstance(inner, dict) and word in inner:
                assert f"{name}` | {'warns' if word == 'ignored' else '**fails**'}: {inner[word]}" in document, name
