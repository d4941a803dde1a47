"""The text of a key."""

import re

import pytest

from auth.keys.text import InvalidKey, KeyText, digest, key_id_of, new_key, read_key


def test_a_key_is_read_as_it_was_written() -> None:
    key = new_key()
    assert read_key(key.text) == key
    assert key_id_of(key.text) == key.id


def test_keys_are_unique_with_256_random_bits() -> None:
    keys = [new_key() for _ in range(200)]
    assert len({key.id for key in keys}) == len({key.text for key in keys}) == 200
    secrets = [re.fullmatch(r"lc_[0-9a-z]{12}_([0-9A-Za-z]{43})[0-9A-Za-z]{6}", key.text) for key in keys]
    signs = {sign for secret in secrets if secret for sign in secret[1]}
    assert all(secrets)
    assert 62**43 > 2**256
    assert len(signs) == 62


@pytest.mark.parametrize("place", [0, 3, 14, 15, 16, 40, 58, 59, 64])
def test_a_mistyped_key_is_detected_without_the_database(place: int) -> None:
    text = new_key().text
    wrong = text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
    with pytest.raises(InvalidKey, match=r"mistyped|not an API key"):
        read_key(wrong)


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "0", lambda t: t + "\n", str.upper, lambda _: ""])
def test_an_incomplete_key_is_invalid(change: "type[str]") -> None:
    text = change(new_key().text)
    with pytest.raises(InvalidKey):
        read_key(text)


def test_characters_that_only_look_like_digits_are_invalid() -> None:
    """`\\d` and `int` accept the digits of every script: two texts would be one key."""
    key = new_key()
    with pytest.raises(InvalidKey):
        read_key(f"lc_{'\u0661' * 12}_{key.text[16:]}")


def test_the_checksum_matches_an_independent_implementation() -> None:
    """Secret scanners rely on the format: the CRC-32 of the preceding text in six characters, 0-9A-Za-z."""
    assert read_key("lc_0123456789ab_" + "A" * 43 + "0Ua0AJ").id == "0123456789ab"


def test_a_key_is_in_no_repr_and_no_error() -> None:
    key = new_key()
    assert key.text not in repr(key)
    assert key.text[16:] not in repr(KeyText("x", key.text))
    with pytest.raises(InvalidKey) as caught:
        read_key(key.text[:-1] + ("x" if key.text[-1] != "x" else "y"))
    assert key.text[16:40] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_stored_hash_always_has_32_bytes() -> None:
    assert len(digest("\ud800 no text of any encoding")) == 32
