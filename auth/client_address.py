"""The address of a caller, through the proxies that are trusted to say it."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_address(peer: str, forwarded_for: Iterable[str], trusted: Sequence[Network]) -> str:
    """Return the address of the client: the rightmost one that is no trusted proxy's.

    `peer` is the other end of the connection, `forwarded_for` the values of the headers `X-Forwarded-For` as they came.
    Each proxy adds on the right whom it heard from; what stands left of the first address that is not trusted was
    written by that caller, who may write anything. From a peer that is not trusted the headers say nothing.
    """
    nearest = read_address(peer)
    if nearest is None:
        return peer
    hops = (read_address(hop) for value in reversed([*forwarded_for]) for hop in reversed(value.split(",")))
    for hop in hops:
        if hop is None or not _is_in(nearest, trusted):
            break
        nearest = hop
    return str(nearest)


def read_address(text: str) -> Address | None:
    """Return the address that is written so, with or without a port, None where none is.

    An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.1`) is the IPv4 address.
    """
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def neighbourhood(text: str) -> str:
    """Return what stands for an address where callers are counted: an IPv6 one by its /64, which is one customer's."""
    address = read_address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return text if address is None else str(address)


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Say whether the other end of a connection is a trusted proxy."""
    address = read_address(peer)
    return address is not None and _is_in(address, trusted)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
