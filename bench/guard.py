"""What access control adds to a call in process: a guarded application with a warm token against an open one.

After a call of some milliseconds the processor has forgotten what the guard needs, which then takes twice as long: so
there is a short call and a long one.
"""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.types import Message

from auth.claims import TokenRules
from auth.key_ring import KeyRing
from auth.signing_keys import SigningKey, signing_keys
from auth.tokens import TokenVerifier
from products.catalogue import read_configuration
from server.app import create_app
from server.logs import start_logging
from server.settings import CONCERNS, Settings

ISSUER = "https://sso.example.org/realms/landcast"
CALLS = 10_000
_BLOCKS, _IN_A_BLOCK = 20, 100
PATHS = ("/processes/echo", "/collections/clcplus-raster")


def measure() -> None:
    """Both write their log as they do in earnest, to where standard error goes."""
    start_logging(level="INFO", form="json")
    with TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> None:
    key = generate_private_key(public_exponent=65537, key_size=2048)
    configuration = read_configuration(Path("pygeoapi-config.yml"))
    open_app = create_app(configuration, _settings(folder, {"open": True}))
    guarded_app = create_app(configuration, _settings(folder, {"issuer": ISSUER, "policy": Path("deploy/policy.yml")}))
    verifier = _verifier(key)
    header = (b"authorization", f"Bearer {_token(key)}".encode())
    async with (
        open_app.router.lifespan_context(open_app),
        guarded_app.router.lifespan_context(guarded_app),
        verifier.running(),
    ):
        object.__setattr__(guarded_app.state.authenticator, "tokens", verifier)
        both = _Call(open_app, ()), _Call(guarded_app, (header,))
        for path in PATHS:
            _show(path, await _in_turn(both, path), await _of_processor(both, path))


@dataclass(frozen=True, slots=True)
class _Call:
    app: Starlette
    headers: Sequence[tuple[bytes, bytes]]


type _Both = tuple[_Call, _Call]


def _show(path: str, seconds: tuple[float, float], of_processor: tuple[float, float]) -> None:
    (before, after), (less, more) = ([value * 1e6 for value in pair] for pair in (seconds, of_processor))
    added = f"added {after - before:.0f} us (medians of {CALLS:,})"
    processor = f"{more - less:.0f} us of the processor, in all threads"
    print(f"{path}: open {before:.0f} us, guarded {after:.0f} us, {added}; {processor}")


async def _in_turn(both: _Both, path: str) -> tuple[float, float]:
    """Return the median of each. They are called by turns, so that what slows the machine slows both, in an order
    drawn by lot, so that the log's thread falls into step with neither."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(CALLS):
        for which in random.sample((0, 1), 2):
            seconds[which].append(await _seconds(both[which], path))
    return median(seconds[0]), median(seconds[1])


async def _of_processor(both: _Both, path: str) -> tuple[float, float]:
    """Return the processor's time for a call of each, its lines of the log included, which are made later."""
    blocks: tuple[list[float], list[float]] = ([], [])
    for _ in range(_BLOCKS):
        for call, found in zip(both, blocks, strict=True):
            begin = time.process_time()
            for _ in range(_IN_A_BLOCK):
                await _seconds(call, path)
            for handler in logging.getLogger().handlers:
                handler.flush()
            found.append((time.process_time() - begin) / _IN_A_BLOCK)
    return median(blocks[0]), median(blocks[1])


async def _seconds(call: _Call, path: str) -> float:
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"f=json",
        "root_path": "", "headers": [(b"host", b"localhost"), *call.headers],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        "scheme": "http", "http_version": "1.1", "app": call.app,
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    begin = time.perf_counter()
    await call.app(scope, receive, send)
    taken = time.perf_counter() - begin
    if statuses != [200]:
        raise RuntimeError(f"{path}: {statuses}")
    return taken


def _settings(folder: Path, auth: dict[str, Any]) -> Settings:
    chosen: dict[str, dict[str, Any]] = {"auth": auth, "state": {"dir": folder}}
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**chosen.get(name, {})) for name, kind in kinds.items()}
    return Settings(**values)


def _verifier(key: Any) -> TokenVerifier:
    public: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    keys = signing_keys({"keys": [{**public, "kid": "k", "use": "sig", "alg": "RS256"}]}, ("RS256",))

    async def fetch() -> dict[str, SigningKey]:
        return keys

    return TokenVerifier(TokenRules(ISSUER, "landcast", "landcast"), KeyRing(fetch, timeout=1))


def _token(key: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": "landcast", "sub": "0b1c", "typ": "Bearer", "iat": now, "exp": now + 3600,
        "scope": "openid", "realm_access": {"roles": ["user", "gaf"]},
    }  # fmt: skip
    return jwt.encode(claims, key, "RS256", headers={"kid": "k"})
