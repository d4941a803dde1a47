"""The examples of docs/access.md, executed literally on a guarded server."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from auth.policy_file import PolicyNames, policy_of
from processes.loading import shipped_names
from tests.clients.conftest import FILE, Guarded, run
from tests.server.served import eventually

DOCUMENT = Path("docs/access.md").read_text()


def block(heading: str, language: str) -> str:
    """Return the first code block of the language below the heading."""
    section = DOCUMENT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found[1]


@pytest.fixture
def environment(guarded: Guarded, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield the variables of the examples, while the program's account has their role."""
    keycloak = guarded.keycloak
    account = keycloak.service_account("landcast-script")
    keycloak.grant(account, "user")
    yield {
        "server": guarded.url,
        "issuer": keycloak.issuer,
        "secret": keycloak.client("landcast-script")["secret"],
        "key": guarded.key,
        "HOME": str(tmp_path),
    }
    keycloak.withdraw(account, "user")


def here(script: str, environment: dict[str, str]) -> str:
    return script.replace("http://127.0.0.1:8180/realms/landcast", environment["issuer"]).replace(
        "http://127.0.0.1:5000", environment["server"]
    )


def shell(script: str, folder: Path, environment: dict[str, str]) -> str:
    done = run("bash", "-euo", "pipefail", "-c", f"cd {folder}\n{here(script, environment)}", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_its_policies_are_valid() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        assert policy_of(yaml.safe_load(example), PolicyNames.of({}, shipped_names())).grants


def test_curl_with_client_credentials(environment: dict[str, str], tmp_path: Path) -> None:
    _, script = block("With curl", "sh").split("\n\n", 1)
    said = shell(script, tmp_path, environment)
    assert '"type": "FeatureCollection"' in said or '"type":"FeatureCollection"' in said
    assert '"accepted": true' in said


def test_curl_with_a_key(environment: dict[str, str], tmp_path: Path) -> None:
    section = DOCUMENT.split("\n## With curl\n", 1)[1]
    script = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[1]
    assert "FeatureCollection" in shell(script, tmp_path, environment)
    assert (tmp_path / "clcplus.tif").stat().st_size == Path("sample/clcplus_2023_parks.tif").stat().st_size
    assert (tmp_path / "key.curl").stat().st_mode & 0o777 == 0o600


def test_python(environment: dict[str, str]) -> None:
    done = run(sys.executable, "-c", block("In Python", "python"), **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^\['AL_2462', .*\]\n[0-9a-f-]{36}\n$", done.stdout), done.stdout


def test_gdal(environment: dict[str, str], tmp_path: Path) -> None:
    said = shell(block("With GDAL", "sh"), tmp_path, environment)
    assert "Driver: GTiff/GeoTIFF" in said
    assert "Feature Count: 9" in said
    assert "Driver: OGCAPI/OGCAPI" in said


def test_the_audit_line_has_the_members_of_a_real_one(guarded: Guarded) -> None:
    line = json.loads(block("The audit log", "json"))
    httpx2.head(f"{guarded.url}{FILE}", headers={"X-Api-Key": guarded.key}).raise_for_status()
    eventually(lambda: '"key": ' in guarded.log.read_text())
    real = [json.loads(each) for each in guarded.log.read_text().splitlines() if '"key": ' in each]
    assert list(line) == list(real[-1])
