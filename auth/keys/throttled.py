"""Verify API keys with throttling of failed attempts."""

from auth.keys.key import KeyIdentity
from auth.keys.store import ApiKeys
from auth.keys.text import InvalidKey, key_id_of
from auth.throttle import Throttle


def identify_throttled(keys: ApiKeys, throttle: Throttle, presented: str, *, address: str) -> KeyIdentity:
    """Return the identity of a key sent from an address. Raises InvalidKey, TooManyFailures, AccessUnavailable.

    An unavailable database does not count as a failed attempt.
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
