"""The settings of authentication and authorization."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from auth.safe_address import is_safe_address
from auth.signing_keys import ALGORITHMS
from server.secrets.settings import COMMON, has_more_than_address_and_path

# Copied into tokens and error messages unescaped.
_CLIENT_ID = r"^[A-Za-z0-9._:/-]{1,255}$"


class AuthSettings(BaseSettings):
    """Authentication and authorization, or an open server."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_AUTH_", **COMMON)

    open: bool = False
    """`yes` serves everything to everybody; without it and without an issuer the server refuses to start."""
    issuer: str | None = Field(None, max_length=500)
    """Address of the OpenID Connect issuer, exactly as in its tokens, such as https://sso.example.org/realms/landcast."""
    audience: str = Field("landcast", pattern=_CLIENT_ID)
    """Audience (`aud`) that a token must have."""
    client_id: str = Field("landcast", pattern=_CLIENT_ID)
    """The server's own client at the issuer; its client roles are rights."""
    client_secret: SecretStr | None = Field(None, min_length=16)
    """Secret of that client."""
    policy: Path | None = None
    """File of the access policy; `deploy/policy.yml` is an example."""
    algorithms: Annotated[tuple[str, ...], NoDecode] = Field(("RS256", "ES256"), min_length=1)
    """Allowed signature algorithms of tokens, separated by commas."""
    timeout: float = Field(3, gt=0, le=30)
    """Seconds for the issuer to answer."""
    password_grant: bool = False
    """Whether `/auth/token` accepts passwords of people; off, because a program with a password can do everything."""

    owners_client: str = Field("landcast-owners", pattern=_CLIENT_ID)
    """Client that confirms the owners of API keys; its service account needs `view-users` in Keycloak."""
    owners_secret: SecretStr | None = Field(None, min_length=16)
    """Secret of that client. Without it owners are not confirmed, and keys are suspended a time after a sign-in."""
    owners_interval: float = Field(3600, ge=1, le=86_400)
    """Seconds between two confirmations of the owners of API keys."""
    owners_trust: float = Field(86_400, ge=60, le=2_592_000)
    """Seconds after which a key is suspended whose owner has neither signed in nor been confirmed by Keycloak."""

    @field_validator("issuer")
    @classmethod
    def _an_issuer_that_is_asked(cls, issuer: str | None, info: ValidationInfo) -> str | None:
        if issuer is not None and (not is_safe_address(issuer) or has_more_than_address_and_path(issuer)):
            raise ValueError("must be an https address and a path, or http on this machine; no user, query or fragment")
        if issuer is not None and info.data.get("open"):
            raise ValueError("not allowed with LANDCAST_AUTH_OPEN=yes, which serves everything; unset one of them")
        return issuer

    @field_validator("owners_trust")
    @classmethod
    def _longer_than_the_interval(cls, trust: float, info: ValidationInfo) -> float:
        if info.data.get("owners_secret") and trust <= info.data.get("owners_interval", 0):
            raise ValueError("must be more than LANDCAST_AUTH_OWNERS_INTERVAL, or keys are suspended in between")
        return trust

    @field_validator("algorithms", mode="before")
    @classmethod
    def _separated(cls, algorithms: object) -> object:
        return tuple(algorithms.replace(",", " ").split()) if isinstance(algorithms, str) else algorithms

    @field_validator("algorithms")
    @classmethod
    def _with_a_public_key(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        if not set(algorithms) <= set(ALGORITHMS):
            raise ValueError(f"allowed: {', '.join(ALGORITHMS)}")
        return algorithms
