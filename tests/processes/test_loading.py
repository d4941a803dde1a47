"""The registry is made of the configuration's entries and their classes; what is wrong is named and left out."""

from pathlib import Path

from processes.loading import load_processes
from products.catalogue import read_configuration
from tests.registry import OURS

RESOURCES = read_configuration(Path("pygeoapi-config.yml"))["resources"]


def test_the_rows_of_our_own_processes_are_as_written_by_hand() -> None:
    registry = load_processes(RESOURCES).registry
    assert {row.id: row for row in registry} == {row.id: row for row in OURS}


def test_a_process_is_known_by_its_name_in_the_configuration() -> None:
    loaded = load_processes({"repeat": RESOURCES["echo"]})
    assert loaded.processors["repeat"].metadata["id"] == "repeat"
    (row,) = loaded.registry
    assert (row.id, row.work, row.dag) == ("repeat", "orchestration.work.echo", "echo")
