"""The failures of Vault; whoever handles them loads nothing of its client."""


class VaultError(Exception):
    """Vault gives no secret, and asking again does not help."""


class VaultUnavailable(VaultError):
    """Vault cannot be reached, does not answer in time, is sealed or fails; it may answer later."""


class VaultForbidden(VaultError):
    """Vault answers 403: the policy of the login does not allow it, or the login has ended."""


class VaultRefused(VaultError):
    """Vault answers 400 or 401: it refuses the login, or does not know the lease."""


class SecretMissing(VaultError):
    """There is no such secret, or it lacks the key."""
