"""Each test run, in one process or several, fails at its end if a secret is in a log."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.leaks import Leaks

_LEAKS = pytest.StashKey[Leaks]()
_LEAKED = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session", autouse=True)
def leaks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaks]:
    """Return the recorder of secrets; the run fails at its end if one is in a log."""
    watching = Leaks(tmp_path_factory.mktemp("process") / "tests.log")
    request.config.stash[_LEAKS] = watching
    undo = watching.watch()
    yield watching
    undo()


@pytest.fixture(autouse=True)
def _listening(leaks: Leaks) -> None:
    leaks.listen()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a secret is in a log; with several processes each reports its findings to the first."""
    config = session.config
    found = config.stash.setdefault(_LEAKED, [])
    if (leaks := config.stash.get(_LEAKS, None)) is not None:
        found += leaks.found(config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined] # no public way
        leaks.close()
    if hasattr(config, "workeroutput"):
        config.workeroutput["leaked"] = found
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Receive the findings of a process; if one died before its report, xdist fails the test."""
    found = node.config.stash.setdefault(_LEAKED, [])
    found += getattr(node, "workeroutput", {}).get("leaked", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the findings."""
    if found := config.stash.get(_LEAKED, []):
        terminalreporter.section("secrets in logs", red=True)
        for line in found[:50]:
            terminalreporter.line(line)
        terminalreporter.line(f"{len(found)} lines of logs hold a secret")
