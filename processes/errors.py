"""The errors of an execution request, with messages for the caller."""

from http import HTTPStatus

from pygeoapi.error import GenericError


class InvalidInput(GenericError):
    """An input is missing, unknown, or not what the description of the process allows."""

    ogc_exception_code = "InvalidParameterValue"
    http_status_code = HTTPStatus.BAD_REQUEST
    default_msg = "an input is not allowed"

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message, user_msg=message)
        self.input = name


class AreaRefused(InvalidInput):
    """The area is larger than an order may cover."""
