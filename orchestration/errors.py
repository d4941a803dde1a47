"""The errors of orders, with messages for the caller."""


class OrchestrationError(Exception):
    """Something of an order failed; the message is fit for the caller."""


class IdempotencyConflict(OrchestrationError):
    """The idempotency key was used before with another request."""


class UnknownUnit(OrchestrationError):
    """The order is for a unit that its process does not have."""


class TooManyOpenOrders(OrchestrationError):
    """The owner has as many unfinished orders as they may have."""


class QuotaUsedUp(OrchestrationError):
    """The owner has ordered as much as they may in a day; the next one begins in `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class NotAdmitted(OrchestrationError):
    """No such order is accepted now; it can be sent again after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class UpdateRefused(OrchestrationError):
    """A back end's update is not allowed in the current status of the order."""


class StoreUnavailable(OrchestrationError):
    """The database of the orders cannot be reached or written."""


class WorkFailed(OrchestrationError):
    """The work itself found that it cannot be done; the message is the reason the caller reads."""


class ReferenceRefused(OrchestrationError):
    """An input by reference is not fetched: its address, size, time or answer is not allowed."""


class AddressRefused(ReferenceRefused):
    """An address is not on the public internet."""


class Unreachable(OrchestrationError):
    """The receiver of a notification gave no answer."""


class ResultMissing(OrchestrationError):
    """A file of a result is missing."""


class RunnerUnavailable(OrchestrationError):
    """No run can be started now; the order waits."""


class WorkflowUnavailable(OrchestrationError):
    """Airflow did not answer, or its answer does not show the outcome; the request is repeated later.

    `reached` is False if Airflow cannot have received it, `answered` True if there was an invalid answer.
    """

    def __init__(self, message: str, *, reached: bool = True, answered: bool = False) -> None:
        super().__init__(message)
        self.reached = reached
        self.answered = answered


class WorkflowRefused(OrchestrationError):
    """Airflow refused the request with the HTTP status `status`."""

    def __init__(self, message: str, status: int, *, about_the_token: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.is_about_the_token = about_the_token


class AttemptOver(OrchestrationError):
    """The attempt is not the running one: its order was dismissed or runs again; its result is useless."""


class NoSpaceLeft(OrchestrationError):
    """The disk is full; the order waits until there is space."""


class ServiceFailed(OrchestrationError):
    """A production service gave no valid answer; the request is repeated."""


class ServiceRefused(ServiceFailed):
    """A production service answered 400 or 404; repeating the request is useless."""


class ServiceNotSetUp(ServiceFailed):
    """Airflow has no connection to a service, or one without a usable address; repeating the request is useless."""


class ManyMetrics(ServiceFailed):
    """A model takes one metric for each feature, and there are more; repeating the request is useless."""


class BrokerAway(OrchestrationError):
    """The broker refused or closed the connection, or did not answer in time."""
