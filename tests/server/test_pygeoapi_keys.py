"""Every key of pygeoapi's schema is in docs/pygeoapi.md with its effect."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from products.yaml_file import read_yaml
from server.configuration import SCHEMA

OURS = read_yaml(SCHEMA)
_SAID = {"ignored": "warns", "refused": "fails"}
_GEOPACKAGE = "plugins.geopackage.GeoPackageProvider"


def keys_of(schema: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Yield the place of each key: `*` is any name, `[]` an entry of a list."""
    for name, inner in (schema.get("properties") or {}).items():
        yield f"{place}{name}"
        yield from keys_of(inner, f"{place}{name}.")
    for inner in (schema.get("patternProperties") or {}).values():
        yield from keys_of(inner, f"{place}*.")
    for inner in schema.get("anyOf", ()):
        yield from keys_of(inner, place)
    if "items" in schema:
        yield from keys_of(schema["items"], f"{place.rstrip('.')}[].")


def their_keys() -> set[str]:
    place = files("pygeoapi").joinpath("resources/schemas/config/pygeoapi-config-0.x.yml")
    return set(keys_of(yaml.safe_load(place.read_text())))


def documented() -> list[tuple[str, str]]:
    """Return each key of the table with its description."""
    table = Path("docs/pygeoapi.md").read_text().partition("## Keys of the configuration")[2]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("`")]
    return [(key, row[1].removesuffix(" |")) for row in rows for key in re.findall(r"`([^`]+)`", row[0])]


def said_of(schema: Mapping[str, Any], steps: Sequence[str]) -> str:
    """Return whether our schema honours, ignores or refuses a key or one that contains it."""
    if "$ref" in schema:
        schema = OURS["$defs"][schema["$ref"].rpartition("/")[2]]
    for word, said in _SAID.items():
        if word in schema:
            return said
    if not steps:
        return "yes"
    step, *rest = steps
    if step == "[]":
        return said_of(schema.get("items", {}), rest)
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    if step in known:
        return said_of(known[step], rest)
    assert others is not False, f"{step} is unknown"
    return said_of(others, rest) if isinstance(others, dict) else "yes"


def done_with(key: str) -> str:
    steps = key.replace("[]", ".[]").split(".")
    if steps[:2] != ["resources", "*"]:
        return said_of(OURS, steps)
    of_process = {"processor", "allow_internal_requests"} & set(steps)
    if steps[2:4] == ["providers", "[]"]:
        (schema,) = [
            each["then"]
            for each in OURS["$defs"]["provider"]["allOf"]
            if each["if"]["properties"]["name"]["const"] == _GEOPACKAGE
        ]
        return said_of(schema, steps[4:])
    return said_of(OURS["$defs"]["process" if of_process else "collection"], steps[2:])


def test_each_key_is_in_the_table_once() -> None:
    keys = [key for key, _ in documented()]
    assert len(keys) > 100
    assert sorted(keys) == sorted(their_keys())


def test_each_key_has_the_documented_effect() -> None:
    assert {key: said for key, said in documented() if said != done_with(key)} == {}
