"""CPU shares like systemd's: a control group for each process of Airflow, with the weight of its unit."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_ROOT = Path("/sys/fs/cgroup")
_UNITS = Path(__file__).parents[1] / "deploy" / "airflow"
_SHARES_OF_A_HUNDRED = 1024
"""What Linux has for systemd's default weight of 100 in the older form of control groups."""
_TICK = 0.05


@contextmanager
def weighed(component: str, leader: int) -> Iterator[None]:
    """Give a component of Airflow and its children the CPUWeight of its unit. Requires root."""
    older = (_ROOT / "cpu").is_dir()
    home = _ROOT / "cpu" if older else _ROOT
    group = home / f"landcast-test-{leader}"
    group.mkdir()
    try:
        weight = _weight(component)
        if older:
            (group / "cpu.shares").write_text(str(weight * _SHARES_OF_A_HUNDRED // 100))
        else:
            (home / "cgroup.subtree_control").write_text("+cpu")
            (group / "cpu.weight").write_text(str(weight))
        _move([leader, *(each.pid for each in psutil.Process(leader).children(recursive=True))], group)
        yield
    finally:
        while left := _processes(group):  # what is moved may begin another meanwhile
            _move(left, home)
            time.sleep(_TICK)
        group.rmdir()


def _processes(group: Path) -> list[int]:
    return [int(each) for each in (group / "cgroup.procs").read_text().split()]


def _move(processes: Iterable[int], group: Path) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(process))


def _weight(component: str) -> int:
    unit = (_UNITS / f"landcast-airflow-{component}.service").read_text()
    (weight,) = [line.removeprefix("CPUWeight=") for line in unit.splitlines() if line.startswith("CPUWeight=")]
    return int(weight)
