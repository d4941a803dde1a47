"""Refusals as pygeoapi's errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from pygeoapi.provider.base import ProviderInvalidQueryError, ProviderRequestEntityTooLargeError

from products.errors import InvalidArea, RequestTooLarge


def invalid(message: str) -> ProviderInvalidQueryError:
    """Return pygeoapi's 400 with a message for the caller."""
    return ProviderInvalidQueryError(user_msg=message)


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Convert an error of an argument to pygeoapi's 400, which names it."""
    try:
        yield
    except (ValueError, InvalidArea) as error:
        raise invalid(f"{name}: {error}") from error


@contextmanager
def bounded() -> Iterator[None]:
    """Convert RequestTooLarge to pygeoapi's 413."""
    try:
        yield
    except RequestTooLarge as error:
        raise ProviderRequestEntityTooLargeError(str(error)) from error
