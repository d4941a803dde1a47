"""A plugin's `execute` is called as by pygeoapi, and its return value becomes the result of an order."""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.ending import read_ending
from orchestration.job import Order, Output
from orchestration.registry import ProcessRow, Registry
from orchestration.runners import Done, Failed
from orchestration.work import JobContext
from orchestration.work.attempt import attempt
from processes.foreign import WORK
from products.progress import unheard

Execute = Callable[..., Done | Failed]
OTHERS = "tests.processes.plugins_of_others"
PLUGINS = {
    "hello": "HelloWorld",
    "shapes": "ShapelyFunctions",
    "echo": "Echo",
    "survey": f"{OTHERS}.Survey",
    "odd": f"{OTHERS}.Odd",
}


@pytest.fixture
def execute(tmp_path: Path) -> Execute:
    config = tmp_path / "config.yml"
    entries = {name: {"type": "process", "processor": {"name": plugin}} for name, plugin in PLUGINS.items()}
    config.write_text(yaml.safe_dump({"resources": entries}))

    def execute(process: str, inputs: Mapping[str, Any], report: Any = unheard, **members: Any) -> Done | Failed:
        folder = tmp_path / "job" / "1" / "1"
        folder.mkdir(parents=True)
        order = Order(process, inputs, "ann", **members)
        row = ProcessRow(process, "processes.foreign")
        context = JobContext(
            "job", order, tmp_path, folder, config, lambda _: pytest.fail("fetched"), report, processes=Registry((row,))
        )
        attempt(lambda: WORK, context)
        ending = read_ending(folder)
        assert ending is not None
        return ending

    return execute


def outputs(ending: Done | Failed) -> tuple[Output, ...]:
    assert isinstance(ending, Done), ending
    return ending.manifest


def test_hello_world_is_the_same_raw_and_as_a_document(execute: Execute) -> None:
    (raw,) = outputs(execute("hello", {"name": "Ann", "message": "Hi"}))
    assert (raw.id, raw.value, raw.media_type) == (
        "echo",
        {"id": "echo", "value": "Hello Ann! Hi"},
        "application/json",
    )


def test_in_a_document_another_object_is_the_value_of_the_one_output(execute: Execute) -> None:
    (document,) = outputs(execute("hello", {"name": "Ann"}, response="document"))
    assert (document.id, document.value) == ("echo", {"id": "echo", "value": "Hello Ann!"})


def test_in_a_document_an_object_of_outputs_is_split(execute: Execute, tmp_path: Path) -> None:
    one, two = outputs(execute("odd", {"what": "both"}, response="document"))
    assert (one.id, one.value, one.media_type) == ("one", None, "application/json")
    assert two.file is not None
    assert (two.id, two.media_type, two.file.name) == ("two", "image/png", "two_job.png")
    assert (tmp_path / two.file.path).read_bytes() == b"\x89PNG"


def test_a_raw_object_of_outputs_is_one_payload(execute: Execute) -> None:
    (raw,) = outputs(execute("odd", {"what": "both"}))
    assert raw.value == {"one": None, "two": base64.b64encode(b"\x89PNG").decode()}


def test_a_plugin_gets_inputs_and_outputs_unchanged(execute: Execute) -> None:
    inputs = {"what": "given", "a": {"href": "http://127.0.0.1/x"}, "b": {"value": 1, "mediaType": "a/b"}, "é": None}
    asked = {"two": {"transmissionMode": "reference"}}
    (made,) = outputs(execute("odd", inputs, outputs=asked))
    assert (made.id, made.value) == ("two", {"data": inputs, "outputs": asked})


def test_a_plugin_gets_none_without_requested_outputs(execute: Execute) -> None:
    (made,) = outputs(execute("odd", {"what": "given"}))
    assert made.value["outputs"] is None


def test_a_plugin_without_outputs_support_gets_none(execute: Execute, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (table,) = outputs(execute("survey", {"rows": 1, "mark": str(mark)}, outputs={"table": {}}))
    assert mark.read_text().endswith(" job\n"), "the job's id was set before"
    assert table.file is not None
    assert (table.file.name, table.media_type) == ("table_job.csv", "text/csv")
    assert (tmp_path / table.file.path).read_bytes() == "number,name\r\n0,ä0\r\n".encode()


def test_shapely_functions_run(execute: Execute) -> None:
    inputs = {"operation": "constructive:centroid", "geoms": ["POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))"]}
    (made,) = outputs(execute("shapes", {**inputs, "output_format": "wkt"}))
    assert "POINT (1 1)" in json.dumps(made.value)


@pytest.mark.parametrize(
    ("value", "media_type", "kept"),
    [
        ("text", "text/plain", "text"),
        ("quoted", "application/json", "quoted"),
        (5, "application/json", 5),
        (None, None, None),
        ([], "application/json", []),
        ({"n": [1.5, "\x00"]}, "application/geo+json", {"n": [1.5, "\x00"]}),
        ("a,b", 'text/csv; charset="utf-8"; header=present', "a,b"),
        ("\ud800", "text/plain", "?"),
        ({"\udfff": 1}, "application/json", {"?": 1}),
    ],
)
def test_a_small_result_is_a_value(execute: Execute, value: Any, media_type: str | None, kept: Any) -> None:
    (made,) = outputs(execute("odd", {"what": "value", "value": value, "media_type": media_type}))
    assert (made.value, made.media_type) == (kept, media_type or "application/json")


def test_a_large_result_is_a_file(execute: Execute, tmp_path: Path) -> None:
    (made,) = outputs(execute("odd", {"what": "large"}))
    assert made.file is not None
    assert (made.media_type, made.file.size) == ("application/geo+json", (tmp_path / made.file.path).stat().st_size)
    assert json.loads((tmp_path / made.file.path).read_text()) == {"features": ["ü" * 1000] * 2000}


@pytest.mark.parametrize(
    "media_type", ["text/html\r\nSet-Cookie: a=b", "text", "é/x", "a/b; c", "", "text/plain\n", "a/" * 300]
)
def test_an_invalid_media_type_does_not_become_a_header(execute: Execute, media_type: str) -> None:
    ending = execute("odd", {"what": "value", "value": 1, "media_type": media_type})
    assert isinstance(ending, Failed)
    assert ending.fault == "WorkFailed"
    assert "\n" not in ending.reason


def test_the_error_of_a_plugin_is_the_reason_in_one_line(execute: Execute) -> None:
    ending = execute("survey", {})
    assert ending == Failed("Cannot survey without a number of rows", fault="WorkFailed")


@pytest.mark.parametrize(
    ("what", "detail"), [("secret", "hidden detail"), ("leave", "ended its process"), ("three", "returned str")]
)
def test_other_failures_of_a_plugin_are_only_in_the_log(execute: Execute, what: str, detail: str) -> None:
    ending = execute("odd", {"what": what})
    assert isinstance(ending, Failed)
    assert ending.fault == ""
    assert detail in ending.detail
    assert detail not in ending.reason


def test_a_plugin_with_the_hook_reports_progress(execute: Execute) -> None:
    reports: list[tuple[float, str]] = []
    outputs(execute("odd", {"what": "progress"}, lambda fraction, message: reports.append((fraction, message))))
    assert (0.5, "half of it") in [(round(fraction, 2), message) for fraction, message in reports]
