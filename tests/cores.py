"""Processors shared as systemd shares them: a control group for each process of Airflow, with its unit's weight."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_ROOT = Path("/sys/fs/cgroup")
_UNITS = Path(__file__).parents[1] / "deploy" / "airflow"
_SHARES_OF_A_HUNDRED = 1024
"""What Linux has for systemd's default weight of 100 in the older form of control groups."""


@contextmanager
def weighed(leaders: Mapping[str, int]) -> Iterator[None]:
    """Give each component, a process with all that it began and begins, the CPUWeight of its unit. Needs root."""
    older = (_ROOT / "cpu").is_dir()
    home = _ROOT / "cpu" if older else _ROOT
    if leaders and not older:
        (home / "cgroup.subtree_control").write_text("+cpu")
    groups = {name: home / f"landcast-test-{leader}" for name, leader in leaders.items()}
    try:
        for name, group in groups.items():
            group.mkdir()
            weight = _weight(name)
            shares = ("cpu.shares", weight * _SHARES_OF_A_HUNDRED // 100) if older else ("cpu.weight", weight)
            (group / shares[0]).write_text(str(shares[1]))
            leader = psutil.Process(leaders[name])
            _move([leader.pid, *(each.pid for each in leader.children(recursive=True))], group)
        yield
    finally:
        for group in groups.values():
            _move(map(int, (group / "cgroup.procs").read_text().split()), home)
            group.rmdir()


def _move(processes: Iterable[int], group: Path) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(process))


def _weight(component: str) -> int:
    unit = (_UNITS / f"landcast-airflow-{component}.service").read_text()
    (weight,) = [line.removeprefix("CPUWeight=") for line in unit.splitlines() if line.startswith("CPUWeight=")]
    return int(weight)
