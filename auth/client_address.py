"""The client's address behind trusted proxies."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_address(peer: str, forwarded_for: Iterable[str], trusted: Sequence[Network]) -> str:
    """Return the rightmost address that is not a trusted proxy.

    `peer` is the other end of the connection, `forwarded_for` the values of the `X-Forwarded-For` headers in order.
    Each proxy appends the address it received from. Everything left of the first untrusted address comes from that
    client and is ignored; so are the headers of an untrusted peer.
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
    """Return the address in a text, with or without a port, or None.

    An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is returned as IPv4.
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


def network_of(text: str) -> str:
    """Return the network by which callers are counted: the /64 of an IPv6 address, which is usually one customer."""
    address = read_address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return text if address is None else str(address)


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Return whether the other end of a connection is a trusted proxy."""
    address = read_address(peer)
    return address is not None and _is_in(address, trusted)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
