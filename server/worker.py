"""gunicorn's `asgi` worker with limits on the number of connections and on idle ones."""

import asyncio
import json
import logging
import os
import resource
import signal
import sys
import time
from asyncio import TimerHandle, Transport
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, override

from gunicorn.arbiter import Arbiter
from gunicorn.asgi import protocol
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi

from auth.client_address import is_trusted, network_of
from server.balance import Acceptor, Board, SlotState

_log = logging.getLogger(__name__)

_STALLED_SECONDS = 120.0
"""Seconds after which a connection is closed whose client reads nothing of the response."""
_BEAT_SECONDS = 0.5
"""Seconds between two heartbeats."""
_TICK_SECONDS = 0.1
_STOP_SECONDS = 1.0
"""Seconds for running requests when all processes stop; gunicorn kills them after two."""
_SUCCESSOR_SECONDS = 60.0
"""Maximum seconds that a retiring process accepts connections while no other does."""
_OTHER_FILES = 1536
"""Files that a process has open besides its connections, with accepted connections that are not started."""
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {416: "Range Not Satisfiable"}
"""Python 3.12 has the old phrase for 416."""


def _response(status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return a problem as a whole response, after which the connection closes."""
    title = _PHRASES.get(status, "Error")
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
    head = {
        **dict(headers),
        "Connection": "close",
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"HTTP/1.1 {status} {title}\r\n{lines}\r\n".encode("latin-1") + body


_BUSY = _response(503, "the server is busy", [("Retry-After", "1")])


class BoundedProtocol(ASGIProtocol):
    """A connection that is closed when the head of a request, even the first, does not arrive in time.

    At the limit of connections, the one idle longest is closed for a new one, so that a client cannot block others by
    holding connections open. Remove when gunicorn's `asgi` worker bounds both.
    """

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self.address = ""
        """The address that it is counted by, or ""."""
        self._stalled: TimerHandle | None = None
        self._answering = False
        self._is_last = False

    @override
    def connection_made(self, transport: Any) -> None:
        peer = transport.get_extra_info("peername")
        self.address = self.worker.counted(peer[0] if isinstance(peer, tuple) else "")
        if not self.worker.can_accept(self.address):
            self._refuse(transport)
            return
        self.worker.keep(self)
        super().connection_made(transport)
        self._arm_keepalive_timer()

    def _refuse(self, transport: Transport) -> None:
        self._conn_lost_handled = True
        transport.write(_BUSY)
        transport.close()

    def is_waiting(self) -> bool:
        """Return whether it waits for the head or the body of a request."""
        body = self._body_receiver
        return self._current_request is None or (body is not None and not body._complete)  # noqa: SLF001 - nobody else says

    def close_idle(self) -> None:
        """Close it like an idle connection; an unanswered request gets 503."""
        if self._current_request is not None and not self._answering:
            self._safe_write(_BUSY)
        self._keepalive_timeout()

    @override
    def _handle_h1c_exception(self, e: Exception) -> bool:
        """Answer 400 for a Content-Length of more digits than Python reads; gunicorn logs a stack trace for it.

        No other error in a head raises a bare ValueError. Remove when gunicorn bounds the digits.
        """
        if type(e) is not ValueError:
            return bool(super()._handle_h1c_exception(e))
        self._send_error_response(400, "Invalid Content-Length value")
        self._close_transport()
        return True

    @override
    def _send_error_response(self, status: int, message: str, extra_headers: Iterable[tuple[str, str]] = ()) -> None:
        """Answer a request that does not reach the application with a problem; gunicorn's own answer is plain text."""
        self._safe_write(_response(status, message, extra_headers))

    @override
    def _on_headers_complete(self) -> Any:
        self._answering = False
        self._is_last = self.worker.retiring
        self.worker.asked(self)
        return super()._on_headers_complete()

    @override
    def _send_response_start(self, *given: Any, **named: Any) -> None:
        self._answering = True
        super()._send_response_start(*given, **named)

    @override
    def _will_close(self, *given: Any) -> bool:
        """Return whether this request is the connection's last, as decided at its start.

        gunicorn would close a connection that it has announced as keep-alive if the worker starts to retire meanwhile,
        and a request would be lost.
        """
        return bool(self._is_last or super()._will_close(*given))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.drop(self)
        self._go_on()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        self._stalled = self.worker.loop.call_later(_STALLED_SECONDS, self._abort)
        super().pause_writing()

    @override
    def resume_writing(self) -> None:
        self._go_on()
        super().resume_writing()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _go_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()


class BoundedWorker(gasgi.ASGIWorker):
    """Serves at most `worker_connections` connections, fewer if the process may open fewer files.

    It shares the listening socket by `server.balance`. On a signal, or after enough requests, it stops accepting once a
    successor accepts, and ends after its last connection.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        self._acceptors: list[Acceptor] = []
        self._served = self._done = 0
        self._most_requests = sys.maxsize
        self.retiring = False
        super().__init__(*given, **named)
        self._most_requests, self.max_requests = self.max_requests, sys.maxsize
        self.connections: OrderedDict[BoundedProtocol, None] = OrderedDict()
        """All open connections, least recently used first."""
        self._of_address: defaultdict[str, OrderedDict[BoundedProtocol, None]] = defaultdict(OrderedDict)
        """The connections of each counted address, in the same order."""
        self._board: Board = self.app.board
        self.slot = self._board.take()
        """Its slot on the board; without a free one it is None, and connections are not balanced."""

    @property
    def nr_conns(self) -> int:
        """Number of served connections, counted by the protocol."""
        return self._served

    @nr_conns.setter
    def nr_conns(self, number: int) -> None:
        self._served = number
        for acceptor in self._acceptors:
            acceptor.publish(number)

    @property
    def nr(self) -> int:
        """Number of answered requests, counted by the protocol."""
        return self._done

    @nr.setter
    def nr(self, number: int) -> None:
        self._done = number
        if number >= self._most_requests:
            self.retiring = True

    @override
    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    @override
    def handle_exit_signal(self) -> None:
        self.retiring = True

    @override
    def run(self) -> None:
        self.worker_connections = min(self.worker_connections, max(_files() - _OTHER_FILES, _files() // 2))
        for status, phrase in _PHRASES.items():
            protocol._REASON_PHRASES.setdefault(status, phrase)  # noqa: SLF001 - gunicorn says "Unknown" for them
        super().run()

    @override
    async def _serve(self) -> None:
        """Run the application's lifespan and serve; replaces gunicorn's own loop."""
        self.lifespan = LifespanManager(self.asgi, self.log, self.state)
        try:
            await self.lifespan.startup()
        except RuntimeError as error:
            _log.error("the application cannot start: %s", error)
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from error
        self._accept()
        while self._stays():  # noqa: ASYNC110 - the loop sends heartbeats
            await asyncio.sleep(_BEAT_SECONDS)
        await self._retire()
        await self.lifespan.shutdown()

    def _accept(self) -> None:
        place = (self._board, self.slot) if self.slot else None
        loop, protocol_of = asyncio.get_running_loop(), partial(BoundedProtocol, self)
        for each in self.sockets:
            acceptor = Acceptor(loop, each.sock, protocol_of, place, counted=self.counted)
            self._acceptors.append(acceptor)
            acceptor.start()
        self._set_state(SlotState.ACCEPTING)

    def _set_state(self, state: SlotState) -> None:
        if self.slot is not None:
            self.slot.state = state

    def _stays(self) -> bool:
        self.notify()
        return self.alive and not self.retiring and self.ppid == os.getppid()

    async def _retire(self) -> None:
        """Stop accepting; wait until the current connections have ended, or all processes stop."""
        self.retiring = True
        self._set_state(SlotState.RETIRING)
        await self._wait_for_successor()
        for acceptor, each in zip(self._acceptors, self.sockets, strict=True):
            acceptor.stop()
            each.sock.close()
        end = time.monotonic() + self.app.settings.request_timeout + self.cfg.keepalive
        while self._has_connections() and time.monotonic() < end and not self._quick_shutdown:
            self.notify()
            if self._board.stopping:
                end = min(end, time.monotonic() + _STOP_SECONDS)
            await asyncio.sleep(_TICK_SECONDS)

    async def _wait_for_successor(self) -> None:
        """Accept until another process does, so that no connection waits while it starts."""
        end = time.monotonic() + _SUCCESSOR_SECONDS
        while self._is_alone() and time.monotonic() < end:
            self.notify()
            await asyncio.sleep(_TICK_SECONDS)

    def _is_alone(self) -> bool:
        """Return whether no other process accepts yet, but one will."""
        if self._board.stopping or self._board.replaced or not self.alive or self.ppid != os.getppid():
            return False
        return not self._board.count(SlotState.ACCEPTING)

    def _has_connections(self) -> bool:
        return self.nr_conns > 0 or any(acceptor.beginning for acceptor in self._acceptors)

    def counted(self, peer: str) -> str:
        """Return the key that a peer's connections are counted by, "" for a trusted proxy."""
        return "" if is_trusted(peer, self.app.settings.proxies) else network_of(peer)

    def can_accept(self, address: str) -> bool:
        """Return whether this address may have one more connection, closing an idle one if needed."""
        of_one = self._of_address.get(address, OrderedDict())
        return self._has_capacity(of_one, self.app.settings.address_connections) and self._has_capacity(
            self.connections, self.worker_connections
        )

    def _has_capacity(self, among: OrderedDict[BoundedProtocol, None], most: int) -> bool:
        if len(among) < most:
            return True
        waiting = next((each for each in among if each.is_waiting()), None)
        if waiting is None:
            return False
        self.drop(waiting)
        waiting.close_idle()
        return True

    def keep(self, connection: BoundedProtocol) -> None:
        """Count a connection."""
        self.connections[connection] = None
        if connection.address:
            self._of_address[connection.address][connection] = None

    def asked(self, connection: BoundedProtocol) -> None:
        """Mark it as the most recently used."""
        if connection in self.connections:
            self.connections.move_to_end(connection)
        if connection in self._of_address.get(connection.address, ()):
            self._of_address[connection.address].move_to_end(connection)

    def drop(self, connection: BoundedProtocol) -> None:
        """Stop counting a connection."""
        self.connections.pop(connection, None)
        if (of_one := self._of_address.get(connection.address)) is not None:
            of_one.pop(connection, None)
            if not of_one:
                del self._of_address[connection.address]


def _files() -> int:
    """Raise the limit of open files as far as allowed, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft if soft != resource.RLIM_INFINITY else 65_536
