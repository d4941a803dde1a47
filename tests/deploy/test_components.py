"""The list of components: complete, as committed, of allowed licences alone; and the SBOM."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.markers import default_environment
from packaging.utils import canonicalize_name

from deploy.components import (
    ALLOWED_BESIDE,
    LINUX,
    Component,
    components_page,
    images,
    locked_components,
    locked_names,
    page_components,
    programs,
)

LOCK = Path("uv.lock")
LOCKED = """
[[package]]
name = "landcast"
version = "0"
dependencies = [{name = "a", extra = ["x"]}, {name = "w", marker = "sys_platform == 'win32'"}]
[package.optional-dependencies]
load = [{name = "l"}]
[package.dev-dependencies]
dev = [{name = "d"}]
[[package]]
name = "a"
version = "1"
dependencies = [{name = "b"}]
[package.optional-dependencies]
x = [{name = "c"}]
y = [{name = "unused"}]
"""


def test_the_committed_list_is_the_generated_one() -> None:
    assert Path("docs/components.md").read_text() == components_page(Path()), "run `make components`"


def test_every_component_has_an_allowed_licence() -> None:
    packages = list(locked_components(locked_names(LOCK, LINUX, extras=True, tests=True)))
    assert {"pygeoapi", "pygeoapi-plugins", "pyogrio", "psycopg2-binary", "pytest"} <= {each.name for each in packages}
    loaded = list(page_components(Path("routes/pages")))
    assert {"ol", "swagger-ui-dist", "world-atlas"} <= {each.name for each in loaded}
    assert {each.name: each.refused() for each in (*packages, *loaded) if each.refused()} == {}
    beside = list(programs(Path("deploy")))
    assert {"Keycloak", "RabbitMQ", "Debian", "Apache Airflow"} <= {each.name for each in beside}
    assert {each.name: refused for each in beside if (refused := each.refused(ALLOWED_BESIDE))} == {}


def test_a_package_is_listed_by_the_marker_the_extra_and_the_group_that_ask_for_it(tmp_path: Path) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text(LOCKED + "".join(f'[[package]]\nname = "{name}"\nversion = "{name}2"\n' for name in "bcdlw"))
    assert locked_names(lock, LINUX, extras=False, tests=False) == {"a": "1", "b": "b2", "c": "c2"}
    assert locked_names(lock, LINUX, extras=True, tests=False).keys() == {"a", "b", "c", "l"}
    assert locked_names(lock, LINUX, extras=False, tests=True).keys() == {"a", "b", "c", "d"}
    windows = LINUX | {"sys_platform": "win32"}
    assert locked_names(lock, windows, extras=False, tests=False).keys() == {"a", "b", "c", "w"}


def test_images_of_others_are_found_wherever_they_are_named(tmp_path: Path) -> None:
    texts = {
        "compose/a.yml": "  image: docker.io/x/one:1.2\n  image: landcast:${V:-1}\n  image: valkey:8\n",
        "chart/values.yaml": "x: {repository: ghcr.io/two, tag: 3}\nimage:\n  repository: example.org/landcast\n",
        "container/Containerfile": "ARG BASE=docker.io/base:13\nFROM ${BASE} AS m\nFROM quay.io/y/3:v4\nFROM m AS z\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    found = {
        "docker.io/base": "13",
        "docker.io/x/one": "1.2",
        "ghcr.io/two": "",
        "quay.io/y/3": "v4",
        "valkey": "8",
    }
    assert images(tmp_path) == found
    with pytest.raises(KeyError, match=r"docker\.io/base"):
        list(programs(tmp_path))


def test_a_bundle_of_another_version_than_the_locked_one_is_refused(tmp_path: Path) -> None:
    for folder in ("scripts", "static"):
        (tmp_path / folder).mkdir()
    locked = {"packages": {"node_modules/@a/b": {"version": "1.0.1", "license": "ISC"}}}
    (tmp_path / "scripts/package-lock.json").write_text(json.dumps(locked))
    (tmp_path / "static/licenses.txt").write_text("@a/b 1.0.1, git://a\n\nISC\nCopyright 2026, A\n")
    expected = Component("@a/b", "1.0.1", "ISC", "https://www.npmjs.com/package/@a/b")
    assert list(page_components(tmp_path)) == [expected]
    (tmp_path / "static/licenses.txt").write_text("@a/b 1.0.0, git://a\n")
    with pytest.raises(ValueError, match=r"1\.0\.0 is bundled, 1\.0\.1 is locked"):
        list(page_components(tmp_path))


@pytest.mark.parametrize(
    ("licence", "refused"),
    [
        ("MIT", []),
        ("GPL-3.0-only OR MIT", []),
        ("MIT AND GPL-3.0-only", ["GPL-3.0-only"]),
        ("(Apache-2.0 OR BSD-3-Clause) AND AGPL-3.0-only", ["AGPL-3.0-only"]),
        ("unknown", ["unknown"]),
        ("", [""]),
    ],
)
def test_one_of_alternative_licences_and_each_of_joint_ones_must_be_allowed(licence: str, refused: list[str]) -> None:
    assert Component("x", "1", licence, "").refused() == refused


def test_the_sbom_is_valid_and_names_every_package_that_the_lock_installs(tmp_path: Path) -> None:
    path = tmp_path / "sbom.json"
    made = subprocess.run(["make", "sbom", "-o", "setup", f"SBOM={path}"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    text = path.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    sbom = json.loads(text)
    named: dict[str, str] = {canonicalize_name(each["name"]): each["version"] for each in sbom["components"]}
    here = {name: str(value) for name, value in default_environment().items()}
    locked = locked_names(LOCK, here, extras=False, tests=True)
    assert len(locked) > 100
    assert {name: version for name, version in named.items() if name in locked} == locked
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    assert (sbom["metadata"]["component"]["name"], sbom["metadata"]["component"]["version"]) == ("landcast", version)
