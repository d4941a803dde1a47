"""The image of the server: built twice from packages of Debian and PyPI, and run in a chroot until an order is done."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.airflow import CACHE
from tests.ports import free_port
from tests.reaper import kill_session
from tests.server.served import eventually

pytestmark = pytest.mark.full
COMMIT = "a" * 40
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BASE = CACHE / "landcast" / "debian-13.tar"
"""Made once, as other programs for the tests are installed once."""
_MOUNTED = "/run/certificates.crt"
_START = """
mount --bind "$1" "$1"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
mount --bind "$2" "$1/var/lib/landcast"
mount -o remount,bind,ro "$1"
root=$1 user=$3 folder=$4
shift 4
exec chroot --userspec="$user" "$root" /usr/bin/env --ignore-environment --chdir="$folder" "$@"
"""
"""As `podman run --read-only --tmpfs /tmp --volume …:/var/lib/landcast` does; arguments: root, state, user, folder."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Where buildah keeps images."""

    folder: Path

    def buildah(self, *arguments: object) -> str:
        command = ["buildah", *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=1500)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout.strip()

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables for buildah: no daemon, no kernel's file system of layers."""
        settings = f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/images"\nrunroot = "{self.folder}/run"\n'
        (self.folder / "storage.conf").write_text(settings)
        return {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(self.folder),
        }

    def build(self, name: str) -> str:
        """Build an image by the documented command; return its id, which is the digest of settings and layers."""
        more = [
            *("--volume", f"{CERTIFICATES}:{_MOUNTED}:ro", "--build-arg", f"SSL_CERT_FILE={_MOUNTED}"),
            *("--build-arg", f"BASE=oci-archive:{BASE}", "--build-arg", f"COMMIT={COMMIT}"),
        ]
        file = "deploy/container/Containerfile"
        self.buildah("build", "--quiet", "--timestamp", 0, *more, "--file", file, "--tag", name, ".")
        return self.buildah("images", "--quiet", "--no-trunc", f"localhost/{name}")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    made = Storage(tmp_path_factory.mktemp("images"))
    if not BASE.exists():
        archive = made.folder / "base.tar"
        command = ["deploy/container/base.sh", f"oci-archive:{archive}"]
        subprocess.run(command, env=made.environment, check=True, timeout=400)
        shutil.move(archive, BASE)
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture(scope="module")
def image(storage: Storage) -> str:
    return storage.build("landcast")


def test_two_builds_are_equal(storage: Storage, image: str) -> None:
    assert storage.build("again") == image


def test_the_layers_are_small_and_the_settings_as_documented(storage: Storage, image: str) -> None:
    folder = storage.folder / "oci"
    storage.buildah("push", "--quiet", "localhost/landcast", f"oci:{folder}")
    manifest = document(folder, json.loads((folder / "index.json").read_text())["manifests"][0]["digest"])
    assert sum(layer["size"] for layer in manifest["layers"]) < 250_000_000
    config = document(folder, manifest["config"]["digest"])["config"]
    assert manifest["config"]["digest"] == image
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("10001:10001", ["landcast"], ["serve"])


def document(folder: Path, digest: str) -> dict[str, Any]:
    return dict(json.loads((folder / "blobs" / digest.replace(":", "/")).read_text()))


@pytest.fixture(scope="module")
def root(storage: Storage, image: str) -> Path:
    """Return the files of the image."""
    return Path(storage.buildah("mount", storage.buildah("from", image)))


def test_the_unpacked_files_are_small_and_without_tools(root: Path) -> None:
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < 700_000_000
    names = {path.name for path in files}
    assert {"pygeoapi-config.yml", "landcast", "COMMIT"} <= names
    assert not {"uv", "gcc", "git", "Containerfile"} & names
    assert not (root / "opt/landcast/tests").exists()


def test_the_sbom_lists_the_locked_packages_that_the_image_has(root: Path) -> None:
    found = json.loads((root / "opt/landcast/sbom.json").read_text())
    assert (found["bomFormat"], found["metadata"]["component"]["name"]) == ("CycloneDX", "landcast")
    listed = {(each["name"].lower(), each["version"]) for each in found["components"]}
    (packages,) = root.glob("opt/landcast/.venv/lib/python3.*/site-packages")
    installed = {(each.name.lower(), each.version) for each in distributions(path=[str(packages)])}
    assert listed == {each for each in installed if each[0] != "landcast"}
    locked = tomllib.loads(Path("uv.lock").read_text())["package"]
    assert set(map(_normal, listed)) <= {(each["name"], each.get("version")) for each in locked}


def _normal(package: tuple[str, str]) -> tuple[str, str]:
    return re.sub("[-_.]+", "-", package[0]), package[1]


def test_an_order_is_done_by_an_ordinary_user_on_a_read_only_root(
    storage: Storage, image: str, root: Path, sample: Path, tmp_path: Path
) -> None:
    config = json.loads(storage.buildah("inspect", "--type", "image", image))["OCIv1"]["config"]
    state = tmp_path / "state"
    shutil.copytree(sample / "sample", state / "sample")
    shutil.chown(state, 10001, 10001)
    bind = f"127.0.0.1:{free_port()}"
    given = [*config["Env"], "LANDCAST_AUTH_OPEN=yes", f"LANDCAST_SERVER_BIND={bind}", "LANDCAST_SERVER_WORKERS=1"]
    inside = [root, state, config["User"], config["WorkingDir"], *given, *config["Entrypoint"]]
    start = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _START, "-", *map(str, inside)]
    version = subprocess.run([*start, "--version"], capture_output=True, text=True, check=False)
    assert COMMIT[:7] in version.stdout, version.stderr
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*start, *config["Cmd"]], stdout=log, stderr=log, start_new_session=True)
    try:
        with httpx2.Client(base_url=f"http://{bind}", timeout=60, trust_env=False) as http:
            eventually(lambda: process.poll() is not None or answers(http), 120)
            assert process.poll() is None, (tmp_path / "log").read_text()
            order = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.80, 52.70, 23.90, 52.76]}}}
            placed = http.post("/processes/extract-product/execution", json=order)
            assert placed.status_code == 201, placed.text
            job = placed.headers["location"].partition(bind)[2]
            eventually(lambda: http.get(f"{job}?f=json").json()["status"] not in ("accepted", "running"), 60)
            assert http.get(f"{job}?f=json").json()["status"] == "successful", (tmp_path / "log").read_text()
            assert http.get(f"{job}/results").content[:2] == b"PK"
    finally:
        kill_session(process.pid)
        process.wait()
    assert {path.stat().st_uid for path in state.glob("*.sqlite")} == {10001}


def answers(http: httpx2.Client) -> bool:
    try:
        return http.get("/health/orders").status_code == 200
    except httpx2.HTTPError:
        return False
