"""Why a token is not accepted: it is invalid, or cannot be verified now."""


class InvalidToken(Exception):
    """A token is refused; `reason` says what is wrong or missing.

    It is sent in `WWW-Authenticate`, so it contains nothing of the token, no quote and no backslash.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeysUnavailable(Exception):
    """A token cannot be verified now, because the issuer's keys are not available.

    `retry_after` is in seconds.
    """

    def __init__(self, problem: str, *, retry_after: int) -> None:
        super().__init__(problem)
        self.retry_after = retry_after
