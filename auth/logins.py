"""The browser logins that were begun and not come back from."""

from datetime import timedelta

from auth.database import AccessDatabase
from auth.session import PendingLogin, digest, is_secret, new_secret
from sql.times import now

PENDING = timedelta(minutes=10)
"""How long a person has for the issuer's form."""
MOST = 10_000
"""How many are kept: anybody may begin one, so the oldest give way."""
_MICROSECOND = timedelta(microseconds=1)

_SWEEP = "delete from pending_logins where expires <= :now"
_BOUND = "delete from pending_logins where number <= (select max(number) from pending_logins) - :most"
_ADD = """
insert into pending_logins (state, browser, nonce, verifier, return_to, expires)
values (:state, :browser, :nonce, :verifier, :return_to, :expires)"""
# Deleted and read in one statement: of two that bring the same state, one gets it.
_TAKE = """
delete from pending_logins where state = :state and browser = :browser and expires > :now
returning nonce, verifier, return_to"""


class PendingLogins(AccessDatabase):
    """Keep pending logins in the database at `place`; one of SQLite is made when it is not there.

    Raises AccessUnavailable.
    """

    def begin(self, return_to: str, browser: str | None = None) -> PendingLogin:
        """Remember a login that leads back to a path of ours; the caller has checked that it is one.

        A `browser` that has begun others keeps its secret, so that each of its tabs can come back.
        """
        same = browser if browser is not None and is_secret(browser) else new_secret()
        login = PendingLogin(return_to, new_secret(), same, new_secret(), new_secret())
        present = now()
        values = {
            "state": digest(login.state),
            "browser": digest(login.browser),
            "nonce": login.nonce,
            "verifier": login.verifier,
            "return_to": return_to,
            "expires": present + PENDING // _MICROSECOND,
        }
        with self._writing() as connection:
            connection.execute(_SWEEP, {"now": present})
            connection.execute(_ADD, values)
            connection.execute(_BOUND, {"most": MOST})
        return login

    def take(self, state: str, browser: str) -> PendingLogin | None:
        """Return the login of a state that came back to the browser it was begun in, exactly once; else None."""
        if not (is_secret(state) and is_secret(browser)):
            return None
        values = {"state": digest(state), "browser": digest(browser), "now": now()}
        with self._writing() as connection:
            row = connection.execute(_TAKE, values).fetchone()
        return None if row is None else PendingLogin(row["return_to"], state, browser, row["nonce"], row["verifier"])

    def sweep(self) -> int:
        """Forget what nobody came back from in time; return how many."""
        with self._writing() as connection:
            return connection.execute(_SWEEP, {"now": now()}).rowcount
