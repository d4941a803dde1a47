"""What the README says, done word for word: its two commands in a fresh folder, its order with curl and in Python."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port

pytestmark = pytest.mark.long

README = Path("README.md").read_text()
PUBLISHED = "http://127.0.0.1:5000"


def block(heading: str, language: str) -> str:
    """Return the first code block of the language below the heading."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found[1]


def fresh_copy(folder: Path) -> Path:
    """Copy what a clone would hold, the uncommitted included."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, folder / name)
    return folder


@pytest.fixture(scope="module")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return the address and the folder of a server that `make run` alone has set up, in a path with a space."""
    folder = fresh_copy(tmp_path_factory.mktemp("a fresh machine"))
    bind = f"127.0.0.1:{free_port()}"
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_") and name != "VIRTUAL_ENV"
    }
    process = subprocess.Popen(
        ["make", "run"], cwd=folder, env={**clean, "LANDCAST_SERVER_BIND": bind}, start_new_session=True
    )
    try:
        _wait(f"http://{bind}/health/ready", process)
        yield f"http://{bind}", folder
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(10)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert process.poll() is None, "make run ended"
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - ours
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("make run serves nothing after two minutes")


def members(archive: Path) -> set[str]:
    with zipfile.ZipFile(archive) as package:
        assert package.testzip() is None
        return {re.sub(r"^\w+_[0-9a-f-]{36}", "*", name) for name in package.namelist()}


def test_the_order_with_curl(made_run: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = made_run
    script = block("An order, with curl", "sh").replace(PUBLISHED, url)
    ask, rest = script.split("# 3.", 1)
    waiting = 'until curl -s "$job?f=json" | grep -q successful; do sleep 0.2; done\n'
    subprocess.run(["bash", "-euc", f"{ask}{waiting}#{rest}"], cwd=tmp_path, timeout=120, check=True)
    assert {"*.tif", "*.tfw", "*.tif.vat.dbf", "*.tif.clr", "*.qml", "*.txt", "*.tif.aux.xml"} <= members(
        tmp_path / "order.zip"
    )


def test_the_order_in_python(made_run: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = made_run
    script = block("The same in Python", "python").replace(PUBLISHED, url)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=120, check=True)
    assert {"*.gpkg", "*.sld", "*.txt"} <= members(tmp_path / "order.zip")


def test_the_chart_is_the_one_that_is_shown(made_run: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = made_run
    script = block("Area by class", "sh").replace(PUBLISHED, url)
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, timeout=120, check=True)
    assert (tmp_path / "parks.svg").read_text() == Path("docs/images/parks.svg").read_text()


def test_the_gdal_commands(made_run: tuple[str, Path]) -> None:
    url, _ = made_run
    for command in re.findall(r"`((?:gdalinfo|ogrinfo) [^`]+)`", README):
        done = subprocess.run(
            command.replace(PUBLISHED, url).replace("\n", " ").split(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stdout + done.stderr
        assert "Palette" in done.stdout or "parks" in done.stdout


def test_it_made_everything_below_its_own_folder(made_run: tuple[str, Path]) -> None:
    _, folder = made_run
    assert (folder / "var/orders.sqlite").exists()
    assert (folder / ".venv/bin/landcast").exists()
