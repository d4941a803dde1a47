"""What a service may answer as the result of an order."""

from typing import Any

from orchestration.services.service import Service


def answer_of(service: Service, answer: Any) -> Any:
    """Return an answer that says something: an object, an array or a text with something in it.

    Raises ServiceFailed.
    """
    if not isinstance(answer, dict | list | str) or not answer:
        raise service.nonsense("it says nothing: neither an object, an array nor a text with something in it")
    return answer
