"""A real HTTP server that is the issuer, with keys made in the test."""

import json
import threading
import time
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey


def rsa_key(bits: int = 2048) -> RSAPrivateKey:
    return generate_rsa(public_exponent=65537, key_size=bits)


@cache
def first_key() -> RSAPrivateKey:
    """Return the key that every issuer starts with; making one takes longer than most tests."""
    return rsa_key()


def ec_key() -> EllipticCurvePrivateKey:
    return generate_ec(SECP256R1())


def jwk_of(key: PrivateKey, kid: str, **members: Any) -> dict[str, Any]:
    """Return the public key as an issuer publishes it."""
    if isinstance(key, RSAPrivateKey):
        public: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        algorithm = "RS256"
    else:
        public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        algorithm = "ES256"
    public.pop("key_ops", None)
    return {**public, "kid": kid, "use": "sig", "alg": algorithm, **members}


def signed(claims: dict[str, Any], key: PrivateKey, *, algorithm: str = "RS256", **header: Any) -> str:
    """Return a token; the claims may be of any shape."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key, algorithm, headers=header)


class FakeIssuer:
    """Publishes `jwks`; `answers` replaces the response of a path, `delay` delays each, `asked` counts the requests."""

    def __init__(self) -> None:
        self.key = first_key()
        self.jwks: list[Any] = [jwk_of(self.key, "first")]
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.delay = 0.0
        self.asked: list[str] = []
        self.posted: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/realms/land"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims as Keycloak writes them; a claim given as None is left out."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": ["landcast", "account"],
            "sub": "0b1c",
            "typ": "Bearer",
            "azp": "landcast-qgis",
            "iat": now,
            "exp": now + 300,
            "scope": "openid products",
            "preferred_username": "ada",
            "email": "ada@example.org",
            "realm_access": {"roles": ["user"]},
            "resource_access": {"landcast": {"roles": ["gaf"]}, "account": {"roles": ["manage-account"]}},
            "groups": ["/survey"],
        }
        return {name: value for name, value in {**usual, **changed}.items() if value is not None}

    def token(
        self,
        header: dict[str, Any] | None = None,
        *,
        key: Any = None,
        algorithm: str = "RS256",
        **claims: Any,
    ) -> str:
        return signed(self.claims(**claims), key or self.key, algorithm=algorithm, **{"kid": "first", **(header or {})})

    def rotate(self, kid: str, *, keep: bool = True) -> None:
        """Sign with a new key from now on."""
        self.key = rsa_key()
        self.jwks = [jwk_of(self.key, kid), *(self.jwks if keep else [])]

    def answer(self, path: str) -> tuple[int, bytes]:
        if path in self.answers:
            return self.answers[path]
        if path.endswith("/.well-known/openid-configuration"):
            return 200, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/certs"}).encode()
        return 200, json.dumps({"keys": self.jwks}).encode()

    @property
    def fetches(self) -> int:
        return sum(path.endswith("/certs") for path in self.asked)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler_of(issuer: FakeIssuer) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/realms/land")
            issuer.asked.append(path)
            status, body = issuer.answer(path)  # before the delay: what was true when it was asked
            time.sleep(issuer.delay)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            issuer.posted.append(dict(parse_qsl(body.decode())))
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
