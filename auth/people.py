"""The collaborators of the account routes: sign-in, sessions, keys and tokens."""

from dataclasses import dataclass

from auth.authenticate import Authenticator
from auth.sign_in import SignIn
from auth.throttle import Throttle
from auth.token_endpoint import TokenEndpoint


@dataclass(frozen=True, slots=True)
class People:
    """The collaborators; `issuer` is the issuer's address, `password_grant` whether passwords are accepted.

    `begun` throttles the beginning of logins.
    """

    issuer: str
    authenticator: Authenticator
    sign_in: SignIn
    endpoint: TokenEndpoint
    password_grant: bool
    begun: Throttle
