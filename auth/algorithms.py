"""The algorithms that tokens may be signed with."""

from collections.abc import Mapping
from types import MappingProxyType

ALGORITHMS: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
        "ES256": ("EC", "P-256"),
        "ES384": ("EC", "P-384"),
        "ES512": ("EC", "P-521"),
    }
)
"""Every algorithm that can be allowed, with its type of key and curve; never `none`, and none with a shared secret."""
