"""The failures of Vault; handling them does not import its client."""


class VaultError(Exception):
    """Vault returns no secret, and another request would not help."""


class VaultUnavailable(VaultError):
    """Vault cannot be reached, does not answer in time, is sealed or fails; it may answer later."""


class VaultForbidden(VaultError):
    """Vault answers 403: the policy of the login does not allow it, or the login has ended."""


class VaultRefused(VaultError):
    """Vault answers 400 or 401: it refuses the login, or does not know the lease."""


class SecretMissing(VaultError):
    """The secret does not exist, or lacks the key."""
