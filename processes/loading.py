"""Load the configured process plugins; a broken one is left out and the reason given."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from pygeoapi.process.base import BaseProcessor

from orchestration.registry import ProcessRow, Registry
from orchestration.services import TESTING
from plugins.loading import WrongPlugin, plugin_class, reason_of
from processes.adapter import PluginProcess
from processes.base import Processor

ANY_PROCESS = "landcast-process"
"""The DAG that executes the work of any process."""


@dataclass(frozen=True)
class LoadedProcesses:
    """The processes of a configuration: the `processors` by id, and the reasons why others are `wrong` by id."""

    processors: Mapping[str, Processor]
    wrong: Mapping[str, str]
    entries: Mapping[str, Mapping[str, Any]]

    def in_language(self, language: str) -> "LoadedProcesses":
        """Return the same processes, described in another language as far as they can be."""
        described = {name: processor.in_language(language) for name, processor in self.processors.items()}
        return replace(self, processors=described)

    @cached_property
    def registry(self) -> Registry:
        """The row of each process."""
        return Registry(tuple(row_of(name, each, self.entries[name]) for name, each in self.processors.items()))


def load_processes(
    resources: Mapping[str, Mapping[str, Any]],
    years: Mapping[str, Sequence[int]] | None = None,
    language: str = "en",
) -> LoadedProcesses:
    """Load the processes of the `resources`; descriptions name the `years` of each series, in a `language`."""
    entries = {name: entry for name, entry in resources.items() if entry["type"] == "process"}
    loaded: dict[str, Processor] = {}
    wrong: dict[str, str] = {}
    for name, entry in entries.items():
        try:
            loaded[name] = load_process(name, entry, years, language)
        except WrongPlugin as error:
            wrong[name] = str(error)
    _name_asked(loaded)
    return LoadedProcesses(loaded, wrong, entries)


def _name_asked(loaded: Mapping[str, Processor]) -> None:
    """Give each process that asks about orders of another the id that this has in the configuration."""
    names: dict[str, str] = {}
    for name, each in loaded.items():
        names.setdefault(type(each).description.get("id", ""), name)
    for each in loaded.values():
        if each.asks_of is not None:
            each.asks_of = names.get(each.asks_of, each.asks_of)


def load_process(
    name: str, entry: Mapping[str, Any], years: Mapping[str, Sequence[int]] | None = None, language: str = "en"
) -> Processor:
    """Return the process of an entry, whose id is its name there. Raises WrongPlugin."""
    definition = dict(entry["processor"])
    plugin = plugin_class("process", definition["name"])
    hands_over = "dag" in (_airflow_of(entry) or {})
    if not issubclass(plugin, Processor):
        return _adapted(name, _made(plugin, definition), language, hands_over=hands_over)
    processor: Processor = _made(plugin, {**definition, "years": years or {}})
    if lacking := _lacking(processor.metadata):
        raise WrongPlugin(f"{definition['name']}: its description lacks {', '.join(lacking)}")
    processor.metadata = {**processor.metadata, "id": name}
    processor.hands_over = hands_over
    if processor.work and not _is_there(processor.work):
        raise WrongPlugin(f"{definition['name']}: there is no module {processor.work}, which does its work")
    return processor


_NEEDED = (
    *("id", "version", "title", "description", "keywords", "jobControlOptions", "outputTransmission"),
    *("inputs", "outputs"),
)


def _lacking(description: Mapping[str, Any]) -> list[str]:
    """Return what is missing in the description of a process of our own kind, which is published unchanged."""
    if lacking := [name for name in _NEEDED if name not in description]:
        return lacking
    members = [
        (f"{kind}.{name}", described) for kind in ("inputs", "outputs") for name, described in description[kind].items()
    ]
    return [f"{place}.{name}" for place, described in members for name in ("title", "schema") if name not in described]


def _adapted(name: str, plugin: BaseProcessor, language: str, *, hands_over: bool) -> Processor:
    try:
        return PluginProcess(plugin, name=name, language=language, hands_over=hands_over)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WrongPlugin(f"{type(plugin).__name__} is not described: {error}") from error


def _made(plugin: type[Any], definition: dict[str, Any]) -> Any:
    try:
        return plugin(definition)
    except (Exception, SystemExit) as error:
        raise WrongPlugin(f"{definition['name']}: {reason_of(error)}") from error


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _airflow_of(entry: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Return the entry's `airflow` member, or None; one of the wrong type is reported by the configuration's schema."""
    said = entry.get("airflow")
    return {name: str(value) for name, value in said.items()} if isinstance(said, Mapping) else None


def row_of(name: str, processor: Processor, entry: Mapping[str, Any]) -> ProcessRow:
    """Return the row of a process, from its class and its entry."""
    row = ProcessRow(
        id=name,
        work=processor.work,
        warm=processor.warm,
        quick=processor.quick,
        files=processor.files,
        asks_of=processor.asks_of or "",
        attempts=entry.get("attempts"),
        dag=processor.dag,
        twin=processor.dag + TESTING if processor.has_twin else "",
    )
    airflow = _airflow_of(entry)
    if airflow is None:
        return row
    if "dag" not in airflow:
        return replace(row, dag=ANY_PROCESS, twin="")
    return ProcessRow(
        id=name,
        attempts=row.attempts,
        dag=airflow["dag"],
        hands_over=True,
        task=airflow.get("task", ""),
        files_below=airflow.get("files", ""),
        output=next(iter(processor.metadata["outputs"]), "result"),
    )


def shipped_names() -> frozenset[str]:
    """Return the ids of the processes that come with Landcast, whether or not they are configured."""
    package = importlib.import_module("processes")
    modules = [importlib.import_module(f"processes.{each.name}") for each in iter_modules(package.__path__)]
    found = [each for module in modules for each in vars(module).values() if _is_process(each, module.__name__)]
    names = {each.description["id"] for each in found}
    return frozenset(names | {name + TESTING for each in found if not each.work for name in [each.description["id"]]})


def _is_process(found: Any, module: str) -> bool:
    of_module = isinstance(found, type) and found.__module__ == module
    return of_module and issubclass(found, Processor) and "id" in vars(found).get("description", {})
