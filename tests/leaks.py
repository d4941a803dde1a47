"""No secret of the tests is in a log: all logged lines are searched after the last test.

The logs are that of this process, as the server's formatter writes it, and those of servers and workers: files named
`*.log` or `log` below pytest's folder. The secrets are those that this process made or received (tokens, API keys,
tickets, sessions, client secrets), and every text of their format, since servers in other processes make some too.
"""

import functools
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from jwt import PyJWS

import auth.keys.store
import auth.logins
import auth.sessions
from orchestration.files.results import Results
from server.logs import JsonFormatter
from tests.auth.keycloak import Keycloak

_WINDOW = 16
"""Characters of a secret that are enough to tell it by; no word of a log has so many of one by chance."""
_WORD = re.compile(rf"[\w.~+/=-]{{{_WINDOW},}}")
_FORMS = re.compile(
    r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}"  # a token
    r"|\blc_[0-9a-z]{12}_[0-9A-Za-z]{20,}"  # an API key
    r"|(?<=[?&;]sig=)[0-9a-f]{16,}"  # a ticket
    r"|(?<=__Host-landcast=)[\w-]{20,}"  # a session
)


class _Written(logging.StreamHandler[TextIO]):
    """A separate class, so that no server replaces it by its background handler."""


class Leaks:
    """Collects the secrets and the log of this process; `found` reads all logs."""

    def __init__(self, log: Path) -> None:
        self._stream: TextIO = log.open("a", encoding="utf-8")
        self._log = log
        self._secrets: set[str] = set()
        self._handler = _Written(self._stream)
        self._handler.setFormatter(JsonFormatter())

    def know(self, secret: str) -> None:
        """Search for this secret too; of a token, the claims and the signature are secret, the header is not."""
        parts = secret.split(".")[1:] if secret.startswith("eyJ") else [re.sub(r"^lc_\w{12}_", "", secret)]
        self._secrets |= {part for part in parts if len(part) >= _WINDOW}

    def listen(self) -> None:
        """Record lines from now on; a test may have removed the root logger's handlers."""
        root = logging.getLogger()
        if self._handler not in root.handlers:
            root.addHandler(self._handler)
        for name in ("landcast", "auth", "orchestration", "plugins", "processes", "products", "routes", "server"):
            logging.getLogger(name).setLevel(logging.INFO)

    def watch(self) -> Callable[[], None]:
        """Record each secret that the code makes from now on; return a function that stops it."""
        undo = [
            _recorded(auth.keys.store, "new_key", lambda key: self.know(key.text)),
            _recorded(auth.sessions, "new_secret", self.know),
            _recorded(auth.logins, "new_secret", self.know),
            _recorded(Results, "_sign", self.know),
            _recorded(PyJWS, "encode", self.know),
            _recorded(Keycloak, "token_endpoint", self._know_answer),
            _recorded(Keycloak, "client", self._know_answer),
        ]

        def end() -> None:
            for each in undo:
                each()

        return end

    def _know_answer(self, answer: dict[str, Any]) -> None:
        for name in ("access_token", "id_token", "refresh_token", "secret"):
            self.know(answer.get(name, ""))

    def found(self, folder: Path) -> list[str]:
        """Return the lines with a secret of all logs below the folder."""
        self._stream.flush()
        beginnings = {secret[at : at + _WINDOW] for secret in self._secrets for at in (0, len(secret) - _WINDOW)}
        return [f"{path}: {line}" for path in _logs(folder) for line in _lines(path) if _holds(line, beginnings)]

    def close(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        self._stream.close()


def _recorded(owner: Any, name: str, tell: Callable[[Any], None]) -> Callable[[], None]:
    """Record what a function returns; return a function that restores it."""
    made = getattr(owner, name)

    @functools.wraps(made)
    def telling(*given: Any, **named: Any) -> Any:
        tell(result := made(*given, **named))
        return result

    setattr(owner, name, telling)
    return lambda: setattr(owner, name, made)


def _logs(folder: Path) -> Iterator[Path]:
    """Yield the logs below the folder, except those of Keycloak, which is not our program."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "keycloak"))]
        yield from (Path(place, name) for name in names if name == "log" or name.endswith(".log"))


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as stream:
        yield from (line.rstrip("\n") for line in stream)


def _holds(line: str, beginnings: set[str]) -> bool:
    return _FORMS.search(line) is not None or any(
        word[at : at + _WINDOW] in beginnings for word in _WORD.findall(line) for at in range(len(word) - _WINDOW + 1)
    )
