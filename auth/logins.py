"""Store of the pending logins: begun in a browser, not finished yet."""

from datetime import timedelta

from auth.database import AccessStore
from auth.session import PendingLogin, digest, is_secret, new_secret
from sql.connect import now

PENDING = timedelta(minutes=10)
"""Time that a person has to complete the issuer's login form."""
MOST = 10_000
"""Maximum number of pending logins. Anybody can begin one, so the oldest are deleted."""
_MICROSECOND = timedelta(microseconds=1)

_SWEEP = "delete from pending_logins where expires <= :now"
_BOUND = "delete from pending_logins where number <= (select max(number) from pending_logins) - :most"
_ADD = """
insert into pending_logins (state, browser, nonce, verifier, return_to, expires)
values (:state, :browser, :nonce, :verifier, :return_to, :expires)"""
# Deleted and read in one statement: of two requests with the same state, only one succeeds.
_TAKE = """
delete from pending_logins where state = :state and browser = :browser and expires > :now
returning nonce, verifier, return_to"""


class PendingLogins(AccessStore):
    """Pending logins in `database`; a SQLite file is created if it does not exist.

    Raises AccessUnavailable.
    """

    def begin(self, return_to: str, browser: str | None = None) -> PendingLogin:
        """Begin a login that returns to a path of this server, which the caller has checked.

        A browser with other pending logins keeps its secret `browser`, so that each of its tabs can finish.
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
        """Return and delete the login with this state, begun in this browser; None if there is none."""
        if not (is_secret(state) and is_secret(browser)):
            return None
        values = {"state": digest(state), "browser": digest(browser), "now": now()}
        with self._writing() as connection:
            row = connection.execute(_TAKE, values).fetchone()
        return None if row is None else PendingLogin(row["return_to"], state, browser, row["nonce"], row["verifier"])

    def sweep(self) -> int:
        """Delete expired logins; return how many."""
        with self._writing() as connection:
            return connection.execute(_SWEEP, {"now": now()}).rowcount
