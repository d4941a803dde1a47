"""A plugin with few metadata gets a full description, and its inputs are checked against valid schemas."""

import time
from contextlib import suppress
from typing import Any

import pytest
from pygeoapi.process.base import BaseProcessor

from processes.adapter import PluginProcess, complete
from processes.errors import InvalidInput
from processes.loading import load_process, load_processes
from products.catalogue import Catalogue
from tests.processes.test_foreign import OTHERS, PLUGINS

NOTHING = Catalogue(())


def entry(plugin: str) -> dict[str, Any]:
    return {"type": "process", "processor": {"name": plugin}}


def adapted(**inputs: Any) -> PluginProcess:
    return PluginProcess(BaseProcessor({"name": "x"}, {"inputs": inputs}), name="x", language="en")


def test_a_title_is_in_the_language_of_the_server() -> None:
    assert load_process("hello", entry("HelloWorld"), language="fr-CA").metadata["title"] == "Bonjour le Monde"
    assert load_process("hello", entry("HelloWorld"), language="de").metadata["title"] == "Hello World"


def test_missing_members_of_a_description_are_added() -> None:
    assert complete({}, "survey", "en") == {
        "id": "survey",
        "version": "1.0.0",
        "title": "survey",
        "description": "",
        "keywords": [],
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "links": [],
        "inputs": {},
        "outputs": {"result": {"title": "Result", "description": "", "schema": {}}},
    }


@pytest.mark.parametrize(
    ("said", "options"),
    [
        (["async-execute"], ["async-execute", "dismiss"]),
        (["sync-execute", "async-execute"], ["sync-execute", "async-execute", "dismiss"]),
        (["dismiss", "fly"], ["async-execute", "dismiss"]),
        ("sync-execute", ["sync-execute", "async-execute", "dismiss"]),
    ],
)
def test_a_plugin_can_always_be_executed_asynchronously(said: Any, options: list[str]) -> None:
    assert complete({"jobControlOptions": said}, "x", "en")["jobControlOptions"] == options


def test_incomplete_metadata_are_completed() -> None:
    made = complete(
        {
            "title": 5,
            "version": 2,
            "keywords": "none",
            "links": [{"rel": "about"}, "x", {"href": "https://example.org", "title": {"en": "E"}}],
            "example": "no",
            "inputs": {"id": {"minOccurs": "0", "maxOccurs": "many", "schema": True}, "to": {"maxOccurs": "unbounded"}},
        },
        "x",
        "en",
    )
    assert (made["title"], made["version"], made["keywords"], "example" in made) == ("5", "2", [], False)
    assert made["links"] == [{"rel": "related", "href": "https://example.org", "title": "E"}]
    assert (made["inputs"]["id"]["minOccurs"], made["inputs"]["id"]["maxOccurs"]) == (0, 1)
    assert (made["inputs"]["id"]["schema"], made["inputs"]["to"]["maxOccurs"]) == ({}, "unbounded")


@pytest.mark.parametrize("metadata", [None, [], "x", {"inputs": ["a"]}, {"outputs": {"a": "b"}}])
def test_invalid_metadata_are_refused(metadata: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        complete(metadata, "x", "en")


def test_a_value_is_validated_by_a_valid_schema() -> None:
    process = adapted(n={"schema": {"type": "integer", "maximum": 3}})
    assert process.check({"n": 3, "unknown": [1]}, NOTHING) == {"n": 3, "unknown": [1]}
    with pytest.raises(InvalidInput, match="input 'n': 4"):
        process.check({"n": 4}, NOTHING)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "text"},
        {"pattern": "("},
        {"$ref": "http://127.0.0.1:9/never.json"},
        {"oneOf": [{"type": "string"}, {"$ref": "#/$defs/none"}]},
        {"exclusiveMinimum": True},
        None,
    ],
)
def test_an_empty_schema_refuses_nothing(schema: Any) -> None:
    assert adapted(n={"schema": schema}).check({"n": [1]}, NOTHING) == {"n": [1]}


def test_references_and_qualified_values_are_not_opened() -> None:
    process = adapted(n={"schema": {"type": "integer"}})
    for value in ({"href": "file:///etc/passwd"}, {"value": "text", "mediaType": "text/plain"}):
        assert process.check({"n": value}, NOTHING) == {"n": value}


def test_each_value_of_a_repeated_input_is_checked() -> None:
    process = adapted(n={"schema": {"type": "integer"}, "maxOccurs": "unbounded"})
    assert process.check({"n": [1, {"href": "x"}, 2]}, NOTHING)["n"] == [1, {"href": "x"}, 2]
    with pytest.raises(InvalidInput):
        process.check({"n": [1, "a"]}, NOTHING)


@pytest.mark.parametrize("plugin", PLUGINS.values())
def test_a_plugin_of_pygeoapi_is_loaded(plugin: str) -> None:
    loaded = load_processes({"mine": {**entry(plugin), "attempts": 1}})
    assert loaded.wrong == {}
    (row,) = loaded.registry
    assert (row.id, row.work, row.quick, row.files, row.dag, row.attempts) == (
        "mine",
        "processes.foreign",
        False,
        True,
        "",
        1,
    )


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ("no_such_module.Plugin", "No module named 'no_such_module'"),
        (f"{OTHERS}.Nobody", "no attribute 'Nobody'"),
        (f"{OTHERS}.NoProcessor", "is not a subclass of pygeoapi.process.base.BaseProcessor"),
        (f"{OTHERS}.SURVEY", "is not a subclass of pygeoapi.process.base.BaseProcessor"),
        (f"{OTHERS}.Undescribed", "metadata are NoneType"),
        (f"{OTHERS}.Raising", "KeyError: 'no key'"),
        (f"{OTHERS}.Short", "its description lacks inputs.a.schema"),
        (f"{OTHERS}.Shorter", "its description lacks version, title"),
        (f"{OTHERS}.Workless", "there is no module no.such.work"),
        (f"{OTHERS}.Leaving", "SystemExit: bye"),
        ("HelloWord", "there is no process HelloWord; allowed: a dotted name, or Echo, HelloWorld, "),
        (".x", "there is no process .x"),
        ("processes.base.Processor", "Processor"),
    ],
)
def test_an_invalid_plugin_is_named_and_the_others_are_loaded(plugin: str, said: str) -> None:
    loaded = load_processes({"bad": entry(plugin), "good": entry("HelloWorld")})
    assert list(loaded.processors) == ["good"]
    assert said in loaded.wrong["bad"]


def test_references_of_a_schema_are_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("fetched"))
    process = adapted(n={"schema": {"$ref": "http://example.org/schema.json"}})
    assert process.check({"n": 1}, NOTHING) == {"n": 1}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "pattern": "^(a+)+$"}, "a" * 60 + "b"),
        ({"items": {"pattern": "(x|x)*y$"}}, ["z", "x" * 60]),
        ({"patternProperties": {"^(a|aa)+$": {"type": "integer"}}}, {"a" * 60 + "b": 1}),
        ({"patternProperties": {"^(a|a)+$": {}}, "additionalProperties": False}, {"a" * 60 + "b": 1}),
        ({"propertyNames": {"pattern": r"^(\w+\s?)*$"}}, {"w" * 60 + "!": 1}),
        ({"pattern": "a*a*a*a*a*b"}, "a" * 5_000),
    ],
)
def test_matching_a_value_with_any_pattern_is_fast(schema: Any, value: Any) -> None:
    """Python's `re` would take minutes to years for each."""
    begin = time.thread_time()
    with suppress(InvalidInput):
        adapted(n={"schema": schema}).check({"n": value}, NOTHING)
    assert time.thread_time() - begin < 10


def test_a_pattern_that_takes_too_long_is_named() -> None:
    process = adapted(n={"schema": {"type": "string", "pattern": "^(a|aa)+$"}})
    with pytest.raises(InvalidInput, match=r"input 'n': .* takes longer than 1 s to compare with a pattern; allowed"):
        process.check({"n": "a" * 60 + "b"}, NOTHING)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"pattern": "^[a-z]{2}$"}, ["ab", 5, None], ["abc", "a", ""]),
        ({"patternProperties": {"^n": {"type": "integer"}}}, [{"n1": 1, "x": "a"}, [], {}], [{"n1": "a"}]),
        (
            {"properties": {"a": {}}, "patternProperties": {"^n": {}}, "additionalProperties": False},
            [{"a": 1, "n": 2}, "text"],
            [{"b": 1}, {"a": 1, "an": 2}],
        ),
        ({"additionalProperties": {"type": "integer"}}, [{"a": 1}], [{"a": "b"}]),
        ({"patternProperties": {"^n": {"pattern": "^x"}}, "unevaluatedProperties": False}, [{"b": 1}, {"n": "y"}], []),
        ({"properties": {"a": {}}, "unevaluatedProperties": False}, [{"a": 1}], [{"b": 1}]),
    ],
)
def test_patterns_have_the_meaning_of_json_schema(schema: Any, good: list[Any], bad: list[Any]) -> None:
    process = adapted(n={"schema": schema})
    for value in good:
        process.check({"n": value}, NOTHING)
    for value in bad:
        with pytest.raises(InvalidInput, match="input 'n"):
            process.check({"n": value}, NOTHING)
