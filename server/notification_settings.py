"""The settings of callbacks and mails."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestration.notifications.mailbox import is_mailbox, mail_server
from orchestration.notifications.signature import key_of
from server.secrets.settings import COMMON


def _readable(key: SecretStr) -> SecretStr:
    key_of(key.get_secret_value())
    return key


SigningKey = Annotated[SecretStr, Field(min_length=32), AfterValidator(_readable)]
"""A secret that signs messages: text, or `whsec_` and base64."""


class CallbacksSettings(BaseSettings):
    """Delivery of callbacks to subscribers."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_CALLBACKS_", **COMMON)

    tries: int = Field(8, ge=1, le=20)
    """Maximum attempts to deliver a callback."""
    pause: float = Field(10, gt=0, le=3600)
    """Seconds before the second attempt, of mails too; each further pause is three times as long, at most an hour."""
    timeout: float = Field(10, gt=0, le=60)
    """Seconds for a receiver to answer."""
    key: SigningKey | None = None
    """Secret that signs callbacks, as text or `whsec_` and base64. Default: made once, kept in the state folder."""


class MailSettings(BaseSettings):
    """The mail server for notifications; without one an order with a mail notification is refused."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_MAIL_", **COMMON)

    url: SecretStr | None = None
    """The mail server: smtp://user:password@host:port, with ?starttls=yes, or smtps://."""
    to: str | None = None
    """Recipient of mails for orders whose owner has no address."""
    sender: str | None = None
    """Sender address of mails. Default: landcast@ and the host of the public address."""
    tries: int = Field(8, ge=1, le=20)
    """Maximum attempts to send a mail that the mail server has not accepted."""
    timeout: float = Field(30, gt=0, le=300)
    """Seconds for the mail server to answer each command."""

    @field_validator("url")
    @classmethod
    def _a_mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            mail_server(url.get_secret_value())
        return url

    @field_validator("to", "sender")
    @classmethod
    def _one_address(cls, address: str | None) -> str | None:
        if address is not None and not is_mailbox(address):
            raise ValueError("must be one mail address in ASCII, such as a@example.org")
        return address
