"""Replace the configuration while serving, on SIGHUP or `landcast reload`.

A separate process examines it. New server processes start with it on the same socket; once they accept connections, the
old ones accept none, and end after their last. The worker executes new orders with it. An invalid configuration,
or one that no server process starts with, changes nothing.
"""

import json
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from orchestration.registry import Registry
from orchestration.service import Configured
from products.held import descriptors_of, hold, path_of, release
from server.control import Control, ReloadAnswer, answer, hang_up
from server.examination import Examination, Examined
from server.processes import registry_of
from server.settings import JobsSettings, Settings
from server.supervise import Child

_log = logging.getLogger(__name__)

_TRIAL_SECONDS = 120.0
"""Seconds that new server processes have to accept connections; otherwise the configuration is refused."""
_LEAVING = 2
"""The most generations of server processes that are still ending when a reload begins."""
_SLACK_SECONDS = 30.0
"""Seconds that old server processes have beyond the longest request and the longest idle connection."""


@dataclass(frozen=True, slots=True)
class HeldConfiguration:
    """The configuration and the policy of a running server, as files in memory.

    `processes` has the rows of the registry; before the first reload it is None, and the worker loads the processes.
    """

    configuration: Path
    policy: Path | None
    processes: Path | None = None

    def registry(self, jobs: JobsSettings) -> Registry | None:
        """Return the registry of the processes, or None."""
        return None if self.processes is None else registry_of(json.loads(self.processes.read_bytes()), jobs)

    def settings(self, settings: Settings) -> Settings:
        """Return the settings with this policy."""
        return replace(settings, auth=settings.auth.model_copy(update={"policy": self.policy}))

    def release(self) -> None:
        """Close the files; started processes have descriptors of their own."""
        for path in (self.configuration, self.policy, self.processes):
            release(path)


def hold_at_start(configuration: bytes, policy: Path | None) -> HeldConfiguration:
    """Return the configuration that a server starts with. Raises OSError."""
    return HeldConfiguration(hold(configuration), None if policy is None else hold(policy.read_bytes()))


class WorkerLine:
    """Passes a new configuration to the worker; the supervisor keeps both ends open, as the worker may start again."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(0)
        self._theirs.settimeout(0)

    def send(self, taken: HeldConfiguration) -> None:
        """Send it to the worker, instead of one that the worker has not received yet."""
        while (former := self._receive()) is not None:
            former.release()
        descriptors = [*descriptors_of(taken.configuration), *descriptors_of(taken.processes)]
        with suppress(OSError):
            socket.send_fds(self._ours, [b"taken"], descriptors)

    def _receive(self) -> HeldConfiguration | None:
        try:
            _, descriptors, _, _ = socket.recv_fds(self._theirs, 16, 2)
        except BlockingIOError:
            return None
        configuration, processes = map(path_of, descriptors)
        return HeldConfiguration(configuration, None, processes)

    def renewed(self, jobs: JobsSettings) -> Configured | None:
        """Return the configuration that was sent since the last call, or None; called by the worker."""
        taken = self._receive()
        if taken is None or (registry := taken.registry(jobs)) is None:
            return None
        release(taken.processes)
        return Configured(taken.configuration, registry)

    def close(self) -> None:
        """Close both ends."""
        self._ours.close()
        self._theirs.close()


class Reload:
    """Replaces the first of the supervised `children`, the server, by one with the configuration now in the file.

    `make_server` makes the server processes of a configuration. One reload runs at a time; a request meanwhile starts
    another one afterwards.
    """

    def __init__(
        self,
        configuration: Path,
        first: HeldConfiguration,
        settings: Settings,
        *,
        make_server: Callable[[HeldConfiguration], Child],
        line: WorkerLine,
        control: Control,
    ) -> None:
        self.taken = first
        self.children = [make_server(first)]
        """The server and the other supervised processes."""
        self._configuration = configuration
        self._make_server = make_server
        self._line = line
        self._control = control
        self._policy = settings.auth.policy
        self._within = settings.server.request_timeout + settings.server.idle + _SLACK_SECONDS
        self._asked = False
        self._waiting: list[socket.socket] = []
        self._callers: list[socket.socket] = []
        self._leaving: list[Child] = []
        self._examination: Examination | None = None
        self._trial: _Trial | None = None
        self._replaced: tuple[Child, Examined] | None = None

    def ask(self) -> None:
        """Reload as soon as possible."""
        self._asked = True

    def poll(self, now: float) -> None:
        """Do the next step without waiting."""
        self._leaving = [child for child in self._leaving if not child.leave(now, within=self._within)]
        self._waiting += self._control.accept()
        if self._examination is not None:
            if (examined := self._examination.result()) is not None:
                self._examination = None
                self._examined(examined, now)
        elif self._trial is not None:
            self._look_at_trial(self._trial, now)
        elif self._replaced is not None:
            self._look_at_replaced(*self._replaced)
        elif (self._asked or self._waiting) and len(self._leaving) < _LEAVING:
            self._begin()

    def _begin(self) -> None:
        self._asked = False
        self._callers, self._waiting = self._waiting, []
        try:
            self._examination = Examination(self._configuration, self._policy)
        except OSError as error:
            self._refuse((f"the configuration cannot be examined: {error}",))

    def _examined(self, examined: Examined, now: float) -> None:
        if examined.problems:
            self._refuse(examined.problems)
            return
        try:
            taken = HeldConfiguration(
                hold(examined.configuration),
                hold(examined.policy) if self.taken.policy is not None else None,
                hold(json.dumps(examined.processes).encode()),
            )
        except OSError as error:
            self._refuse((f"the configuration cannot be held in memory: {error.strerror}",))
            return
        self._trial = _Trial(taken, examined, self._make_server(taken), now + _TRIAL_SECONDS)

    def _look_at_trial(self, trial: "_Trial", now: float) -> None:
        server = trial.server
        server.poll(now)
        if server.process is not None and server.liveness.is_ready:
            self._trial = None
            self._take(trial)
        elif server.process is None or now >= trial.until:
            self._trial = None
            server.stop()
            self._leaving.append(server)
            trial.taken.release()
            self._refuse(("no server process starts with the configuration; the log says why",))

    def _take(self, trial: "_Trial") -> None:
        self._replaced = self.children[0], trial.examined
        self._leaving.append(self.children[0])
        self.children[0] = trial.server
        former, self.taken = self.taken, trial.taken
        former.release()
        self._line.send(self.taken)

    def _look_at_replaced(self, former: Child, examined: Examined) -> None:
        """Answer once all new connections go to the new server processes."""
        if former.process is None or former.liveness.is_retired:
            self._replaced = None
            for warning in examined.warnings:
                _log.warning("%s: %s", self._configuration, warning)
            _log.info("now serving the configuration in %s", self._configuration)
            self._answer(ReloadAnswer(warnings=examined.warnings))

    def _refuse(self, problems: Sequence[str]) -> None:
        for problem in problems:
            _log.error("%s is refused, and the former configuration stays: %s", self._configuration, problem)
        self._answer(ReloadAnswer(tuple(problems)))

    def _answer(self, outcome: ReloadAnswer) -> None:
        answer(self._callers, outcome)
        self._callers = []

    def stop(self) -> list[Child]:
        """Stop reloading, and return the server processes that are to be ended."""
        self._control.close()
        self._line.close()
        hang_up((*self._callers, *self._waiting))
        if self._examination is not None:
            self._examination.end()
        return [*self._leaving, *([self._trial.server] if self._trial else [])]


@dataclass(frozen=True, slots=True)
class _Trial:
    """New server processes, which have `until` to accept connections."""

    taken: HeldConfiguration
    examined: Examined
    server: Child
    until: float
