"""A request has at most one credential, in one form."""

from base64 import b64encode
from itertools import count

import pytest

from auth.credentials import Credential, InvalidCredential, credential_of
from auth.keys.text import new_key, read_key

KEY = new_key()
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_"


def basic(pair: str) -> str:
    return "Basic " + b64encode(pair.encode()).decode()


def of(*headers: tuple[str, str]) -> Credential | None:
    return credential_of([(name.encode(), value.encode("latin-1")) for name, value in headers])


@pytest.mark.parametrize(
    "header",
    [
        ("x-api-key", KEY.text),
        ("authorization", f"Bearer {KEY.text}"),
        ("authorization", f"bearer   {KEY.text}"),
        ("authorization", basic(f"{KEY.id}:{KEY.text.removeprefix(f'lc_{KEY.id}_')}")),
        ("authorization", basic(f"anything:{KEY.text}")),
        ("authorization", basic(f":{KEY.text}")),
        ("authorization", basic(f"{KEY.id}:{KEY.text}")),
        ("Authorization", f"BEARER {KEY.text} "),
    ],
)
def test_a_key_is_accepted_in_every_documented_form(header: tuple[str, str]) -> None:
    credential = of(("accept", "*/*"), header)
    assert credential == Credential("key", KEY.text)
    assert credential is not None
    assert read_key(credential.value) == KEY


def test_a_token_and_missing_credentials_are_recognized() -> None:
    assert of(("authorization", f"Bearer {JWT}")) == Credential("token", JWT)
    assert of(("accept", "*/*")) is None


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", f"Bearer {JWT}"), ("authorization", f"Bearer {KEY.text}")],
        [("authorization", f"Bearer {JWT}"), ("authorization", f"Bearer {JWT}")],
        [("Authorization", f"Bearer {JWT}"), ("authorization", f"Bearer {JWT}")],
        [("x-api-key", KEY.text), ("x-api-key", KEY.text)],
        [("authorization", f"Bearer {JWT}"), ("x-api-key", KEY.text)],
    ],
)
def test_two_credentials_are_refused(headers: list[tuple[str, str]]) -> None:
    """A proxy that checks the first and a server that takes the second would let each other's callers in."""
    with pytest.raises(InvalidCredential, match="only one"):
        of(*headers)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        JWT,
        f"Bearer {JWT}, Bearer {JWT}",
        f"Bearer {JWT},{KEY.text}",
        f"Bearer {JWT} {JWT}",
        f"Bearer\t{JWT}",
        f"Bearer {JWT}\x00",
        f"Bearer {JWT}\xe9",
        "Bearer " + "a" * 8200,
        f"Digest {JWT}",
        "Basic",
        "Basic ???",
        "Basic " + b64encode(b"\xff\xfe:x").decode(),
        basic("no colon"),
        basic(KEY.text),
        basic(":"),
        basic("ann:her own password"),
        basic(f"{KEY.id.upper()}:x"),
    ],
    ids=map(str, count(1)),  # a name with the key in it is another one in each process
)
def test_malformed_credentials_are_refused(value: str) -> None:
    """Treated as no credentials, it would get an anonymous caller's answer, and the mistake would stay unnoticed."""
    with pytest.raises(InvalidCredential):
        of(("authorization", value))


@pytest.mark.parametrize("value", [f"Bearer {JWT} {JWT}", f"Digest {JWT}", basic("ann:hunter2hunter2")])
def test_a_secret_is_in_no_message_and_no_repr(value: str) -> None:
    with pytest.raises(InvalidCredential) as caught:
        of(("authorization", value))
    assert JWT not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert JWT not in repr(Credential("token", JWT))


@pytest.mark.parametrize(
    "value",
    ["", " ", f"{KEY.text}\x00", f"{KEY.text}\t{KEY.text}", f"{KEY.text}\xe9", "a" * 8200],
    ids=map(str, count(1)),
)
def test_the_header_of_keys_is_read_strictly(value: str) -> None:
    with pytest.raises(InvalidCredential):
        of(("x-api-key", value))


def test_base64_with_other_characters_is_refused() -> None:
    """By default Python skips characters that are not Base64, so it would accept values that other programs refuse."""
    value = basic(f"x:{KEY.text}")
    with pytest.raises(InvalidCredential):
        of(("authorization", f"{value[:20]}!{value[20:]}"))


def test_a_password_is_refused_with_an_explanation() -> None:
    with pytest.raises(InvalidCredential, match="password of a person is not accepted"):
        of(("authorization", basic("ann:secret")))
