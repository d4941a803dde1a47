"""Run orders as DAG runs of Apache Airflow 3: hand each over once, follow it, end it when it is dismissed."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AirflowAccess:
    """The address of Airflow, the server's user there, and the timeout of a request in seconds."""

    url: str
    username: str
    password: str = field(repr=False)
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals and timeouts, in seconds."""

    poll: float = 3.0
    """Between two polls of all runs, besides the events that Airflow sends."""
    health: float = 5.0
    """Between two checks whether Airflow works and has the DAGs."""
    closer: float = 20.0
    """Without a change, after which the tasks of a run are looked at one by one."""
    patience: float = 21_600.0
    """Without progress, after which a run with running tasks is given up."""
    linger: float = 6.0
    """After Airflow ended a run, within which the processes of its tasks are expected to end; Airflow takes five."""
    shared: float = 1.0
    """Until the ending of a finished run becomes visible if machines share the results folder."""
    lost: float = 60.0
    """After which a run is given up whose tasks have all finished without an ending."""


@dataclass(frozen=True, slots=True)
class OnAirflow:
    """The use of Airflow: at most `runs` orders of each pool are handed over at once."""

    access: AirflowAccess
    runs: int = 64
    pace: Timing = field(default_factory=Timing)
