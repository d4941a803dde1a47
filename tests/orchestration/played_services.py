"""A stand-in for the production services: a real HTTP server in threads of the test with given answers."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override
from urllib.parse import parse_qs, urlsplit

from orchestration.services.service import Service


@dataclass(frozen=True, slots=True)
class Reply:
    """The response of a service: a JSON value or bytes, complete or not, immediate or not."""

    content: Any = field(default_factory=dict)
    status: int = 200
    body: bytes | None = None
    after: float = 0
    """Seconds before the first byte."""
    length: int | None = None
    """What `Content-Length` says, where that is not so."""
    drip: float = 0
    """Seconds between two bytes."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A received request."""

    path: str
    query: dict[str, str]
    content: Any
    headers: dict[str, str]


class PlayedServices:
    """Answers a POST by `replies` and records the requests."""

    def __init__(self, replies: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        self.replies = replies
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked = Asked(parts.path, query, content, dict(self.headers.items()))
                played.asked.append(asked)
                self._reply(played.replies(asked))

            def _reply(self, reply: Reply) -> None:
                time.sleep(reply.after)
                body = json.dumps(reply.content).encode() if reply.body is None else reply.body
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(body) if reply.length is None else reply.length))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in [body] if not reply.drip else [body[place : place + 1] for place in range(len(body))]:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(reply.drip)
                self.close_connection = True

            @override
            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            @override
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Expect clients that hang up."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def service(self, name: str = "apply-model-service", *, seconds: float = 5, login: str = "") -> Service:
        """Return one of the services, as an argument of the functions."""
        return Service(name, self.url, seconds, login)

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
