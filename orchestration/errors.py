"""What can be wrong with an order, named for the caller."""


class OrchestrationError(Exception):
    """Something of an order failed; the message is fit for the caller."""


class IdempotencyConflict(OrchestrationError):
    """The idempotency key was used before with another request."""


class TooManyOpenOrders(OrchestrationError):
    """The owner has as many unfinished orders as they may have."""


class NotAdmitted(OrchestrationError):
    """No such order is taken now; it may come again after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


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


class WorkflowUnavailable(OrchestrationError):
    """Airflow could not be asked, or gave no answer that says what came of it; it is asked again later.

    `reached` is False where it cannot have heard of it, `answered` True where something answered, which made no sense.
    """

    def __init__(self, message: str, *, reached: bool = True, answered: bool = False) -> None:
        super().__init__(message)
        self.reached = reached
        self.answered = answered


class WorkflowRefused(OrchestrationError):
    """Airflow understood and will not do it: `status` is that of HTTP."""

    def __init__(self, message: str, status: int, *, about_the_token: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.is_about_the_token = about_the_token


class AttemptOver(OrchestrationError):
    """The attempt is not the running one: its order was dismissed or is run again; what it makes is of no use."""


class NoSpaceLeft(OrchestrationError):
    """The disk is full; the order waits until there is space."""


class ServiceFailed(OrchestrationError):
    """A service of production gave no answer that is one; it is asked again."""


class ServiceRefused(ServiceFailed):
    """A service of production answered 400 or 404: it will not do this, whenever it is asked."""


class ServiceNotSetUp(ServiceFailed):
    """Airflow has no connection to a service, or one without a usable address; asking again changes nothing."""


class ManyMetrics(ServiceFailed):
    """A model takes one metric a feature, and there are more; asking again changes nothing."""
