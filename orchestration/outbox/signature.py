"""Signatures of callbacks, as Standard Webhooks has them (standardwebhooks.com, version 1)."""

import hmac
from base64 import b64decode, b64encode
from pathlib import Path
from secrets import token_bytes

from orchestration.keys import kept_key

_PREFIX = "whsec_"


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that a receiver checks: HMAC-SHA256 over id, time and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


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
