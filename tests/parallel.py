"""Run the tests in several processes, by pytest-xdist: `pytest -n auto`. Without `-n` there is one process.

All tests of a file run in one process, so its fixtures are made once. All files that use a costly service run in the
same process, so a run starts the service once; this follows from the fixtures. Other tests that must not run at the
same time are marked: `pytestmark = pytest.mark.xdist_group("a name")`.
"""

import gc
import os
from collections.abc import Iterator
from functools import cached_property
from typing import override

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

SERVICES = ("keycloak", "rabbitmq", "airflow")
"""The fixtures of costly services, each the name of a group; a file that uses several is in the group of the last."""
LONGEST = "airflow"
"""The service whose tests only `make test-full` runs: it uses a third of a core, and seconds for each task."""
_MOST = 4
_GROUPS = "landcast/groups"
_OF_FILES = pytest.StashKey[dict[str, str]]()


class FileScheduling(LoadFileScheduling):
    """Like `--dist=loadfile`, but all files of a group run in one process.

    The scheduler of `--dist=loadgroup` distributes tests without a group one by one, and xdist 3.8 loses the groups
    with pytest 9.2, as it reads them from the tests' names. Here the collecting process passes them in pytest's cache.
    """

    @cached_property
    def _groups(self) -> dict[str, str]:
        assert self.config.cache is not None
        found: dict[str, str] = self.config.cache.get(_GROUPS, {})
        return found

    @override
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return self._groups.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling | None:
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return two more than the number of cores, as some processes wait for services, and at most four.

    xdist's variable PYTEST_XDIST_AUTO_NUM_WORKERS overrides it.
    """
    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or min(len(os.sched_getaffinity(0)) + 2, _MOST))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group the files by their services; long ones start first, so that the run does not wait for them at its end."""
    for item in items:
        if LONGEST in getattr(item, "fixturenames", ()):
            item.add_marker("full")
    if not hasattr(config, "workerinput"):
        return
    groups = config.stash[_OF_FILES] = _groups(items)
    long = {_file(item) for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (_file(item) not in groups, _file(item) not in long))
    if config.workerinput["workerid"] == "gw0" and config.cache is not None:
        config.cache.set(_GROUPS, groups)


def pytest_collection_finish() -> None:
    """Exclude imported and collected objects from garbage collection, which would visit them again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End costly services after the last test of their group: an idle Airflow uses a third of a core."""
    yield
    groups = item.config.stash.get(_OF_FILES, {})
    group = groups.get(_file(item))
    if group in SERVICES and (nextitem is None or groups.get(_file(nextitem)) != group):
        for name in SERVICES:
            for service in item.session._fixturemanager.getfixturedefs(name, item) or ():
                service.finish(item._request)  # type: ignore[attr-defined] # each test that is a function has one


def _groups(items: list[pytest.Item]) -> dict[str, str]:
    """Return the group of each file that has one."""
    served = {_file(item): name for name in SERVICES for item in items if name in getattr(item, "fixturenames", ())}
    marked = {_file(item): str(mark.args[0]) for item in items if (mark := item.get_closest_marker("xdist_group"))}
    return served | marked


def _file(item: pytest.Item) -> str:
    return item.nodeid.split("::", 1)[0]
