"""Examine a configuration in a separate process: `python -m server.examination CONFIGURATION DESCRIPTOR [POLICY]`.

The calling process, which may have to fork again, loads no plugins and opens no files for it.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.registry import encode_row
from processes.loading import load_processes
from products.catalogue import InvalidConfiguration, read_configuration, write_configuration
from server.check import of_configuration, without_effect
from server.logs import start_logging
from server.settings import LogSettings

_PATIENCE = 120.0
"""The most seconds of an examination, as reading a file on a network may never end."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Examined:
    """The problems and warnings of a configuration, a line each; without problems also what to serve.

    `configuration` and `policy` are the contents of the files, `processes` the rows of the registry as JSON.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    configuration: bytes = b""
    policy: bytes = b""
    processes: tuple[str, ...] = ()


class Examination:
    """A process that examines a configuration, and the policy if there is one. Raises OSError if it cannot start."""

    def __init__(self, configuration: Path, policy: Path | None) -> None:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        self._answer = ours
        self._read = bytearray()
        self._until = time.monotonic() + _PATIENCE
        command = [sys.executable, "-m", "server.examination", str(configuration), str(theirs)]
        command += [str(policy)] if policy else []
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs], start_new_session=True
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)

    def result(self) -> Examined | None:
        """Return the result, or None while there is none; called until there is one, which ends the process."""
        if time.monotonic() >= self._until:
            self.end()
            return Examined((f"the configuration could not be examined in {_PATIENCE:.0f} s",))
        try:
            while chunk := os.read(self._answer, _CHUNK):
                self._read += chunk
        except BlockingIOError:
            return None
        self.end()
        try:
            result = json.loads(self._read)
        except ValueError:
            return Examined(("the process that examines the configuration failed; the log may say why",))
        return Examined(
            tuple(result["problems"]),
            tuple(result["warnings"]),
            result["configuration"].encode(),
            result["policy"].encode(),
            tuple(result["processes"]),
        )

    def end(self) -> None:
        """End the process; called once."""
        os.close(self._answer)
        self._process.kill()
        self._process.wait()


def main(configuration: Path, answer: int, policy: Path | None, **log: Any) -> None:
    """Examine the configuration and write the result as JSON; `log` has settings that precede the environment."""
    logs = LogSettings(**log)
    start_logging(level=logs.level, form=logs.format)
    result: dict[str, object] = {"problems": [], "warnings": [], "configuration": "", "policy": "", "processes": []}
    try:
        document = read_configuration(configuration)
        result["problems"] = problems = of_configuration(document, policy)
        if not problems:
            rows = load_processes(document["resources"]).registry
            result |= {
                "warnings": without_effect(document),
                "configuration": write_configuration(document).decode(),
                "policy": policy.read_text() if policy else "",
                "processes": [encode_row(row) for row in rows],
            }
    except InvalidConfiguration as error:
        result["problems"] = error.problems
    with os.fdopen(answer, "wb") as stream:
        stream.write(json.dumps(result).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3:] else None)
