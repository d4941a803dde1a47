"""`landcast aws-credentials`: temporary AWS credentials from Vault, for programs that read an AWS configuration."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from server.secrets.vault import Secret


@click.command("aws-credentials")
@click.argument("path")
def aws_credentials(path: str) -> None:
    """Print the credentials that Vault lends at PATH, such as aws/sts/landcast, as `credential_process` wants them.

    AWS's programs and libraries run this when they need credentials, if ~/.aws/config has the line
    `credential_process = landcast aws-credentials aws/sts/landcast`. The login is not ended, because the credentials
    would end with it.
    """
    from server.environment import WrongSettings, read_vault_settings
    from server.secrets.errors import VaultError
    from server.secrets.sources import WrongValue
    from server.secrets.vault import Vault

    try:
        vault = Vault(read_vault_settings())
        secret = vault.credentials(path)
        document = _document(secret, vault.login)
    except WrongSettings as error:
        raise click.ClickException("\n".join(error.problems)) from error
    except (VaultError, WrongValue) as error:
        raise click.ClickException(f"{path}: {error}") from error
    click.echo(json.dumps(document))


def _document(secret: "Secret", login: "Secret | None") -> Mapping[str, Any]:
    from server.secrets.sources import text_of

    names = {"AccessKeyId": "access_key", "SecretAccessKey": "secret_key"}
    found = {name: text_of(secret.value, key) for name, key in names.items()}
    if token := secret.value.get("session_token") or secret.value.get("security_token"):
        found["SessionToken"] = str(token)
    left = min(secret.left, login.left if login else secret.left)
    return {
        "Version": 1,
        **found,
        "Expiration": (datetime.now(UTC) + timedelta(seconds=left)).isoformat("T", "seconds"),
    }
