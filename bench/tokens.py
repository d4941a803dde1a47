"""What it takes to tell whose a token is: RS256 with a key of 2048 bits, seen for the first time and again."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from auth.claims import TokenRules
from auth.key_ring import KeyRing
from auth.signing_keys import SigningKey, signing_keys
from auth.tokens import TokenVerifier

ISSUER = "https://sso.example.org/realms/landcast"
COLD, WARM = 1000, 10_000


def measure() -> None:
    key = generate_private_key(public_exponent=65537, key_size=2048)
    public: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwk = {**public, "kid": "k", "use": "sig", "alg": "RS256"}
    keys = signing_keys({"keys": [jwk]}, ("RS256",))
    tokens = [_token(key, number) for number in range(COLD)]
    asyncio.run(_measure(keys, tokens))


async def _measure(keys: dict[str, SigningKey], tokens: list[str]) -> None:
    async def fetch() -> dict[str, SigningKey]:
        return keys

    verifier = TokenVerifier(TokenRules(ISSUER, "landcast", "landcast"), KeyRing(fetch, timeout=1))
    async with verifier.running():
        cold = [await _seconds(partial(verifier.identify, token)) for token in tokens]
        warm = [await _seconds(partial(verifier.identify, tokens[0])) for _ in range(WARM)]
    for name, times in (("first", cold), ("again", warm)):
        print(f"{name}: median {median(times) * 1e6:.1f} us, 99 % {sorted(times)[len(times) * 99 // 100] * 1e6:.1f} us")


async def _seconds(ask: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    await ask()
    return time.perf_counter() - begin


def _token(key: RSAPrivateKey, number: int) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": ["landcast", "account"],
        "sub": str(number),
        "typ": "Bearer",
        "iat": now,
        "exp": now + 300,
        "azp": "landcast-qgis",
        "scope": "openid profile email products",
        "preferred_username": "ada",
        "email": "ada@example.org",
        "realm_access": {"roles": ["user", "gaf"]},
        "groups": ["/survey"],
    }
    return jwt.encode(claims, key, "RS256", headers={"kid": "k"})
