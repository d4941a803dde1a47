"""Run the server processes: gunicorn with the application, which is loaded once before the fork."""

import ctypes
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, override

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from starlette.applications import Starlette

from products.catalogue import read_configuration
from server.app import create_app
from server.balance import Board, SlotState
from server.metrics.counters import SharedCounters
from server.settings import ServerSettings, Settings
from server.supervise import Liveness, StartupError

_MAX_REQUESTS = 50_000
_GRACE_SECONDS = 2
_MALLOPT = {-8: 2, -3: 1 << 20, -1: 1 << 20}
"""M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD (mallopt(3))."""

_GDAL_CACHE_MB = "64"
"""Without it GDAL takes 5 % of the machine's memory, for each process."""


class RootLogger(Logger):
    """Sends gunicorn's messages to the application's log."""

    @override
    def setup(self, cfg: Any) -> None:
        self.error_log = logging.getLogger("gunicorn")
        self.access_log = logging.getLogger("gunicorn.access")
        self.error_log.setLevel(logging.WARNING)


class Web(BaseApplication):
    """Serves the application on an open socket.

    The processes share their load on the `board`; `liveness` is the heartbeat to the supervisor.
    """

    def __init__(self, app: Starlette, settings: ServerSettings, *, socket: int, liveness: Liveness) -> None:
        self._app = app
        self._settings = settings
        self._socket = socket
        self.board = Board(settings.workers)
        self.liveness = liveness
        super().__init__()

    @property
    def settings(self) -> ServerSettings:
        """The settings of the server processes."""
        return self._settings

    @override
    def run(self) -> None:
        WatchedArbiter(self).run()

    @override
    def load_config(self) -> None:
        options = {
            "bind": f"fd://{self._socket}",
            "workers": self._settings.workers,
            "worker_class": "server.worker.BoundedWorker",
            "worker_connections": self._settings.connections,
            "preload_app": True,
            "logger_class": RootLogger,
            "max_requests": _MAX_REQUESTS,
            "max_requests_jitter": _MAX_REQUESTS // 10,
            "graceful_timeout": _GRACE_SECONDS,
            "keepalive": self._settings.idle,
            "asgi_lifespan": "on",
            "control_socket_disable": True,
            "forwarder_headers": "",
        }
        for name, value in options.items():
            self.cfg.set(name, value)  # type: ignore[union-attr] # gunicorn has made it by then

    @override
    def load(self) -> Starlette:
        return self._app


class WatchedArbiter(Arbiter):
    """gunicorn's arbiter with a heartbeat, which starts the successor of a retiring process early.

    On SIGWINCH its processes take no more connections, and it ends after their last one; SIGHUP has no effect, as
    it could not reload anything.
    """

    def __init__(self, app: Web) -> None:
        self._board = app.board
        self._liveness = app.liveness
        self._retiring = 0
        super().__init__(app)

    @override
    def handle_hup(self) -> None:
        """Do nothing."""

    @override
    def handle_winch(self) -> None:
        self._board.replace()

    @override
    def manage_workers(self) -> None:
        self._board.free_all_but([worker.slot for worker in self.WORKERS.values()])
        if self._board.replaced:
            self._retire()
        else:
            self._keep_up()
        self._liveness.beat()

    def _retire(self) -> None:
        self.num_workers = 0
        super().manage_workers()
        if not self._board.count(SlotState.ACCEPTING) and not self._board.count(SlotState.STARTING):
            self._liveness.retire()
        if not self.WORKERS:
            raise StopIteration

    def _keep_up(self) -> None:
        retiring = self._board.count(SlotState.RETIRING)
        if retiring != self._retiring:
            self.num_workers += retiring - self._retiring
            self._retiring = retiring
        super().manage_workers()
        if self._board.count(SlotState.ACCEPTING):
            self._liveness.ready()

    @override
    def stop(self, graceful: bool = True) -> None:
        self._board.stop()
        super().stop(graceful)


def limit_memory() -> None:
    """Bound GDAL's cache of blocks, before its first file, and make glibc return memory.

    glibc gets two arenas for all threads and large blocks by mmap; without glibc nothing.
    """
    os.environ.setdefault("GDAL_CACHEMAX", _GDAL_CACHE_MB)
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in _MALLOPT.items():
            mallopt(name, value)


def serve_web(
    settings: Settings,
    configuration: Path,
    *,
    socket: int,
    liveness: Liveness | None = None,
    counters: SharedCounters | None = None,
) -> None:
    """Run the server processes until SIGTERM; they count their requests in the `counters`.

    Raises StartupError for a configuration that cannot be served.
    """
    limit_memory()
    try:
        app = create_app(read_configuration(configuration), settings, counters)
    except Exception as error:
        raise StartupError(f"{configuration}: {error}; `landcast check` lists all problems") from error
    Web(app, settings.server, socket=socket, liveness=liveness or Liveness()).run()
