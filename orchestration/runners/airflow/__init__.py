"""Run orders as DAG runs of Apache Airflow 3: handed over once each, followed, ended when they are dismissed."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AirflowAccess:
    """Where Airflow is, who we are there, and how long an answer is waited for, in seconds."""

    url: str
    username: str
    password: str = field(repr=False)
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Timing:
    """How often what is looked at, and how long what is waited for, in seconds."""

    poll: float = 3.0
    """Between two looks at all runs, beside what Airflow tells of itself."""
    health: float = 5.0
    """Between two looks whether Airflow works, and whether its DAGs are there."""
    closer: float = 20.0
    """Without a change after which the tasks of a run are looked at one by one."""
    patience: float = 21_600.0
    """Without any progress after which a run whose tasks work is given up."""
    linger: float = 6.0
    """That the process of a task is given to be gone after Airflow ended its run; Airflow itself takes five."""
    shared: float = 1.0
    """That the ending of a run that is over may take to be seen, where machines share the folder of results."""
    lost: float = 60.0
    """After which a run all of whose tasks are over, without an ending, is given up."""


@dataclass(frozen=True, slots=True)
class OnAirflow:
    """What is run on Airflow: at most so many orders of each kind are handed over at once."""

    access: AirflowAccess
    runs: int = 64
    pace: Timing = field(default_factory=Timing)
