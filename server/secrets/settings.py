"""The settings of Vault, and the common configuration of all settings classes."""

from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from auth.safe_address import is_safe_address

_VAULT_PATH = r"^[\w~-][\w.~-]*(?:/[\w~-][\w.~-]*)*$"
COMMON: SettingsConfigDict = {
    "frozen": True,
    "extra": "forbid",
    "env_ignore_empty": True,
    "use_attribute_docstrings": True,
}
"""The configuration of each class of settings."""


class VaultSettings(BaseSettings):
    """HashiCorp Vault or OpenBao, from which settings of the form `vault:path#key` are read."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_VAULT_", **COMMON)

    url: str | None = Field(None, max_length=500)
    """Address of Vault or OpenBao, such as https://vault.example.org:8200. `http` only on the same machine."""
    ca: FilePath | None = None
    """File of the certificates that Vault's certificate is checked with. Default: the public authorities."""
    namespace: str | None = Field(None, max_length=200)
    """Namespace of Vault."""
    timeout: float = Field(3, gt=0, le=30)
    """Seconds for Vault to answer."""
    wait: float = Field(30, ge=0, le=600)
    """Seconds that `serve` and `work` wait for Vault at their start; it is asked again every second."""
    kv: str = Field("secret", pattern=_VAULT_PATH)
    """Mount of the key-value engine (version 2) that `vault:path#key` is read from."""
    database: str | None = Field(None, pattern=_VAULT_PATH)
    """Path of the database's user and password, such as database/creds/landcast or database/static-creds/landcast."""
    token: SecretStr | None = None
    """Login by this token."""
    role_id: str | None = Field(None, max_length=200)
    """Login by AppRole: the id of the role."""
    secret_id: SecretStr | None = None
    """Login by AppRole: the secret id, if the role asks for one."""
    username: str | None = Field(None, max_length=200)
    """Login by user and password: the user."""
    password: SecretStr | None = None
    """Login by user and password: the password."""
    aws_role: str | None = Field(None, max_length=200)
    """Login by AWS IAM: the role in Vault."""
    aws_key_id: SecretStr | None = None
    """Login by AWS IAM: the access key id."""
    aws_secret_key: SecretStr | None = None
    """Login by AWS IAM: the secret access key."""
    aws_session_token: SecretStr | None = None
    """Login by AWS IAM: the session token of temporary credentials."""
    aws_region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,40}$")
    """Login by AWS IAM: the region of the signature."""
    aws_header: str | None = Field(None, max_length=200)
    """Login by AWS IAM: the value of `X-Vault-AWS-IAM-Server-ID`, if Vault demands it."""
    login_mount: str | None = Field(None, pattern=_VAULT_PATH)
    """Mount of the login method. Default: approle, userpass or aws."""

    @field_validator("url")
    @classmethod
    def _an_address_for_secrets(cls, url: str | None) -> str | None:
        if url is not None and (not is_safe_address(url) or has_more_than_address_and_path(url)):
            raise ValueError("must be an https address, or http on this machine; no user, query or fragment")
        return url.rstrip("/") if url else None

    @property
    def methods(self) -> list[str]:
        """The login methods that are set; there must be exactly one."""
        given = {
            "token": self.token,
            "AppRole": self.role_id,
            "user and password": self.username,
            "AWS IAM": self.aws_role,
        }
        return [name for name, value in given.items() if value is not None]


def has_more_than_address_and_path(url: str) -> bool:
    """Return whether a URL has a user, a query or a fragment, which could be a secret or has no effect."""
    parts = urlsplit(url)
    return bool(parts.query or parts.fragment or "@" in parts.netloc or "?" in url or "#" in url)
