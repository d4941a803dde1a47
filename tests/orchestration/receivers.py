"""Receivers of callbacks and of mail on loopback: real servers, in threads of the test."""

import asyncio
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.ports import free_port


class Receiver:
    """Receives callbacks; `answer` returns the status of each by its number, from 1."""

    def __init__(
        self, answer: Callable[[int], int], host: str = "127.0.0.1", *, port: int = 0, retry_after: str = ""
    ) -> None:
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(answer(len(taken)))
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                if retry_after:
                    self.send_header("Retry-After", retry_after)
                self.end_headers()

            @override
            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            @override
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Expect clients that hang up."""

        self._server = Quiet((host, port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://{host}:{self._server.server_port}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class Postman:
    """An SMTP server that stores its mails; `answers` are the replies to the next messages, later ones are accepted."""

    def __init__(self, *answers: str, silent: bool = False, login: bool = False, port: int = 0) -> None:
        self.taken: list[Envelope] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self._answers = list(answers)
        self._silent = silent
        self.port = port or free_port()
        chosen: dict[str, Any] = {"authenticator": self._check, "auth_required": True, "auth_require_tls": False}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **(chosen if login else {}))
        self._controller.start()

    def _check(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"pass word", handled=False)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's
        """Store the message, and send the next reply."""
        answer = self._answers.pop(0) if self._answers else "250 taken"
        if not answer.startswith(("4", "5")):
            self.taken.append(envelope)
        if self._silent:
            await asyncio.sleep(3)
        return answer

    def close(self) -> None:
        """End it."""
        self._controller.stop()
