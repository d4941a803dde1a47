"""Vault's login by AWS IAM and its temporary AWS credentials, against a stand-in: OpenBao has neither. And TLS."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from server.secrets.errors import VaultError, VaultRefused, VaultUnavailable
from server.secrets.settings import VaultSettings
from server.secrets.vault import Vault
from tests.standin_aws import HEADER, KEY_ID, LENT, REGION, SECRET_KEY, SESSION, TOKEN, standing_in_for_aws

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # hvac's signature
LOGIN: dict[str, Any] = {
    "aws_role": "landcast",
    "aws_key_id": KEY_ID,
    "aws_secret_key": SECRET_KEY,
    "aws_session_token": SESSION,
    "aws_header": HEADER,
    "aws_region": REGION,
}


def lent(monkeypatch: pytest.MonkeyPatch, address: str, path: str, **changed: str) -> Result:
    for name, value in {**LOGIN, "url": address, **changed}.items():
        monkeypatch.setenv(f"LANDCAST_VAULT_{name.upper()}", value)
    return CliRunner().invoke(main, ["aws-credentials", path])


def test_a_login_by_aws_iam_is_signed_and_gets_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing_in_for_aws() as url:
        answer = lent(monkeypatch, url, "aws/sts/landcast")
        assert answer.exit_code == 0, answer.output
        document = json.loads(answer.stdout)
        expires = datetime.fromisoformat(document.pop("Expiration"))
        assert timedelta(seconds=500) < expires - datetime.now(UTC) <= timedelta(seconds=600), "the login ends before"
        assert document == {
            "Version": 1,
            "AccessKeyId": LENT["access_key"],
            "SecretAccessKey": LENT["secret_key"],
            "SessionToken": LENT["security_token"],
        }


@pytest.mark.parametrize(
    ("path", "changed", "said"),
    [
        ("aws/sts/landcast", {"aws_secret_key": "another-secret"}, "the login by AWS IAM: Vault refuses it (400)"),
        ("aws/sts/landcast", {"aws_session_token": "another-secret"}, "the login by AWS IAM: Vault refuses it (400)"),
        ("aws/sts/landcast", {"aws_header": "other.example.org"}, "the login by AWS IAM: Vault refuses it (400)"),
        ("aws/sts/landcast", {"aws_role": "other"}, "the login by AWS IAM: Vault refuses it (400)"),
        ("aws/sts/landcast", {"login_mount": "other"}, "the login by AWS IAM: Vault refuses it (400)"),
        (
            "aws/sts/landcast",
            {"aws_secret_key": ""},
            "needs LANDCAST_VAULT_AWS_KEY_ID and LANDCAST_VAULT_AWS_SECRET_KEY",
        ),
        ("aws/sts/odd", {}, "access_key: missing"),
        ("aws/nothing", {}, "Vault has no such path (404)"),
        ("aws/sts/landcast", {"url": ""}, "LANDCAST_VAULT_URL: missing"),
    ],
)
def test_a_refusal_of_aws_is_named(
    monkeypatch: pytest.MonkeyPatch, path: str, changed: dict[str, str], said: str
) -> None:
    with standing_in_for_aws() as url:
        answer = lent(monkeypatch, url, path, **changed)
    assert answer.exit_code == 1
    assert said in answer.output
    assert not [secret for secret in ("another-secret", SECRET_KEY, SESSION, TOKEN) if secret in answer.output]


def test_the_certificate_is_checked(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    with standing_in_for_aws(certificate, key) as url:
        with pytest.raises(VaultUnavailable, match="certificate is not trusted"):
            Vault(VaultSettings(url=url, **LOGIN)).log_in()
        assert Vault(VaultSettings(url=url, ca=certificate, **LOGIN)).log_in().left > 500
        with pytest.raises(VaultError, match="LANDCAST_VAULT_CA"):
            Vault(VaultSettings(url=url, ca=key, **LOGIN)).log_in()
        with pytest.raises(VaultRefused):
            Vault(VaultSettings(url=url, ca=certificate, **(LOGIN | {"aws_role": "other"}))).log_in()
