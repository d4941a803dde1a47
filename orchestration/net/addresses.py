"""Resolve and check the network addresses of hosts that callers name, and the address of a broker."""

import socket
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Thread
from urllib.parse import urlsplit

from orchestration.errors import AddressRefused, ReferenceRefused

_PUBLIC_IPV6 = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
_NEVER = tuple(
    map(
        ip_network,
        (
            "100.64.0.0/10",  # shared by a provider's customers (RFC 6598); a cloud's metadata too
            "168.63.129.16/32",  # a cloud's metadata at a public address
            "192.0.0.0/24",  # protocol assignments; a cloud's metadata too
            "192.88.99.0/24",  # 6to4 relays
            "2001::/32",  # Teredo: carries IPv4
            "2002::/16",  # 6to4: carries IPv4
            "3fff::/20",  # documentation (RFC 9637), which Python 3.12 does not know yet
        ),
    )
)

Allowed = Callable[[str], bool]
Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return the host's addresses from the system's resolver, which also reads decimal, octal and hexadecimal IPv4."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Return whether the address is on the public internet; an embedded IPv4 address is checked too."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        carried = ip.ipv4_mapped or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if carried is not None:
            return is_public(str(carried))
        if ip not in _PUBLIC_IPV6:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NEVER)


def any_address(_address: str) -> bool:
    """Allow every address."""
    return True


def addresses_of(
    host: str, port: int, *, seconds: float, allowed: Allowed = is_public, resolve: Resolve = resolve
) -> list[str]:
    """Return the host's addresses. Raises ReferenceRefused without an address in time, or if one is not allowed."""
    try:
        addresses = _within(seconds, lambda: resolve(host, port))
    except TimeoutError as error:
        raise ReferenceRefused(f"{host}: the name was not resolved in time") from error
    except (OSError, UnicodeError) as error:
        raise ReferenceRefused(f"{host}: the name cannot be resolved") from error
    if not addresses:
        raise ReferenceRefused(f"{host}: the name cannot be resolved")
    if not all(map(allowed, addresses)):
        raise AddressRefused(f"{host}: not an address of the public internet")
    return addresses


def _within(seconds: float, act: Callable[[], list[str]]) -> list[str]:
    """Return the result of `act` or raise TimeoutError; the resolver has no timeout of its own."""
    future: Future[list[str]] = Future()
    Thread(target=_settle, args=(future, act), daemon=True).start()
    return future.result(max(0, seconds))


def _settle(future: Future[list[str]], act: Callable[[], list[str]]) -> None:
    try:
        future.set_result(act())
    except (OSError, UnicodeError) as error:
        future.set_exception(error)


def is_amqp(url: str) -> bool:
    """Return whether the text is an address of RabbitMQ: amqp://user:password@host:port/vhost, or amqps://."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"amqp", "amqps"} and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError:
        return False
