"""Signatures of callbacks and of Airflow's events (Standard Webhooks, version 1)."""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from secrets import token_bytes

from orchestration.keys import stored_key

_PREFIX = "whsec_"
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")
_OLDEST = 300
"""Maximum difference in seconds between the time of a message and ours."""
_MOST_SIGNATURES = 5
"""During a key rotation a message is signed with both keys."""


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers with the signature: HMAC-SHA256 of id, time and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


class NotSigned(Exception):
    """The message has no valid signature, or is too old; the text is for the sender."""


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Return if the message was signed with the key within the last five minutes. Raises NotSigned."""
    sent = headers.get("webhook-timestamp", "")
    if not _TIMESTAMP.fullmatch(sent) or abs(now - int(sent)) > _OLDEST:
        raise NotSigned(f"webhook-timestamp: missing, or more than {_OLDEST} seconds from now")
    expected = sign(key, headers.get("webhook-id", ""), int(sent), body)["webhook-signature"].encode()
    given = headers.get("webhook-signature", "").split(" ")[:_MOST_SIGNATURES]
    if not any(hmac.compare_digest(expected, each.encode("utf-8", "replace")) for each in given):
        raise NotSigned("webhook-signature: missing, or not valid for this message with the shared key")


def key_of(secret: str) -> bytes:
    """Return the key of a secret: base64 after `whsec_`, else its own characters. Raises ValueError."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return b64decode(secret.removeprefix(_PREFIX).strip(), validate=True)
    except ValueError as error:
        raise ValueError("must be base64 after whsec_") from error


def callbacks_key(state_dir: Path) -> bytes:
    """Return the key of `callbacks.key`, created once; the file has the format that receivers' libraries expect."""
    made = stored_key(state_dir / "callbacks.key", _new_secret)
    return key_of(made.decode().strip())


def _new_secret() -> bytes:
    return f"{_PREFIX}{b64encode(token_bytes(32)).decode()}\n".encode()
