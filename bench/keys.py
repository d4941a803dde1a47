"""A request's API key: read from its headers, slowed or not, and verified, warm and cold, in process."""

import statistics
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from auth.authenticate import identify_throttled
from auth.credentials import credential_of
from auth.identity import Identity
from auth.keys.key import WantedKey
from auth.keys.store import ApiKeys
from auth.keys.text import InvalidKey, new_key
from auth.sessions import Sessions
from auth.throttle import Throttle

_ROUNDS = 10_000
_KEYS = 2_000
_OWNER = Identity("https://sso.example.org/realms/land|1", roles=frozenset({"user", "gaf"}), method="session")


def measure() -> None:
    """Print the median and the 99th percentile in microseconds, on a database of some thousand keys."""
    with tempfile.TemporaryDirectory() as folder, closing(ApiKeys(Path(folder, "orders.sqlite"))) as keys:
        texts = [keys.create(_OWNER, WantedKey("bench"), maker="operator")[1] for _ in range(_KEYS)]
        text, throttle = texts[0], Throttle()
        pair = b64encode(f"{text[3:15]}:{text[16:]}".encode())
        headers = [(b"host", b"x"), (b"accept", b"*/*"), (b"authorization", b"Basic " + pair)]

        def cold() -> None:
            keys._warm.clear()  # noqa: SLF001 # what is warm is what this is measured without
            keys.identify(text)

        _print("identify, warm", lambda: keys.identify(text))
        _print("identify, cold", cold)
        _print("identify, unknown key", lambda: _refused(keys))
        _print("credential of Basic", lambda: credential_of(headers))
        _print("identify slowed, warm", lambda: identify_throttled(keys, throttle, text, address="192.0.2.1"))
        with closing(Sessions(Path(folder, "orders.sqlite"))) as sessions:
            secret, _ = sessions.create(_OWNER, sid="sid", id_token=None)
            _print("session of a cookie", lambda: sessions.get(secret))


def _refused(keys: ApiKeys) -> None:
    try:
        keys.identify(_UNKNOWN)
    except InvalidKey:
        return


_UNKNOWN = new_key().text


def _print(name: str, call: Callable[[], object]) -> None:
    took = []
    for _ in range(_ROUNDS):
        began = time.perf_counter_ns()
        call()
        took.append(time.perf_counter_ns() - began)
    took.sort()
    print(f"{name}: median {statistics.median(took) / 1000:.1f} us, 99 % {took[_ROUNDS * 99 // 100] / 1000:.1f} us")
