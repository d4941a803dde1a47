"""The signing keys of an issuer."""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

_SHORTEST_RSA = 2048
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A published key; two are equal if their id and published JWK are."""

    kid: str
    published: str = field(repr=False)
    by_algorithm: Mapping[str, PyJWK] = field(repr=False, compare=False)


def signing_keys(key_set: Any, algorithms: Collection[str]) -> dict[str, SigningKey]:
    """Return the usable signing keys of a JWK Set (RFC 7517) by `kid`.

    A usable key has `use: sig`, is public and fits an allowed algorithm. Other keys are skipped.
    """
    published = key_set.get("keys") if isinstance(key_set, dict) else None
    found: dict[str, SigningKey] = {}
    for jwk in published if isinstance(published, list) else ():
        if (key := _signing_key(jwk, algorithms)) is not None:
            found.setdefault(key.kid, key)
    return found


def _signing_key(jwk: Any, algorithms: Collection[str]) -> SigningKey | None:
    if not (isinstance(jwk, dict) and jwk.get("use") == "sig" and isinstance(jwk.get("kid"), str)):
        return None
    if "d" in jwk:
        _LOG.error("the issuer publishes a private key; it is not trusted")
        return None
    usable = {name: key for name in algorithms if (key := _usable(jwk, name)) is not None}
    return SigningKey(jwk["kid"], json.dumps(jwk, sort_keys=True), usable) if usable else None


def _usable(jwk: dict[str, Any], algorithm: str) -> PyJWK | None:
    if jwk.get("alg") not in (None, algorithm) or (jwk.get("kty"), jwk.get("crv")) != ALGORITHMS[algorithm]:
        return None
    try:
        key = PyJWK(jwk, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        _LOG.warning("the issuer publishes a key that cannot be read")
        return None
    return None if isinstance(key.key, RSAPublicKey) and key.key.key_size < _SHORTEST_RSA else key


ALGORITHMS: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
        "ES256": ("EC", "P-256"),
        "ES384": ("EC", "P-384"),
        "ES512": ("EC", "P-521"),
    }
)
"""Every algorithm that can be allowed, with its type of key and curve; never `none`, and none with a shared secret."""
