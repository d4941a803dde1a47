"""The one client that tells an address of a caller something; bounded as `orchestration.fetch` is."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException

from orchestration.addresses import Allowed, Resolve, is_public, resolve
from orchestration.connection import connect, parse_address, target_of, why
from orchestration.errors import Unreachable


@dataclass(frozen=True, slots=True)
class Poster:
    """Posts to addresses that are allowed, each in `seconds` in all; no redirect is followed, no answer is read."""

    seconds: float = 10
    allowed: Allowed = is_public
    resolve: Resolve = resolve

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Return the status of the answer. Raises ReferenceRefused; Unreachable where no answer came."""
        deadline = time.monotonic() + self.seconds
        parts = parse_address(url)
        try:
            connection = connect(parts, deadline, allowed=self.allowed, resolve=self.resolve)
            try:
                connection.request("POST", target_of(parts), body, {"User-Agent": "landcast", **headers})
                return connection.getresponse().status
            finally:
                connection.hang_up()
        except TimeoutError as error:
            raise Unreachable(f"not answered in {self.seconds:g} s") from error
        except (OSError, HTTPException) as error:
            raise Unreachable(why(error)) from error
