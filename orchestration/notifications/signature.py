"""Signatures of what we tell, and of what Airflow tells us, as Standard Webhooks has them (version 1)."""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from secrets import token_bytes

from orchestration.keys import kept_key

_PREFIX = "whsec_"
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")
_OLDEST = 300
"""Seconds that a message may be old, or ahead of us."""
_MOST_SIGNATURES = 5
"""There may be some: while a key is changed, each message is signed with both."""


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that a receiver checks: HMAC-SHA256 over id, time and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


class NotSigned(Exception):
    """The message does not carry a signature of ours, or is too old; the text is fit for who sent it."""


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Return if the message was signed with the key within the last five minutes. Raises NotSigned."""
    sent = headers.get("webhook-timestamp", "")
    if not _TIMESTAMP.fullmatch(sent) or abs(now - int(sent)) > _OLDEST:
        raise NotSigned(f"webhook-timestamp: missing, or more than {_OLDEST} seconds from now")
    expected = sign(key, headers.get("webhook-id", ""), int(sent), body)["webhook-signature"].encode()
    given = headers.get("webhook-signature", "").split(" ")[:_MOST_SIGNATURES]
    if not any(hmac.compare_digest(expected, each.encode("utf-8", "replace")) for each in given):
        raise NotSigned("webhook-signature: missing, or not of this message by the key that both sides have")


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for: base64 after `whsec_`, else its own characters. Raises ValueError."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return b64decode(secret.removeprefix(_PREFIX).strip(), validate=True)
    except ValueError as error:
        raise ValueError("after whsec_ comes base64") from error


def callbacks_key(state_dir: Path) -> bytes:
    """Return the key of `callbacks.key`, made once; the file is the secret as receivers' libraries take it."""
    made = kept_key(state_dir / "callbacks.key", _new_secret)
    return key_of(made.decode().strip())


def _new_secret() -> bytes:
    return f"{_PREFIX}{b64encode(token_bytes(32)).decode()}\n".encode()
