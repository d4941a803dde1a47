"""The registry is made from the configuration's entries and their classes; invalid entries are named and left out."""

from pathlib import Path
from typing import Any

from processes.loading import load_processes
from products.catalogue import read_configuration
from tests.registry import OURS

RESOURCES = read_configuration(Path("pygeoapi-config.yml"))["resources"]


def test_the_registry_rows_of_our_processes_match_the_written_ones() -> None:
    registry = load_processes(RESOURCES).registry
    assert {row.id: row for row in registry} == {row.id: row for row in OURS}


def test_a_process_is_known_by_its_name_in_the_configuration() -> None:
    loaded = load_processes({"repeat": RESOURCES["echo"]})
    assert loaded.processors["repeat"].metadata["id"] == "repeat"
    (row,) = loaded.registry
    assert (row.id, row.work, row.dag) == ("repeat", "orchestration.work.echo", "echo")


def test_a_reference_to_another_process_uses_its_configured_name() -> None:
    loaded = load_processes({"ask": RESOURCES["estimate-product"], "cut": RESOURCES["extract-product"]})
    assert loaded.processors["ask"].asks_of == loaded.registry["ask"].asks_of == "cut"
    alone = load_processes({"ask": RESOURCES["estimate-product"]})
    assert alone.registry["ask"].asks_of == "extract-product"


def test_an_entry_selects_airflow() -> None:
    entry = {"type": "process", "processor": {"name": "HelloWorld"}}
    own = {"dag": "own", "task": "last", "files": "/srv", "attempts": 1}
    said: dict[str, Any] = {"here": None, "task": {}, "own": own, "odd": 5, "text": "dag"}
    entries = {name: {**entry, **({} if each is None else {"airflow": each})} for name, each in said.items()}
    rows = {row.id: row for row in load_processes(entries).registry}
    assert {name: (row.work, row.dag, row.hands_over) for name, row in rows.items()} == {
        "here": ("processes.foreign", "", False),
        "task": ("processes.foreign", "landcast-process", False),
        "own": ("", "own", True),
        "odd": ("processes.foreign", "", False),
        "text": ("processes.foreign", "", False),
    }
    assert (rows["own"].task, rows["own"].files_below, rows["own"].output) == ("last", "/srv", "echo")
    assert load_processes(entries).registry.dags == {"landcast-process", "own"}
