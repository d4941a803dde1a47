"""Authentication by bearer token: each refused token is an attack, and its message has the reason."""

import asyncio
import base64
import gc
import hashlib
import hmac
import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth.claims import TokenRules
from auth.identity import Identity
from auth.refusal import InvalidToken, KeysUnavailable
from auth.signed_token import LARGEST
from auth.tokens import REMEMBERED, TokenVerifier, make_verifier
from tests.auth.issuers import FakeIssuer, ec_key, jwk_of, rsa_key


def verifier_of(issuer: FakeIssuer, **rules: Any) -> TokenVerifier:
    chosen = {"issuer": issuer.url, "audience": "landcast", "client_id": "landcast", **rules}
    return make_verifier(TokenRules(**chosen), timeout=2)


def identify(verifier: TokenVerifier, token: str) -> Identity:
    return asyncio.run(verifier.identify(token))


def refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        identify(verifier, token)
    reason = caught.value.reason
    assert reason == str(caught.value)
    assert fit_for_a_header(reason)
    assert caught.value.__cause__ is None
    return reason


def fit_for_a_header(reason: str) -> bool:
    """RFC 6750, section 3: neither quote nor backslash, only printable ASCII."""
    return all(0x20 <= ord(letter) < 0x7F and letter not in '"\\' for letter in reason)


def part(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: Any, claims: Any, signature: bytes = b"x" * 256) -> str:
    return f"{part(header)}.{part(claims)}.{part(signature)}"


RS256 = {"alg": "RS256", "kid": "first", "typ": "JWT"}


def test_an_access_token_identifies_its_subject(issuer: FakeIssuer) -> None:
    assert identify(verifier_of(issuer), issuer.token()) == Identity(
        owner=f"{issuer.url}|0b1c",
        email="ada@example.org",
        subject="0b1c",
        name="ada",
        scopes=frozenset({"openid", "products"}),
        roles=frozenset({"user", "gaf"}),
        groups=frozenset({"/survey"}),
        method="token",
    )


def test_roles_of_another_client_give_nothing(issuer: FakeIssuer) -> None:
    """An administrator of another client of the realm can create a role named 'admin' there."""
    token = issuer.token(realm_access=None, resource_access={"other": {"roles": ["admin"]}})
    assert identify(verifier_of(issuer), token).roles == frozenset()


@pytest.mark.parametrize("wrong", ["admin", {"admin": 1}, 7, [["admin"]], {"roles": "admin"}, {"roles": {"admin": 1}}])
def test_rights_of_an_unexpected_type_are_ignored(issuer: FakeIssuer, wrong: Any) -> None:
    token = issuer.token(realm_access=wrong, resource_access={"landcast": wrong}, groups={"admin": 1}, scope=["admin"])
    found = identify(verifier_of(issuer), token)
    assert not found.roles | found.scopes | found.groups


@pytest.mark.parametrize("aud", ["landcast", ["landcast"], ["account", "landcast"]])
def test_the_audience_is_a_string_or_a_list(issuer: FakeIssuer, aud: Any) -> None:
    assert identify(verifier_of(issuer), issuer.token(aud=aud)).subject == "0b1c"


def test_an_access_token_by_rfc_9068_is_recognized_by_its_header(issuer: FakeIssuer) -> None:
    for kind in ("at+jwt", "application/at+jwt"):
        assert identify(verifier_of(issuer), issuer.token({"typ": kind}, typ=None)).subject == "0b1c"


def test_elliptic_curves_are_allowed_unless_the_operator_excludes_them(issuer: FakeIssuer) -> None:
    key = ec_key()
    issuer.jwks.append(jwk_of(key, "curve"))
    token = issuer.token({"kid": "curve"}, key=key, algorithm="ES256")
    assert identify(verifier_of(issuer), token).subject == "0b1c"
    assert "algorithm" in refusal(verifier_of(issuer, algorithms=("RS256",)), token)


CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"iss": "https://evil.example/realms/land"}, "not issued by"),
    ({"iss": None}, "not issued by"),
    ({"iss": ["x"]}, "not issued by"),
    ({"aud": "account"}, "audience mapper"),
    ({"aud": None}, "audience mapper"),
    ({"aud": ["landcast-qgis", "xlandcast", "LANDCAST"]}, "audience mapper"),
    ({"aud": {"landcast": 1}}, "audience mapper"),
    # A token for somebody else that was got with our client id is not for us.
    ({"aud": "account", "azp": "landcast"}, "audience mapper"),
    ({"sub": None}, "subject"),
    ({"sub": ""}, "subject"),
    ({"sub": 7}, "subject"),
    ({"sub": "a\nb"}, "subject"),
    ({"sub": "a" * 256}, "subject"),
    ({"exp": None}, "when it expires"),
    ({"exp": "never"}, "not a number"),
    ({"exp": True}, "not a number"),
    ({"exp": float("nan")}, "not a number"),
    ({"exp": float("inf")}, "not a number"),
    ({"nbf": "x"}, "not a number"),
    ({"iat": []}, "not a number"),
    ({"exp": 0}, "expired"),
    # An ID token goes through browsers, has our client as its audience and the same signature.
    ({"typ": "ID", "aud": "landcast", "nonce": "n"}, "access token"),
    ({"typ": "Refresh"}, "access token"),
    ({"typ": "Offline"}, "access token"),
    ({"typ": "Logout"}, "access token"),
    ({"typ": None}, "access token"),
    ({"typ": "bearer"}, "access token"),
    ({"typ": ["Bearer"]}, "access token"),
    ({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, "access token"),
    # Stolen from whoever has the key: sent as a plain bearer token it must be worth nothing.
    ({"cnf": {"jkt": "x"}}, "bound to a key"),
    ({"typ": "DPoP"}, "access token"),
]


@pytest.mark.parametrize(("claims", "expected"), CLAIMS)
def test_a_token_for_another_server_is_refused_with_the_reason(
    issuer: FakeIssuer, claims: dict[str, Any], expected: str
) -> None:
    verifier = verifier_of(issuer)
    assert expected in refusal(verifier, issuer.token(**claims))
    assert issuer.asked == []  # such a token makes nobody ask for its key
    assert identify(verifier, issuer.token()).subject == "0b1c"


def test_a_missing_audience_is_named_with_the_scope_that_adds_it(issuer: FakeIssuer) -> None:
    reason = refusal(verifier_of(issuer), issuer.token(aud="account"))
    assert reason == (
        "the audience of the token (aud) does not name landcast; "
        "in Keycloak an audience mapper in a scope of the client adds it"
    )


@pytest.mark.parametrize(
    ("claims", "allowed"),
    [
        ({"exp": -25}, True),
        ({"exp": -35}, False),
        ({"nbf": 25}, True),
        ({"nbf": 35}, False),
        ({"iat": 25}, True),
        ({"iat": 35}, False),
    ],
)
def test_clocks_may_differ_by_thirty_seconds(issuer: FakeIssuer, claims: dict[str, int], *, allowed: bool) -> None:
    times: dict[str, Any] = {name: int(time.time()) + seconds for name, seconds in claims.items()}
    token = issuer.token(**times)
    if allowed:
        assert identify(verifier_of(issuer), token).subject == "0b1c"
    else:
        assert "expired" in (reason := refusal(verifier_of(issuer), token)) or "not valid yet" in reason


def signed_with_the_public_key(issuer: FakeIssuer) -> str:
    pem = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    unsigned = f"{part({**RS256, 'alg': 'HS256'})}.{part(issuer.claims())}"
    return f"{unsigned}.{part(hmac.new(pem, unsigned.encode(), hashlib.sha256).digest())}"


FORGED: list[tuple[str, Callable[[FakeIssuer], str], str]] = [
    ("no signature", lambda at: f"{part({'alg': 'none', 'kid': 'first'})}.{part(at.claims())}.", "algorithm"),
    ("no signature, other case", lambda at: by_hand({**RS256, "alg": "NoNe"}, at.claims()), "algorithm"),
    ("the public key as a shared secret", signed_with_the_public_key, "algorithm"),
    ("no algorithm", lambda at: by_hand({"kid": "first"}, at.claims()), "algorithm"),
    ("a list of algorithms", lambda at: by_hand({**RS256, "alg": ["RS256"]}, at.claims()), "algorithm"),
    ("an algorithm that was not allowed", lambda at: at.token(algorithm="RS512"), "algorithm"),
    ("another key", lambda at: at.token(key=rsa_key()), "signature"),
    (
        "the key of another type",
        lambda at: at.token(key=ec_key(), algorithm="ES256"),
        "algorithm that its key is not for",
    ),
    ("an empty signature", lambda at: by_hand(RS256, at.claims(), b""), "signature"),
    ("a signature of zeros", lambda at: by_hand(RS256, at.claims(), b"\0" * 256), "signature"),
    ("claims changed", lambda at: swap_claims(at.token(), at.claims(sub="not issued by")), "signature"),
    ("no key named", lambda at: by_hand({"alg": "RS256"}, at.claims()), "kid"),
    ("a key with a number for a name", lambda at: by_hand({**RS256, "kid": 1}, at.claims()), "malformed"),
    ("a key with an endless name", lambda at: by_hand({**RS256, "kid": "k" * 300}, at.claims()), "kid"),
    ("a key of its own", lambda at: by_hand({**RS256, "jwk": jwk_of(rsa_key(), "first")}, at.claims()), "signature"),
    ("an address of a key", lambda at: by_hand({**RS256, "jku": "http://evil.example/"}, at.claims()), "signature"),
    ("an extension", lambda at: by_hand({**RS256, "crit": ["b64"], "b64": True}, at.claims()), "extension"),
    ("a payload elsewhere", lambda at: by_hand({**RS256, "crit": ["b64"], "b64": False}, at.claims()), "malformed"),
    ("a logout token", lambda at: at.token({"typ": "logout+jwt"}), "access token"),
    ("another kind of token", lambda at: at.token({"typ": "dpop+jwt"}), "access token"),
]


def swap_claims(token: str, claims: dict[str, Any]) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{part(claims)}.{signature}"


@pytest.mark.parametrize(("forge", "expected"), [row[1:] for row in FORGED], ids=[row[0] for row in FORGED])
def test_a_forged_token_is_refused(issuer: FakeIssuer, forge: Callable[[FakeIssuer], str], expected: str) -> None:
    verifier = verifier_of(issuer)
    token = forge(issuer)
    assert expected in refusal(verifier, token)
    assert expected in refusal(verifier, token)  # nor is it once it was seen


MALFORMED = [
    "",
    ".",
    "..",
    "...",
    "a.b",
    "a.b.c",
    "opaque",
    "a.b.c.d.e",
    "ä.ö.ü",
    "\udcff.a.b",
    "a" * (LARGEST + 1),
    by_hand(RS256, b"[" * 4000),
    by_hand(b"[" * 4000, {}),
    by_hand(b'{"alg":' * 800, {}),
    by_hand(RS256, b'{"exp":' + b"9" * 5000 + b"}"),
    by_hand([], {}),
    by_hand("RS256", {}),
    by_hand(None, {}),
    by_hand(RS256, []),
    by_hand(RS256, None),
    by_hand(RS256, "text"),
    by_hand(RS256, b"\xff\xfe"),
    by_hand(b"\xff\xfe", {}),
    by_hand(RS256, b"{"),
    by_hand(RS256, {}),
    by_hand(RS256, b'{"iss": "\\ud800"}'),
    by_hand({**RS256, "kid": "\ud800"}, {}),
    by_hand({**RS256, "crit": "b64"}, {}),
    by_hand({**RS256, "typ": {}}, {}),
    f" {by_hand(RS256, {})}",
    f"{by_hand(RS256, {})}\n",
    f"{part(RS256)}=.{part({})}.{part(b'x')}",
]


@pytest.mark.parametrize("token", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_token_is_refused_and_never_a_500(issuer: FakeIssuer, token: str) -> None:
    refusal(verifier_of(issuer), token)
    assert issuer.asked == []


def test_a_token_with_any_change_is_refused(issuer: FakeIssuer) -> None:
    """Bytes changed, removed, inserted at random: InvalidToken or KeysUnavailable, never another exception."""
    dice = random.Random(5)  # noqa: S311 - the same changes each time
    good = issuer.token()
    verifier = verifier_of(issuer)

    async def try_all() -> set[str]:
        outcomes = set()
        for _ in range(3000):
            at, letter = dice.randrange(len(good)), dice.choice('aZ0_-.=\n"{ä\0')
            changed = dice.choice([good[:at] + letter + good[at + 1 :], good[:at] + good[at + 1 :], good[:at]])
            try:
                await verifier.identify(changed)
            except (InvalidToken, KeysUnavailable) as error:
                outcomes.add(type(error).__name__)
            else:
                assert changed == good
        return outcomes

    assert "InvalidToken" in asyncio.run(try_all())


def test_a_token_is_never_shown(issuer: FakeIssuer, caplog: pytest.LogCaptureFixture) -> None:
    """A reader of the log, a traceback or a debugger must not be able to call under another name."""
    caplog.set_level(logging.DEBUG)
    verifier = verifier_of(issuer)
    good = issuer.token()
    said = [repr(identify(verifier, good)), repr(verifier), repr(vars(verifier))]
    for bad in (
        issuer.token(key=rsa_key()),
        issuer.token({"kid": "made-up"}),
        by_hand({**RS256, "alg": "x-secret"}, {}),
    ):
        with pytest.raises(InvalidToken) as caught:
            identify(verifier, bad)
        said += [str(caught.value), repr(caught.value), str(caught.getrepr(style="short"))]
    for text in (*said, caplog.text):
        assert good.split(".")[2][:20] not in text
        assert "made-up" not in text
        assert "x-secret" not in text


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def clocked(issuer: FakeIssuer) -> tuple[TokenVerifier, Clock]:
    made, clock = verifier_of(issuer), Clock()
    return TokenVerifier(made.rules, made.keys, clock=clock), clock


def test_a_cached_token_expires(issuer: FakeIssuer) -> None:
    verifier, clock = clocked(issuer)
    token = issuer.token()
    identify(verifier, token)
    clock.now += 329
    identify(verifier, token)
    clock.now += 2
    assert "expired" in refusal(verifier, token)
    assert "expired" in refusal(verifier, token)


def test_a_cached_token_is_not_valid_early_after_a_clock_change(issuer: FakeIssuer) -> None:
    verifier, clock = clocked(issuer)
    token = issuer.token()
    identify(verifier, token)
    clock.now -= 3600
    assert "not valid yet" in refusal(verifier, token)


def test_no_caller_gets_the_identity_of_the_previous_one(issuer: FakeIssuer) -> None:
    """The old server kept the token of a user and used it for the next caller.

    The tokens differ in one claim and have the same header; many are used concurrently and repeatedly.
    """
    verifier = verifier_of(issuer)
    tokens = {f"user{number}": issuer.token(sub=f"user{number}") for number in range(40)}

    async def ask(name: str) -> tuple[str, str | None]:
        return name, (await verifier.identify(tokens[name])).subject

    async def ask_all() -> list[tuple[str, str | None]]:
        return await asyncio.gather(*(ask(name) for name in [*tokens, *tokens, *reversed(tokens)]))

    for asked, answered in asyncio.run(ask_all()):
        assert asked == answered


def test_a_cached_token_with_another_signature_is_not_accepted(issuer: FakeIssuer) -> None:
    """If the cache compared only claims or a part, a forged token would pass as the verified one."""
    verifier = verifier_of(issuer)
    token = issuer.token()
    identify(verifier, token)
    header, claims, signature = token.split(".")
    assert "signature" in refusal(verifier, f"{header}.{claims}.{signature[::-1].replace('=', '')}")
    identify(verifier, token)
    refusal(verifier, f"{token}A")
    refusal(verifier, f"{header}.{claims}.")


def test_the_token_cache_is_bounded(issuer: FakeIssuer) -> None:
    """A client that fetches a new token for each call must not fill the memory."""
    verifier = verifier_of(issuer)

    async def ask() -> None:
        key = ec_key()
        issuer.jwks.append(jwk_of(key, "curve"))
        for number in range(REMEMBERED + 50):
            await verifier.identify(issuer.token({"kid": "curve"}, key=key, algorithm="ES256", sub=str(number)))

    asyncio.run(ask())
    assert len(verifier._verified) == REMEMBERED


def test_a_cached_token_is_fast(issuer: FakeIssuer) -> None:
    verifier = verifier_of(issuer)
    token = issuer.token()

    async def median() -> float:
        await verifier.identify(token)
        times = []
        gc.disable()
        for _ in range(2000):
            begin = time.thread_time()
            await verifier.identify(token)
            times.append(time.thread_time() - begin)
        gc.enable()
        return sorted(times)[1000]

    assert asyncio.run(median()) < 100e-6


def test_no_request_waits_for_the_issuer_once_the_server_runs(issuer: FakeIssuer) -> None:
    async def ask() -> None:
        verifier = verifier_of(issuer)
        async with verifier.running():
            asked = len(issuer.asked)
            issuer.delay = 5
            for number in range(20):
                await verifier.identify(issuer.token(sub=str(number)))
            assert len(issuer.asked) == asked

    asyncio.run(ask())


def test_a_cached_token_of_a_withdrawn_key_is_refused(issuer: FakeIssuer) -> None:
    """The operator removes a stolen key from Keycloak: its tokens must not stay valid in a cache."""
    verifier = verifier_of(issuer)
    token = issuer.token()

    async def ask() -> None:
        assert (await verifier.identify(token)).subject == "0b1c"
        issuer.rotate("second", keep=False)
        await verifier.keys._join_fetch()  # what the background does before five minutes are over
        with pytest.raises(InvalidToken, match="does not publish"):
            await verifier.identify(token)
        assert (await verifier.identify(issuer.token({"kid": "second"}))).subject == "0b1c"

    asyncio.run(ask())


def test_a_replaced_key_with_the_same_id_is_a_different_key(issuer: FakeIssuer) -> None:
    verifier = verifier_of(issuer)
    token = issuer.token()

    async def ask() -> None:
        await verifier.identify(token)
        issuer.rotate("first", keep=False)
        await verifier.keys._join_fetch()
        with pytest.raises(InvalidToken, match="signature"):
            await verifier.identify(token)

    asyncio.run(ask())
