"""The registry of processes: a row for each, made at start from the configuration's entries and their classes."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from orchestration.errors import WorkFailed
from orchestration.job import Order, is_test

if TYPE_CHECKING:
    from orchestration.work import Work


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """How the orders of one process are executed; `id` is its name in the configuration.

    Where there is no `work`, only Airflow executes it: Airflow repeats its tasks itself, and what it gave up is failed.
    """

    id: str
    work: str = ""
    """The module whose `WORK` is done, by its dotted name."""
    warm: str = ""
    """The module that the fork server of its orders has imported, and nothing else; empty for all works of ours."""
    quick: bool = False
    """Whether its orders have places of their own, so that long orders never starve them."""
    files: bool = True
    """Whether its results are files, so that they need space where results are kept."""
    asks_of: str = ""
    """The process of whose orders this one only asks."""
    attempts: int | None = None
    """How often an order is begun at most, whatever ended it; None where lost attempts are made again."""
    dag: str = ""
    """The DAG that executes it where there is an Airflow; empty where it never runs there."""
    twin: str = ""
    """The DAG of its orders that are tests, where that is another."""
    hands_over: bool = False
    """Whether that DAG is the operator's own, which is given the inputs and whose value is the result."""
    task: str = ""
    """The task of such a DAG whose value is the result; empty for its one last task."""
    files_below: str = ""
    """The folder below which a value of such a DAG may name a file."""
    output: str = "result"
    """The output that such a DAG makes."""
    seconds: float | None = None
    """How long a plugin that is not ours may take."""
    memory: int | None = None
    """How many bytes a process of such a plugin may use."""

    @property
    def needs_airflow(self) -> bool:
        """Whether it cannot be executed on this machine."""
        return not self.work

    def find_work(self) -> "Work":
        """Return the work, whose module is imported only now. Raises WorkFailed where there is none."""
        if not self.work:
            raise WorkFailed(f"the process {self.id} is no longer configured here, or only Airflow executes it")
        work: Work = import_module(self.work).WORK
        return work


@dataclass(frozen=True, slots=True)
class Registry:
    """The rows of all configured processes."""

    rows: Sequence[ProcessRow] = ()
    _by_id: Mapping[str, ProcessRow] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {row.id: row for row in self.rows})

    def __getitem__(self, process: str) -> ProcessRow:
        """Return the row of a process; of one that is not configured any more a row without work."""
        return self._by_id.get(process) or ProcessRow(process)

    def __iter__(self) -> Iterator[ProcessRow]:
        return iter(self.rows)

    @property
    def quick(self) -> frozenset[str]:
        """The processes whose orders have places of their own."""
        return frozenset(row.id for row in self.rows if row.quick)

    @property
    def without_files(self) -> frozenset[str]:
        """The processes whose results are values."""
        return frozenset(row.id for row in self.rows if not row.files)

    @property
    def on_airflow(self) -> frozenset[str]:
        """The processes that Airflow executes, where there is one."""
        return frozenset(row.id for row in self.rows if row.dag)

    @property
    def dags(self) -> frozenset[str]:
        """The DAGs that Airflow must have."""
        return frozenset(dag for row in self.rows for dag in (row.dag, row.twin) if dag)

    def dag_of(self, order: Order) -> str:
        """Return the DAG of an order, inputs included."""
        row = self[order.process]
        return row.twin if row.twin and is_test(order) else row.dag or order.process

    def dags_of(self, process: str) -> tuple[str, ...]:
        """Return the DAGs that an order of the process may have gone to, the likelier first."""
        row = self[process]
        return tuple(dag for dag in (row.dag or process, row.twin) if dag)


_DEFAULTS = {each.name: each.default for each in fields(ProcessRow)}


def encode_row(row: ProcessRow) -> str:
    """Return a row as JSON, as a child or a task is given it."""
    return json.dumps({name: value for name, value in asdict(row).items() if value != _DEFAULTS[name]})


def decode_row(text: str) -> ProcessRow:
    """Return the row that `encode_row` wrote. Raises ValueError, TypeError."""
    members: Mapping[str, Any] = json.loads(text)
    return ProcessRow(**members)


def arguments_of(registry: Iterable[ProcessRow]) -> list[str]:
    """Return the rows as arguments of a command."""
    return [argument for row in registry for argument in ("--process", encode_row(row))]
