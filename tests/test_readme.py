"""The examples of the README, executed literally: two commands in a new folder, an order with curl and in Python."""

import json
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

pytestmark = pytest.mark.full

README = Path("README.md").read_text()
PUBLISHED = "http://127.0.0.1:5000"


def block(heading: str, language: str) -> str:
    """Return the first code block of the language below the heading."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found[1]


def fresh_copy(folder: Path) -> Path:
    """Copy the files of a clone, including uncommitted changes."""
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
        ["make", "run"],
        cwd=folder,
        env={**clean, "LANDCAST_SERVER_BIND": bind, "LANDCAST_JOBS_PARALLEL": "1"},
        start_new_session=True,
    )
    try:
        _wait(f"http://{bind}/health/ready", process)
        yield f"http://{bind}", folder
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 600
    while time.monotonic() < until:
        assert process.poll() is None, "make run ended"
        try:
            with urllib.request.urlopen(address, timeout=60):  # noqa: S310 - ours
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("make run serves nothing after ten minutes")


def members(archive: Path) -> set[str]:
    with zipfile.ZipFile(archive) as package:
        assert package.testzip() is None
        return {re.sub(r"^\w+_[0-9a-f-]{36}", "*", name) for name in package.namelist()}


@pytest.fixture
def busy(made_run: tuple[str, Path]) -> str:
    """Return the address of the server while its only slot for orders is occupied for some seconds."""
    url, _ = made_run
    order = {"inputs": {"product": "Vector", "aoi": {"bbox": [19.6, 49, 21, 50.5]}}}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(  # noqa: S310  ours
        f"{url}/processes/extract-product/execution", json.dumps(order).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  ours
        assert answer.status == 201
    return url


@pytest.mark.parametrize("shell", [["bash", "--norc", "-i"], ["sh"]], ids=["bash", "sh"])
def test_the_order_with_curl_pasted_as_one_block(busy: str, tmp_path: Path, shell: list[str]) -> None:
    script = block("An order, with curl", "sh").replace(PUBLISHED, busy)
    done = subprocess.run(
        shell,
        input=script,
        cwd=tmp_path,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
    [archive] = tmp_path.glob("*.zip")
    assert f"Archive:  {archive.name}" in done.stdout
    with urllib.request.urlopen(f"{busy}/jobs/{archive.stem}", timeout=60) as answer:  # noqa: S310  ours
        job = json.load(answer)
    assert job["created"] < job["started"], "it was not slow"
    assert {"*.tif", "*.tfw", "*.tif.vat.dbf", "*.tif.clr", "*.qml", "*.txt", "*.tif.aux.xml"} <= members(archive)


def test_an_order_that_is_refused_leaves_no_archive(made_run: tuple[str, Path], tmp_path: Path) -> None:
    script = block("An order, with curl", "sh").replace(PUBLISHED, made_run[0]).replace("POLYGON", "NOTHING")
    done = subprocess.run(["sh"], input=script, cwd=tmp_path, timeout=600, capture_output=True, text=True, check=False)
    assert "NOTHING" in done.stdout, "the reason is shown"
    assert done.returncode != 0
    assert list(tmp_path.glob("*.zip")) == []


def test_the_order_in_python(made_run: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = made_run
    script = block("The same in Python", "python").replace(PUBLISHED, url)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=600, check=True)
    assert {"*.gpkg", "*.sld", "*.txt"} <= members(tmp_path / "order.zip")


_FAILS = {
    '"product": "Vector", "aoi": {"bbox": [23.72, 52.70, 23.94, 52.82]}': '"geometryInput": {"href": "http://127.0.0.1:9/"}',
    "extract-product": "echo",
    "json=order": 'json=order, headers={"Prefer": "respond-async"}',
}
_REFUSED = {"[23.72, 52.70, 23.94, 52.82]": "[0.0, 0.0, 0.1, 0.1]"}


@pytest.mark.parametrize(
    ("changes", "expected"), [(_FAILS, "failed: "), (_REFUSED, '"status":400')], ids=["failed", "refused"]
)
def test_python_ends_at_an_order_that_fails(
    made_run: tuple[str, Path], tmp_path: Path, changes: dict[str, str], expected: str
) -> None:
    script = block("The same in Python", "python").replace(PUBLISHED, made_run[0])
    for before, others in changes.items():
        assert before in script
        script = script.replace(before, others)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, timeout=600, capture_output=True, text=True, check=False
    )
    assert (done.returncode, expected in done.stderr) == (1, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_chart_matches_the_documented_one(made_run: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = made_run
    script = block("Area by class", "sh").replace(PUBLISHED, url)
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, timeout=600, check=True)
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


def test_make_run_writes_only_below_its_own_folder(made_run: tuple[str, Path]) -> None:
    _, folder = made_run
    assert (folder / "var/orders.sqlite").exists()
    assert (folder / ".venv/bin/landcast").exists()
