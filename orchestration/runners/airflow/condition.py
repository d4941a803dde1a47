"""The condition of Airflow: whether an order can be handed over now, with messages for caller and operator."""

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
    """The condition of Airflow at the last check: `trouble` is for callers, `detail` for the operator.

    `paused` has for each existing DAG whether it is paused, `lacking` its missing connections to services.
    """

    trouble: str = ""
    detail: str = ""
    paused: Mapping[str, bool] = field(default_factory=dict)
    lacking: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Whether Airflow answers and accepts the login."""
        return self.trouble not in {AWAY, SHUT}

    def why_wait(self, dag: str) -> str:
        """Return why no run of this DAG starts now, or an empty text if runs start."""
        if self.trouble:
            return self.trouble
        if dag not in self.paused:
            return f"{WAITS}: Airflow has no DAG {dag}."
        return f"{WAITS}: the DAG {dag} is paused in Airflow." if self.paused[dag] else ""

    def problems(self, dags: frozenset[str]) -> list[str]:
        """Return all problems, for the operator."""
        if not self.answers:
            return [self.detail]
        absent = dags - self.paused.keys()
        missing = [f"Airflow has no DAG {dag}: see its DAG folder and import errors" for dag in absent]
        paused = [f"the DAG {dag} is paused in Airflow" for dag, is_paused in self.paused.items() if is_paused]
        return [*([self.detail] if self.detail else []), *sorted(missing), *sorted(paused)]

    def lacks(self, dags: Container[str]) -> list[str]:
        """Return a message for each connection to a service that these DAGs lack, for the operator."""
        lacking = {name: dag for dag in sorted(self.lacking) if dag in dags for name in self.lacking[dag]}
        return [f"Airflow has no connection {name}, which {lacking[name]} needs" for name in sorted(lacking)]


def examine(airflow: "Airflow", dags: frozenset[str]) -> Condition:
    """Check whether Airflow answers, accepts the login, has a working scheduler, and has the DAGs."""
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
        return Condition(IDLE, "Airflow's scheduler sends no heartbeat", paused, lacking)
    return Condition(paused=paused, lacking=lacking)
