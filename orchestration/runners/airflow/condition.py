"""How Airflow is: whether an order may be handed over now, in words for the caller and for the operator."""

from collections.abc import Mapping
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

    `paused` says it of each DAG that is there.
    """

    trouble: str = ""
    detail: str = ""
    paused: Mapping[str, bool] = field(default_factory=dict)

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


def examine(airflow: "Airflow", dags: frozenset[str]) -> Condition:
    """Look at Airflow: does it answer, does the login work, does its scheduler, are the DAGs there."""
    try:
        scheduling = airflow.is_scheduling()
        paused = airflow.paused(dags)
    except WorkflowUnavailable as error:
        return Condition(AWAY, str(error))
    except WorkflowRefused as error:
        return Condition(SHUT, str(error))
    if not scheduling:
        return Condition(IDLE, "Airflow's scheduler gives no sign of life", paused)
    return Condition(paused=paused)
