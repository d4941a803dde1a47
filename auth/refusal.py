"""Why a caller could not be made out: the token is bad, or nobody can tell."""


class InvalidToken(Exception):
    """A token is refused; `reason` says in words what is wrong or missing.

    The words are ours, hold nothing of the token and neither quote nor backslash: they go into `WWW-Authenticate`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeysUnavailable(Exception):
    """Whether a token is good cannot be told now, because the issuer's keys could not be had.

    `retry_after`: seconds after which it is worth while to ask again.
    """

    def __init__(self, problem: str, *, retry_after: int) -> None:
        super().__init__(problem)
        self.retry_after = retry_after
