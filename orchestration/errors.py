"""What can be wrong with an order, named for the caller."""


class OrchestrationError(Exception):
    """Something of an order failed; the message is fit for the caller."""


class IdempotencyConflict(OrchestrationError):
    """The idempotency key was used before with another request."""


class TooManyOpenOrders(OrchestrationError):
    """The owner has as many unfinished orders as they may have."""


class UpdateRefused(OrchestrationError):
    """An order does not come from how it stands to what a back end says of it."""


class StoreUnavailable(OrchestrationError):
    """The database of the orders cannot be reached or written."""


class WorkFailed(OrchestrationError):
    """The work itself found that it cannot be done; the message is the reason the caller reads."""


class ReferenceRefused(OrchestrationError):
    """An input by reference is not fetched: its address, size, time or answer is not allowed."""


class AddressRefused(ReferenceRefused):
    """An address that is none of the public internet."""


class Unreachable(OrchestrationError):
    """An address that is to be told something gave no answer."""


class ResultMissing(OrchestrationError):
    """A file of a result is not where it must be."""


class RunnerUnavailable(OrchestrationError):
    """No run can be started now; the order waits."""


class NoSpaceLeft(OrchestrationError):
    """The disk is full; the order waits until there is space."""
