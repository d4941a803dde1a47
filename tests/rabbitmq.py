"""A real RabbitMQ: a separate node, which can be killed and restarted with its stored messages."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pika
import pytest
from pika.exceptions import AMQPError

from tests.ports import free_port

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_SECONDS = 180


class RabbitMQ:
    """A node; `url` is that of its only user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port, self._names_port = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": str(folder / "crash"),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._names: subprocess.Popen[bytes] | None = None
        """The daemon that Erlang finds nodes by; it would start one that outlives it."""

    def start(self) -> None:
        """Start it, and wait until it accepts logins."""
        if self._names is None:
            self._names = subprocess.Popen(["epmd"], env=self._environment)
            self._wait(self._names, lambda: _accepts(self._names_port), "epmd")
        (self._folder / "plugins").write_text("[].\n")
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM], env=self._environment, stdout=output, stderr=output, start_new_session=True
            )
        self._wait(self._process, self._answers, "RabbitMQ")

    def _wait(self, process: subprocess.Popen[bytes], is_there: Callable[[], bool], name: str) -> None:
        until = time.monotonic() + _SECONDS
        while not is_there():
            if time.monotonic() > until or process.poll() is not None:
                output = self._folder / "output"
                pytest.fail(f"{name} did not start: {output.read_text() if output.exists() else ''}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        if not _accepts(self.port):
            return False
        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except (OSError, AMQPError):
            return False
        return True

    def kill(self) -> None:
        """Kill it, like a failing machine."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def end(self) -> None:
        """Kill it and its daemon."""
        self.kill()
        if self._names is not None:
            self._names.kill()
            self._names.wait()


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextmanager
def start_rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    """Run a node in the folder."""
    if not PROGRAM.exists() or shutil.which("erl") is None:
        pytest.fail("RabbitMQ is missing: deploy/test-services.sh installs it")
    running = RabbitMQ(folder)
    try:
        running.start()
        yield running
    finally:
        running.end()
