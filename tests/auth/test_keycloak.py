"""The committed realm in a real Keycloak, and its tokens."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from auth.claims import TokenRules
from auth.identity import Identity
from auth.refusal import InvalidToken
from auth.tokens import TokenVerifier, make_verifier
from tests.auth.keycloak import REALM, Keycloak


@pytest.fixture(scope="module")
def ada(keycloak: Keycloak) -> str:
    keycloak.admin("POST", "/groups", {"name": "survey"})
    return keycloak.add_user("ada", "user", groups=["/survey"])


@pytest.fixture
def verifier(keycloak: Keycloak) -> TokenVerifier:
    return make_verifier(TokenRules(keycloak.issuer, "landcast", "landcast"), timeout=5)


def refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        asyncio.run(verifier.identify(token))
    return caught.value.reason


def test_a_user_has_the_identity_from_keycloak(keycloak: Keycloak, verifier: TokenVerifier, ada: str) -> None:
    assert asyncio.run(verifier.identify(keycloak.token("ada", "openid products production"))) == Identity(
        owner=f"{keycloak.issuer}|{ada}",
        email="ada@example.org",
        subject=ada,
        name="ada",
        # She asked for 'production' too; that word is only for who has the role admin or gaf.
        scopes=frozenset({"openid", "profile", "email", "products"}),
        roles=frozenset({"user"}),
        groups=frozenset({"/survey"}),
        method="token",
    )


@pytest.mark.usefixtures("ada")
def test_no_other_token_of_keycloak_is_an_access_token(keycloak: Keycloak, verifier: TokenVerifier) -> None:
    answer = keycloak.tokens("ada", "openid offline_access")
    asyncio.run(verifier.identify(answer["access_token"]))
    assert "send the access token" in refusal(verifier, answer["id_token"])
    # Refresh tokens are signed with Keycloak's own secret (HS512).
    assert "algorithm" in refusal(verifier, answer["refresh_token"])


@pytest.mark.usefixtures("ada")
def test_a_token_for_another_server_is_refused(keycloak: Keycloak, verifier: TokenVerifier) -> None:
    assert "audience mapper" in refusal(verifier, keycloak.token("ada", client="test-other"))


def test_a_program_has_the_identity_of_its_service_account(keycloak: Keycloak, verifier: TokenVerifier) -> None:
    account = keycloak.service_account("landcast-script")
    keycloak.withdraw(account, "gaf")
    before = asyncio.run(verifier.identify(keycloak.service_token()))
    assert before.subject == account
    assert not before.roles
    assert not before.scopes & {"products", "production"}
    keycloak.grant(account, "gaf")
    after = asyncio.run(verifier.identify(keycloak.service_token()))
    assert after.roles == {"gaf"}
    assert after.scopes >= {"production"}
    assert "products" not in after.scopes
    keycloak.withdraw(account, "gaf")


def test_the_shipped_realm_has_no_passwords_and_no_secrets(keycloak: Keycloak) -> None:
    """A secret or a password in the file would be public; Keycloak makes a new one for each import."""
    text = REALM.read_text()
    realm = json.loads(text)
    assert "components" not in realm
    assert [user.keys() for user in realm["users"]] == [
        {"username", "enabled", "serviceAccountClientId", "clientRoles"}
    ]
    assert "secret" not in text.replace("client-secret", "").replace("no secret", "")
    for name in ("landcast", "landcast-script", "landcast-owners"):
        assert len(keycloak.client(name)["secret"]) >= 32
    secrets = {keycloak.client(name)["secret"] for name in ("landcast", "landcast-script", "landcast-owners")}
    assert len(secrets) == 3


def ours() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(REALM.read_text())["clients"]
    return found


@pytest.mark.parametrize("client", [one["clientId"] for one in ours()])
def test_no_client_allows_password_or_implicit_grants(keycloak: Keycloak, client: str) -> None:
    found = keycloak.client(client)
    assert not found["directAccessGrantsEnabled"]
    assert not found["implicitFlowEnabled"]
    # Only our four roles go into its tokens: not those with which the realm is administered.
    assert not found["fullScopeAllowed"]
    if found["standardFlowEnabled"]:
        assert found["attributes"]["pkce.code.challenge.method"] == "S256"
        assert not any("*" in address for address in found["redirectUris"])


def test_the_configured_addresses_exist_in_keycloak(keycloak: Keycloak) -> None:
    found = keycloak.client("landcast")
    assert found["redirectUris"] == ["http://127.0.0.1:5000/auth/callback"]
    assert found["attributes"]["backchannel.logout.url"] == "http://127.0.0.1:5000/auth/backchannel-logout"
    assert set(keycloak.client("landcast-qgis")["redirectUris"]) == {"http://127.0.0.1:7070/", "http://localhost:7070/"}


@pytest.fixture
def bob(keycloak: Keycloak) -> Iterator[str]:
    user = keycloak.add_user("bob", "user", "geoville")
    yield user
    keycloak.admin("DELETE", f"/users/{user}")


@pytest.mark.usefixtures("bob")
def test_keys_that_are_withdrawn_end_their_tokens(keycloak: Keycloak, verifier: TokenVerifier) -> None:
    async def ask() -> None:
        old = keycloak.token("bob")
        assert (await verifier.identify(old)).roles == {"user", "geoville"}
        keycloak.rotate_keys()
        await verifier.identify(keycloak.token("bob"))  # a key that was never seen, at once
        await verifier.identify(old)
        keycloak.rotate_keys(keep=False)
        new = keycloak.token("bob")
        await verifier.identify(new)
        with pytest.raises(InvalidToken, match="does not publish"):
            await verifier.identify(old)

    asyncio.run(ask())
