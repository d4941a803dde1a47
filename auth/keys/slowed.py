"""Keys verified with failures slowed."""

from auth.keys.key import KeyIdentity
from auth.keys.store import ApiKeys
from auth.keys.text import InvalidKey, key_id_of
from auth.throttle import Throttle


def identify_slowed(keys: ApiKeys, throttle: Throttle, presented: str, *, address: str) -> KeyIdentity:
    """Return whom the key that the address presents stands for. Raises InvalidKey, TooManyFailures, AccessUnavailable.

    A database that is away is nobody's failure and not counted.
    """
    attempt = throttle.attempt(address, key_id_of(presented) or "", presented)
    throttle.admit(attempt)
    try:
        identity = keys.identify(presented)
    except InvalidKey:
        throttle.failed(attempt)
        raise
    throttle.succeeded(attempt)
    return identity
