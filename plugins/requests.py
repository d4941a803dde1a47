"""The request of an execution in vanilla pygeoapi, checked like by Landcast's own route."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pygeoapi.error import GenericError
from pygeoapi.process.base import BaseProcessor

from products.catalogue import Catalogue

_SEND_MAIL = "send_mail"
_BY_VALUE = (None, "value")


def checked_inputs(
    processor: BaseProcessor, inputs: Any, catalogue: Callable[[], Catalogue], refused: type[GenericError]
) -> Mapping[str, Any]:
    """Return the inputs for the store: checked by our own processes, unchanged for others. Raises `refused`."""
    if not isinstance(inputs, dict):
        raise refused(user_msg="inputs: allowed: an object of inputs by their id")
    if getattr(processor, "work", None) == "":
        raise refused(user_msg=f"{processor.metadata['id']} is executed on Airflow alone, by Landcast's own server")
    check = getattr(processor, "check", None)
    if check is None:
        return inputs
    try:
        checked: Mapping[str, Any] = check(inputs, catalogue())
    except GenericError as error:
        raise refused(str(error), user_msg=error.message) from error
    if checked.get(_SEND_MAIL) is True:
        raise refused(user_msg=f"input {_SEND_MAIL!r}: true; pygeoapi sends no mail; allowed: false")
    return checked


def checked_outputs(
    processor: BaseProcessor, outputs: Mapping[str, Any] | Sequence[str] | None, refused: type[GenericError]
) -> Mapping[str, Any] | None:
    """Return the outputs that are requested by value, None for all. Raises `refused`."""
    if not outputs:
        return None
    if not isinstance(outputs, dict | list):
        raise refused(user_msg="outputs: allowed: an object of outputs by their id")
    asked = outputs if isinstance(outputs, dict) else {str(name): {} for name in outputs}
    described = processor.metadata.get("outputs", {})
    for name, output in asked.items():
        if name not in described:
            raise refused(user_msg=f"outputs: {name!r}: allowed: {', '.join(described)}")
        if not isinstance(output, dict) or output.get("transmissionMode") not in _BY_VALUE:
            raise refused(user_msg=f"outputs.{name}: allowed: an object, with transmissionMode value")
    return asked
