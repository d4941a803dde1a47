"""What the routes for people need: sign-in, sessions, keys and tokens."""

from dataclasses import dataclass

from auth.authenticate import Authenticator
from auth.sign_in import SignIn
from auth.token_endpoint import TokenEndpoint


@dataclass(frozen=True, slots=True)
class People:
    """The collaborators; `issuer` is the issuer's address, `password_grant` says whether passwords are taken."""

    issuer: str
    authenticator: Authenticator
    sign_in: SignIn
    endpoint: TokenEndpoint
    password_grant: bool
