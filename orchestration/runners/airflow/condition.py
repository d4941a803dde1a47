"""How Airflow is: whether an order may be handed over now, in words for the caller and for the operator."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.errors import WorkflowRefused, WorkflowUnavailable
from orchestration.runners import WAITS

if TYPE_CHECKING:
    from orchestration.runners.airflow.client import Airflow

AWAY = f"{WAITS} for Airflow, which does not answer."
SHUT = f"{WAITS} for Airflow, which does not let this server in."
IDLE = f"{WAITS} for Airflow, whose scheduler does not work."
QUEUED = f"{WAITS} in Airflow's queue."


@dataclass(frozen=True, slots=True)
class Condition:
    """What was found when Airflow was looked at: `trouble` is for callers, `detail` for the operator.

    `paused` says it of each DAG that is there, `lacking` which connections it lacks to the services that it asks.
    """

    trouble: str = ""
    detail: str = ""
    paused: Mapping[str, bool] = field(default_factory=dict)
    lacking: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Whether it makes sense to ask Airflow anything."""
        return self.trouble not in {AWAY, SHUT}

    def why_wait(self, dag: str) -> str:
        """Return why nothing of this DAG is begun now, empty where it is."""
        if self.trouble:
            return self.trouble
        if dag not in self.paused:
            return f"{WAITS}: Airflow has no DAG {dag}."
        return f"{WAITS}: the DAG {dag} is paused in Airflow." if self.paused[dag] else ""

    def problems(self, dags: frozenset[str]) -> list[str]:
        """Return all that is wrong, for the operator."""
        if not self.answers:
            return [self.detail]
        absent = dags - self.paused.keys()
        missing = [f"Airflow has no DAG {dag}: see its DAG folder and import errors" for dag in absent]
        paused = [f"the DAG {dag} is paused in Airflow" for dag, is_paused in self.paused.items() if is_paused]
        return [*([self.detail] if self.detail else []), *sorted(missing), *sorted(paused)]

    def lacks(self, dags: Container[str]) -> list[str]:
        """Return which connections these DAGs lack to the services that they ask, for the operator."""
        lacking = {name: dag for dag in sorted(self.lacking) if dag in dags for name in self.lacking[dag]}
        return [f"Airflow has no connection {name}, which {lacking[name]} needs" for name in sorted(lacking)]


def examine(airflow: "Airflow", dags: frozenset[str]) -> Condition:
    """Look at Airflow: does it answer, does the login work, does its scheduler, are the DAGs there."""
    try:
        scheduling = airflow.is_scheduling()
        found = airflow.dags(dags)
    except WorkflowUnavailable as error:
        return Condition(AWAY, str(error))
    except WorkflowRefused as error:
        return Condition(SHUT, str(error))
    paused = {name: dag.is_paused for name, dag in found.items()}
    lacking = {name: dag.lacks for name, dag in found.items() if dag.lacks}
    if not scheduling:
        return Condition(IDLE, "Airflow's scheduler gives no sign of life", paused, lacking)
    return Condition(paused=paused, lacking=lacking)
