"""Sign people in and out in a browser: authorization code with PKCE (RFC 6749, 4.1; RFC 7636; OpenID Connect)."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlencode

import anyio
from anyio import CapacityLimiter

from auth.discovery import Discovery
from auth.id_token import Expected, SignedIn, read_id_token
from auth.identity import Identity
from auth.keys.store import ApiKeys
from auth.logins import PendingLogins
from auth.logout_token import read_logout_token
from auth.refusal import InvalidToken
from auth.session import PendingLogin, Session
from auth.sessions import Sessions
from auth.token_endpoint import Granted, GrantRefused, TokenEndpoint
from auth.tokens import TokenVerifier

_LOGGER = logging.getLogger(__name__)
_SCOPE = "openid"


class SignInFailed(Exception):
    """The sign-in failed; the message is for the person and contains nothing of the request."""


@dataclass(frozen=True, slots=True)
class LoginStarted:
    """The address to redirect the browser to, and the value of its cookie."""

    address: str = field(repr=False)
    browser: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoginFinished:
    """The new session, the secret for its cookie, and the path to return to."""

    secret: str = field(repr=False)
    session: Session
    return_to: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """Signs people in at the issuer.

    Raises IssuerUnreachable, KeysUnavailable, AccessUnavailable while that is not possible.
    """

    discovery: Discovery
    endpoint: TokenEndpoint
    verifier: TokenVerifier
    logins: PendingLogins
    sessions: Sessions
    keys: ApiKeys
    redirect_uri: str
    threads: CapacityLimiter

    async def begin(self, return_to: str, browser: str | None) -> LoginStarted:
        """Begin a login that returns to a path of this server, which the caller has checked; `browser` is a cookie."""
        endpoints = await self.discovery.endpoints()
        login = await anyio.to_thread.run_sync(self.logins.begin, return_to, browser, limiter=self.threads)
        asked = {
            "response_type": "code",
            "client_id": self.verifier.rules.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": _SCOPE,
            "state": login.state,
            "nonce": login.nonce,
            "code_challenge": login.challenge,
            "code_challenge_method": "S256",
        }
        return LoginStarted(_with(endpoints.authorization, asked), login.browser)

    async def finish(self, answer: Mapping[str, str], browser: str | None, *, before: str | None) -> LoginFinished:
        """Start a session from the issuer's authorization response; `before` is the cookie of an older session.

        The state is used up, even on failure. Raises SignInFailed.
        """
        state = answer.get("state", "")
        login = await anyio.to_thread.run_sync(self.logins.take, state, browser or "", limiter=self.threads)
        if login is None:
            raise SignInFailed(
                "this login was not started in this browser, is already finished, or took longer than ten minutes"
            )
        await self._check_issuer(answer)
        code = _code_of(answer)
        try:
            granted = await self.endpoint.by_code(code, login.verifier, self.redirect_uri)
            identity, signed_in = await self._verify(granted, login)
        except GrantRefused as error:
            raise _refused(error) from error
        except InvalidToken as error:
            raise SignInFailed(f"the issuer's answer is not valid: {error.reason}") from error
        begin = partial(self._begin_session, identity, signed_in, id_token=granted["id_token"], before=before)
        secret, session = await anyio.to_thread.run_sync(begin, limiter=self.threads)
        return LoginFinished(secret, session, login.return_to)

    async def _check_issuer(self, answer: Mapping[str, str]) -> None:
        """Refuse another issuer's response before its code is sent to ours (RFC 9207)."""
        endpoints = await self.discovery.endpoints()
        given = answer.get("iss")
        if given != self.verifier.rules.issuer and (given is not None or endpoints.sends_iss):
            raise SignInFailed("the answer came from another issuer than the one that was asked (iss)")

    async def _verify(self, granted: Granted, login: PendingLogin) -> tuple[Identity, SignedIn]:
        access_token, id_token = granted.get("access_token"), granted.get("id_token")
        if not isinstance(access_token, str) or not isinstance(id_token, str):
            raise InvalidToken("a token is missing")
        signed_in = await read_id_token(
            id_token,
            Expected(login.nonce, access_token),
            rules=self.verifier.rules,
            keys=self.verifier.keys,
            now=time.time(),
        )
        identity = await self.verifier.identify(access_token)
        if identity.subject != signed_in.subject:
            raise InvalidToken("its two tokens name different people")
        return identity, signed_in

    def _begin_session(
        self, identity: Identity, signed_in: SignedIn, *, id_token: str, before: str | None
    ) -> tuple[str, Session]:
        """Start a session with a new secret, which prevents session fixation."""
        if before is not None:
            self.sessions.delete(before)
        secret, session = self.sessions.create(identity, sid=signed_in.sid, id_token=id_token)
        self.keys.refresh_rights(session.identity, signed_in.issued)
        return secret, session

    async def end_address(self, session: Session, back: str) -> str | None:
        """Return the address that ends the issuer's session too, or None if the issuer has none.

        OpenID Connect RP-Initiated Logout 1.0; `back` is the address to return to.
        """
        end_session = (await self.discovery.endpoints()).end_session
        if end_session is None:
            return None
        asked = {"client_id": self.verifier.rules.client_id, "post_logout_redirect_uri": back}
        hint = {} if session.id_token is None else {"id_token_hint": session.id_token}
        return _with(end_session, {**hint, **asked})

    async def apply_logout(self, logout_token: str) -> int:
        """End the sessions that a logout token names; return how many. Raises InvalidToken."""
        rules, keys = self.verifier.rules, self.verifier.keys
        logout = await read_logout_token(logout_token, rules=rules, keys=keys, now=time.time())
        ended = await anyio.to_thread.run_sync(self.sessions.apply_logout, logout, limiter=self.threads)
        if ended is None:
            raise InvalidToken("the logout token was used before (jti)")
        return ended


def _code_of(answer: Mapping[str, str]) -> str:
    """Return the code. Raises SignInFailed, without the error's text: anybody can craft such an address."""
    if answer.get("error") == "access_denied":
        raise SignInFailed("the login was cancelled, or the issuer denied access")
    if "error" in answer or not answer.get("code"):
        raise SignInFailed("the issuer could not sign you in")
    return answer["code"]


def _refused(error: GrantRefused) -> SignInFailed:
    """Return why the code gives no tokens: it has expired, or the issuer refuses our client."""
    if error.error == "invalid_grant":
        return SignInFailed("the login has expired at the issuer; sign in again")
    _LOGGER.error("the issuer refuses the server's client: %s; see LANDCAST_AUTH_CLIENT_SECRET", error.error[:80])
    return SignInFailed("the issuer refuses this server; tell its operator")


def _with(address: str, asked: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"
