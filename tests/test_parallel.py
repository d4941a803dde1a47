"""The tests run in several processes as in one: real runs of pytest with small files."""

import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.parallel import pytest_xdist_auto_num_workers
from tests.ports import free_port

_CONFTEST = """
import os
from pathlib import Path
import pytest

pytest_plugins = ["tests.parallel", "tests.watching"]

@pytest.fixture(scope="session")
def keycloak():
    yield os.getpid()
    note("end_of_service")

def note(what):
    with Path(__file__).with_name("seen").open("a") as log:
        log.write(f"{os.getpid()} {what}\\n")

@pytest.fixture
def customer(keycloak):
    return keycloak

@pytest.fixture(autouse=True)
def seen(request):
    note(request.path.stem)
"""
_PLAIN = "def test_one(): pass\ndef test_two(): pass\ndef test_three(): pass\ndef test_four(): pass"
_SERVED = "def test_one(): pass\ndef test_two(customer): pass"
_GROUPED = "import pytest\npytestmark = pytest.mark.xdist_group('port')\ndef test_one(): pass\ndef test_two(): pass"
_LONG = "import pytest\npytestmark = pytest.mark.long\ndef test_one(): pass"
_TALKING = """
import logging
from auth.session import new_secret

def test_talking(leaks):
    leaks.know(secret := new_secret())
    logging.getLogger("landcast").warning("said", extra={"what": secret})
"""


_OURS = ("auth/keycloak.py", "leaks.py", "parallel.py", "ports.py", "watching.py")


def run(folder: Path, *arguments: str, **files: str) -> "subprocess.CompletedProcess[str]":
    """Run these tests like those of the project, with the relevant parts of its `tests`."""
    (folder / "tests" / "auth").mkdir(parents=True)
    for name in _OURS:
        (folder / "tests" / name).symlink_to(Path("tests", name).resolve())
    for name, text in {"conftest": _CONFTEST, **files}.items():
        (folder / "tests" / f"{name}.py").write_text(text)
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["pytest"]
    (folder / "pytest.toml").write_text("[pytest]\n" + "\n".join(f"{name} = {settings[name]}" for name in settings))
    command = [sys.executable, "-m", "pytest", f"--basetemp={folder}/temporary", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_file_is_run_by_one_process_and_those_with_a_service_by_the_same(tmp_path: Path) -> None:
    """There are more processes than cores, so that each takes the next file."""
    files = {f"test_plain_{number}": _PLAIN for number in range(6)}
    files |= {f"test_grouped_{number}": _GROUPED for number in range(3)}
    done = run(tmp_path, "-n3", **files, test_people=_SERVED, test_matrix=_SERVED, test_readme=_LONG)
    assert "35 passed" in done.stdout, done.stdout
    seen = [line.split() for line in (tmp_path / "tests" / "seen").read_text().splitlines()]
    processes = {name: {process for process, each in seen if each == name} for _, name in seen}
    assert all(len(several) == 1 for several in processes.values()), processes
    assert processes["test_people"] == processes["test_matrix"]
    assert processes["test_grouped_0"] == processes["test_grouped_1"] == processes["test_grouped_2"]
    assert len(set.union(*processes.values())) == 3
    assert _last(seen, "end_of_service") == max(_last(seen, "test_people"), _last(seen, "test_matrix")) + 1
    assert [name for _, name in seen].count("end_of_service") == 1
    begun = {name.partition("_")[2] for process in set.union(*processes.values()) for name in _first(seen, process)}
    assert begun == {"matrix", "grouped_0", "readme"}


def _first(seen: list[list[str]], process: str) -> list[str]:
    return [name for each, name in seen if each == process][:1]


def _last(seen: list[list[str]], name: str) -> int:
    """Return the number of tests that the process runs before the last one of a name."""
    [process] = {each for each, other in seen if other == name}
    names = [other for each, other in seen if each == process]
    return len(names) - 1 - names[::-1].index(name)


@pytest.mark.parametrize("processes", ["-n0", "-n2"])
def test_a_secret_in_a_log_fails_the_run(tmp_path: Path, processes: str) -> None:
    done = run(tmp_path, processes, test_plain=_PLAIN, test_talking=_TALKING)
    assert done.returncode == 1, done.stdout
    assert "5 passed" in done.stdout
    assert "1 lines of logs hold a secret" in done.stdout


def test_a_free_port_is_reserved_until_a_server_uses_it() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize(("cores", "given", "processes"), [(1, "", 3), (2, "", 4), (64, "", 4), (64, "9", 9)])
def test_there_are_no_more_processes_than_useful(
    monkeypatch: pytest.MonkeyPatch, cores: int, given: str, processes: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", given)
    assert pytest_xdist_auto_num_workers() == processes
