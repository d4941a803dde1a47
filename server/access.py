"""The access layer, put together from the settings."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from auth.access import Policy
from auth.identity import LOCAL, current_identity
from auth.policy import OPEN
from auth.policy_file import InvalidPolicy, Known, read_policy
from server.settings import Settings


def make_policy(configuration: Mapping[str, Any], settings: Settings) -> Policy:
    """Return the policy that the settings name; everything is allowed on an open server. Raises InvalidPolicy."""
    if settings.auth.open:
        return OPEN
    if settings.auth.policy is None:
        raise InvalidPolicy(["LANDCAST_AUTH_POLICY: missing; deploy/policy.yml is an example"])
    return read_policy(settings.auth.policy, Known.of(configuration["resources"]))


@contextmanager
def by_ourselves() -> Iterator[None]:
    """Let what the server does at its start, for no caller, see everything."""
    reset = current_identity.set(LOCAL)
    try:
        yield
    finally:
        current_identity.reset(reset)
