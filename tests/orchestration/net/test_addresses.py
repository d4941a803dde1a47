import threading
from collections.abc import Iterator

import pytest

from orchestration.errors import ReferenceRefused
from orchestration.net.addresses import addresses_of, any_address, is_public, resolve


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "193.0.6.139", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "0.0.0.0",  # noqa: S104  refused, not bound
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2002:7f00:1::",
        "2001:db8::1",
        "3fff::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "100::1",
    ],
)
def test_private_addresses_and_those_that_embed_one_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "localhost", "127.0.0.1"])
def test_an_unusually_written_address_is_judged_by_its_target(host: str) -> None:
    with pytest.raises(ReferenceRefused, match="public"):
        addresses_of(host, 80, seconds=5)
    assert addresses_of(host, 80, seconds=5, allowed=any_address) == resolve(host, 80)


def test_one_private_address_among_public_ones_is_refused() -> None:
    with pytest.raises(ReferenceRefused, match="public"):
        addresses_of("x.example", 80, seconds=1, resolve=lambda *_: ["8.8.8.8", "10.0.0.1"])


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example", "x..y"])
def test_a_name_without_an_address_is_refused_with_a_reason(host: str) -> None:
    with pytest.raises(ReferenceRefused, match="resolved"):
        addresses_of(host, 80, seconds=30)


@pytest.fixture
def never() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_silent_resolver_is_not_waited_for(never: threading.Event) -> None:
    def stuck(_host: str, _port: int) -> list[str]:
        never.wait(30)
        return []

    with pytest.raises(ReferenceRefused, match="in time"):
        addresses_of("x.example", 80, seconds=0.1, resolve=stuck)
