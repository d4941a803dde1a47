"""The address of a caller: the trusted part of `X-Forwarded-For`."""

from ipaddress import ip_network

import pytest

from auth.client_address import client_address, network_of

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        # A caller who reaches the server past the proxy may write what it likes.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("203.0.113.9", ["10.0.0.1"], "203.0.113.9"),
        # One proxy: it appended whom it heard from.
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        # The caller sent a header of its own, to be counted as somebody else: the proxy appended the truth.
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        # It sent it as a header of its own, or claims to be a proxy of ours.
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.7, 203.0.113.9"], "203.0.113.9"),
        # Two proxies.
        ("127.0.0.1", ["198.51.100.1, 203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        # A caller from inside, through proxies only.
        ("10.0.0.1", ["10.3.3.3"], "10.3.3.3"),
        # Rubbish where an address must be: the last one that a proxy of ours vouched for.
        ("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, "], "10.0.0.1"),
        # Written with a port, as IPv6, as IPv4 in IPv6.
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("fd00::1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        # No address at all, as of a socket in the file system.
        ("", ["203.0.113.9"], ""),
    ],
)
def test_the_client_is_the_rightmost_untrusted_address(peer: str, forwarded: list[str], client: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == client


def test_forwarded_headers_are_ignored_without_trusted_proxies() -> None:
    assert client_address("127.0.0.1", ["203.0.113.9"], []) == "127.0.0.1"


def test_a_forwarded_header_of_many_thousand_hops_is_read_no_further_than_needed() -> None:
    forged = ", ".join(["10.0.0.1"] * 100_000)
    assert client_address("10.0.0.1", [f"{forged}, x, 203.0.113.9"], TRUSTED) == "203.0.113.9"


def test_the_addresses_of_one_ipv6_customer_count_as_one() -> None:
    """A customer has at least 2**64 IPv6 addresses: counted one by one, none would be slowed."""
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff:ffff:ffff:ffff")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:203.0.113.9") == network_of("203.0.113.9") == "203.0.113.9"
    assert network_of("fe80::1%eth0") == network_of("fe80::2%eth1")
