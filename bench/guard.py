"""What access control adds to a call in process: a guarded application with a warm token against an open one."""

import asyncio
import time
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
        for path in PATHS:
            _show(path, *await _in_turn(open_app, guarded_app, path, header))


def _show(path: str, opened: list[float], guarded: list[float]) -> None:
    before, after = median(opened) * 1e6, median(guarded) * 1e6
    added = f"added {after - before:.0f} us (medians of {CALLS:,})"
    print(f"{path}: open {before:.0f} us, guarded {after:.0f} us, {added}")


async def _in_turn(
    open_app: Starlette, guarded_app: Starlette, path: str, header: tuple[bytes, bytes]
) -> tuple[list[float], list[float]]:
    """Call both one after the other, so that what slows the machine slows both."""
    opened, guarded = [], []
    for _ in range(CALLS):
        opened.append(await _seconds(open_app, path, []))
        guarded.append(await _seconds(guarded_app, path, [header]))
    return opened, guarded


async def _seconds(app: Starlette, path: str, headers: list[tuple[bytes, bytes]]) -> float:
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"f=json",
        "root_path": "", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http",
        "http_version": "1.1", "app": app,
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    begin = time.perf_counter()
    await app(scope, receive, send)
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
