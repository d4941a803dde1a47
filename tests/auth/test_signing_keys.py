"""Which published keys are trusted."""

from typing import Any

import pytest
from jwt.algorithms import RSAAlgorithm

from auth.signing_keys import signing_keys
from tests.auth.issuers import ec_key, first_key, jwk_of, rsa_key

BOTH = ("RS256", "ES256")
RSA = jwk_of(first_key(), "rsa")


def test_keys_are_found_by_their_id() -> None:
    found = signing_keys({"keys": [RSA, jwk_of(ec_key(), "curve")]}, BOTH)
    assert {kid: set(key.by_algorithm) for kid, key in found.items()} == {"rsa": {"RS256"}, "curve": {"ES256"}}


def test_a_key_without_an_algorithm_works_for_those_of_its_type() -> None:
    key = {name: value for name, value in RSA.items() if name != "alg"}
    assert set(signing_keys({"keys": [key]}, ("RS256", "PS512", "ES256"))["rsa"].by_algorithm) == {"RS256", "PS512"}


UNTRUSTED: list[tuple[str, Any]] = [
    ("for encryption", {**RSA, "use": "enc", "alg": "RSA-OAEP"}),
    ("for encryption, said by its use alone", {**RSA, "use": "enc"}),
    ("without a use", {name: value for name, value in RSA.items() if name != "use"}),
    ("without an id", {name: value for name, value in RSA.items() if name != "kid"}),
    ("with a number for its id", {**RSA, "kid": 1}),
    ("of an algorithm that is not allowed", {**RSA, "alg": "RS512"}),
    ("of an algorithm for another type of key", {**RSA, "alg": "ES256"}),
    ("a shared secret", {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa", "use": "sig", "alg": "HS256"}),
    ("a shared secret that says RS256", {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa", "use": "sig", "alg": "RS256"}),
    ("private, so everybody has it", {**RSA, **RSAAlgorithm.to_jwk(first_key(), as_dict=True)}),
    ("short enough to be broken", jwk_of(rsa_key(1024), "rsa")),
    ("cut off", {**RSA, "n": None}),
    ("of letters that are no number", {**RSA, "n": "!"}),
    ("a curve without a point on it", {**jwk_of(ec_key(), "rsa"), "x": "AA", "y": "AA"}),
    ("of another curve", {**jwk_of(ec_key(), "rsa"), "crv": "P-521"}),
    ("no object", "rsa"),
    ("nothing", None),
]


@pytest.mark.parametrize("jwk", [row[1] for row in UNTRUSTED], ids=[row[0] for row in UNTRUSTED])
def test_an_unusable_key_does_not_affect_the_others(jwk: Any) -> None:
    assert set(signing_keys({"keys": [jwk, jwk_of(ec_key(), "curve")]}, BOTH)) == {"curve"}


@pytest.mark.parametrize("key_set", [None, [], {}, {"keys": None}, {"keys": {"rsa": RSA}}])
def test_an_invalid_key_set_has_no_keys(key_set: Any) -> None:
    assert signing_keys(key_set, BOTH) == {}


def test_the_first_of_two_keys_with_one_id_is_used() -> None:
    found = signing_keys({"keys": [RSA, jwk_of(rsa_key(), "rsa")]}, BOTH)
    assert found == signing_keys({"keys": [RSA]}, BOTH)


def test_a_key_that_is_published_again_is_equal() -> None:
    again = signing_keys({"keys": [dict(reversed(RSA.items()))]}, BOTH)
    assert again == signing_keys({"keys": [RSA]}, BOTH)
    assert again != signing_keys({"keys": [jwk_of(rsa_key(), "rsa")]}, BOTH)
