"""A stand-in for Vault's `aws` login and `aws` engine, which OpenBao lacks: a real socket, with TLS if configured.

It checks the login's signature as AWS does (Signature Version 4), which Vault would pass on to AWS.
"""

import hmac
import json
import ssl
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, override

KEY_ID, SECRET_KEY, SESSION = "AKIDOFTHETESTS", "a-secret-key-of-aws", "a-session-token-of-aws"
HEADER, REGION = "vault.example.org", "eu-central-1"
TOKEN = "s.tokenofthestandinforaws1"  # noqa: S105  made up
LENT = {
    "access_key": "AKIDLENT",
    "secret_key": "a-lent-secret-key",
    "security_token": "a-lent-session-token",
    "ttl": 900,
}


class StandInForAws(BaseHTTPRequestHandler):
    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/auth/aws/login" or body["role"] != "landcast":
            self._answer(400, {"errors": ["entry for role not found"]})
        elif not _is_signed(body):
            self._answer(400, {"errors": ["error making upstream request: SignatureDoesNotMatch"]})
        else:
            self._answer(200, {"auth": {"client_token": TOKEN, "lease_duration": 600, "renewable": True}})

    def do_GET(self) -> None:
        if self.headers["X-Vault-Token"] != TOKEN:
            self._answer(403, {"errors": ["permission denied"]})
        elif self.path.startswith("/v1/aws/sts/"):
            data = {name: value for name, value in LENT.items() if not self.path.endswith("odd") or name == "ttl"}
            self._answer(200, {"lease_id": "aws/sts/x", "lease_duration": 900, "renewable": False, "data": data})
        else:
            self._answer(404, {"errors": []})

    def _answer(self, status: int, document: Any) -> None:
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _is_signed(body: dict[str, str]) -> bool:
    """Return whether the request to AWS that the body holds is signed by the key of the tests."""
    headers = {name.lower(): value[0] for name, value in json.loads(b64decode(body["iam_request_headers"])).items()}
    scheme, _, rest = headers.pop("authorization").partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    key_id, date, region, service, end = parts["Credential"].split("/")
    signed = parts["SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            body["iam_http_request_method"],
            "/",
            "",
            "".join(f"{name}:{headers[name]}\n" for name in signed),
            ";".join(signed),
            sha256(b64decode(body["iam_request_body"])).hexdigest(),
        ]
    )
    text = "\n".join(
        [scheme, headers["x-amz-date"], f"{date}/{region}/{service}/{end}", sha256(canonical.encode()).hexdigest()]
    )
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (date, region, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    return (
        hmac.digest(key, text.encode(), "sha256").hex() == parts["Signature"]
        and region == REGION
        and (key_id, headers.get("x-amz-security-token")) == (KEY_ID, SESSION)
        and headers.get("x-vault-aws-iam-server-id") == HEADER
        and "x-vault-aws-iam-server-id" in signed
    )


@contextmanager
def standing_in_for_aws(certificate: Path | None = None, key: Path | None = None) -> Iterator[str]:
    """Yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandInForAws)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
