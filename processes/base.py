"""The base of our processes: a description, and the check of an execution against it."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from pygeoapi.process.base import BaseProcessor

from auth.policy import Extent
from orchestration.job import Manifest
from orchestration.prebuilt.product import PrebuiltProducts
from processes.errors import InvalidInput
from processes.messages import allowed, shown
from processes.product_choice import name_years, product_of
from products.catalogue import Catalogue


class Processor(BaseProcessor):
    """A process as pygeoapi loads it; the work itself runs in `orchestration.work`, never in a request."""

    description: ClassVar[Mapping[str, Any]]
    """Id, version, title, inputs, outputs and so on, as 18-062r2's process.yaml; its schemas are what is enforced."""

    work: ClassVar[str] = ""
    """The dotted name of the module whose `WORK` does its orders; empty if only Airflow executes them."""
    warm: ClassVar[str] = ""
    """A module that is imported before children are forked for its orders, in a server of its own; it must start no
    thread and leave nothing open. Empty for the server that has imported what the works of `orchestration` need."""
    quick: ClassVar[bool] = False
    """Whether its orders take seconds; then they have places of their own beside long orders."""
    files: ClassVar[bool] = True
    """Whether its results are files, so that its orders need space."""
    raster: ClassVar[Literal["cut", "whole"] | None] = None
    """What its orders have of a product's raster where their caller may see an area of it: by their work it is `cut` to
    that, or `whole`, so that orders that reach beyond are refused."""
    of_values: ClassVar[bool] = False
    """Whether its orders can be of a product of values, too; then `check_more` looks at its bands."""
    on_airflow: ClassVar[bool] = False
    """Whether a DAG named as the description's `id` executes its orders if Airflow is configured."""
    has_twin: ClassVar[bool] = False
    """Whether another DAG, `{id}-testing`, executes orders that are tests."""

    strict: ClassVar[bool] = True
    """Whether an input that is not described is refused."""

    hands_over: bool = False
    """Whether the inputs are handed to a DAG of the operator's own."""

    asks_of: str | None = None
    """The process whose orders this one only asks about; its work gets the reason why such an order would be refused.

    A class gives the `id` of its description; after loading, an instance has the id in the configuration."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        inputs = name_years(self.description["inputs"], processor_def.get("years", {}))
        options = list(self.description["jobControlOptions"])  # a handler of pygeoapi's adds to them
        super().__init__(processor_def, {**self.description, "inputs": inputs, "jobControlOptions": options})
        self.supports_outputs = True
        self._configuration: str | None = processor_def.get("configuration")
        self.dag: str = self.metadata["id"] if self.on_airflow else ""

    def in_language(self, language: str) -> "Processor":
        """Return the process described in a language, as far as it can be."""
        del language
        return self

    def check(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """Return the inputs as they are stored: checked, with defaults. Raises InvalidInput.

        The product's series and year are stored, so that a product that is added later changes no waiting order.
        """
        checked = check_inputs(self.description["inputs"], inputs)
        if "year" in self.description["inputs"]:
            product = product_of(checked, catalogue)
            if product.bands and not self.of_values:
                problem = f"{product.series} has values, not classes; allowed: a series of classes"
                raise InvalidInput("series", f"input 'series': {problem}")
            checked |= {"series": product.series, "year": product.year}
        self.check_more(checked, catalogue)
        return checked

    def execute(self, data: dict[str, Any], outputs: Any = None) -> tuple[str, Any]:
        """Do the work in this process, for a manager other than ours; the entry's `configuration` lists the products.

        Raises InvalidInput, ProcessorExecuteError.
        """
        from processes.at_once import execute_at_once  # noqa: PLC0415 - it loads the work, which no request needs

        configuration = None if self._configuration is None else Path(self._configuration)
        return execute_at_once(self, data, outputs, configuration)

    def place(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> Extent:
        """Return the extent of an order with these checked inputs, for the limits of a policy, or None."""
        del inputs, catalogue
        return None

    def size(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> int:
        """Return the bytes that a quota reserves for the result until it is done; 0 if it is small."""
        del inputs, catalogue
        return 0

    def reads(self, inputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the collections whose items an order with these unchecked inputs would read."""
        del inputs
        return ()

    def ready(self, inputs: Mapping[str, Any], catalogue: Catalogue, prebuilt: PrebuiltProducts) -> Manifest | None:
        """Return the result of an order with these checked inputs if it needs no run, else None."""
        del inputs, catalogue, prebuilt
        return None

    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Check what a schema cannot say; may read the products, so never call it on the event loop."""


FORMATS = FormatChecker(())
_MOST_HANDED_OVER = 200_000
_QUALIFIED = frozenset({"value", "mediaType", "encoding", "schema", "format"})
_LINK = frozenset({"href", "rel", "type", "hreflang", "title", "format"})
_QUALIFIERS = ("mediaType", "encoding", "schema")

Descriptions = Mapping[str, Mapping[str, Any]]


def check_inputs(descriptions: Descriptions, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with defaults filled in and qualified values (`{"value": …}`) replaced by their value.

    A binary value (`format: byte`) keeps its media type, a reference stays one, and an input that may occur more
    than once is an array. Raises InvalidInput, which names the input, the value and what is allowed.
    """
    for name in inputs:
        if name not in descriptions:
            raise InvalidInput(name, f"input {shown(name)} is unknown; allowed: {', '.join(descriptions)}")
    return dict(_checked(descriptions, inputs))


def check_handed_over(inputs: Mapping[str, Any]) -> None:
    """Raise InvalidInput for inputs that Airflow cannot store, or that are too large for its tasks and pages."""
    for name, value in inputs.items():
        if "\\u0000" in json.dumps({name: value}):
            raise InvalidInput(name, f"input {shown(name)}: a text in it has a NUL; allowed: texts without")
    if (size := len(json.dumps(inputs))) > _MOST_HANDED_OVER:
        largest = max(inputs, key=lambda each: len(json.dumps(inputs[each])))
        problem = f"the inputs are {size:,} bytes as JSON; allowed: at most {_MOST_HANDED_OVER:,}"
        raise InvalidInput(largest, problem)


def _checked(descriptions: Descriptions, inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, description in descriptions.items():
        if name in inputs:
            yield name, _occurrences(name, description, inputs[name])
        elif "default" in description["schema"]:
            yield name, description["schema"]["default"]
        elif description.get("minOccurs", 1):
            raise InvalidInput(name, f"input '{name}' is missing; allowed: {allowed(description['schema'])}")


def _occurrences(name: str, description: Mapping[str, Any], value: Any) -> Any:
    """Check one value, or each value of an array if the input may occur more than once."""
    most = description.get("maxOccurs", 1)
    if most == 1:
        return _value(name, description, value)
    values = value if isinstance(value, list) else [value]
    least = max(1, description.get("minOccurs", 1))
    if not least <= len(values) <= most:
        raise InvalidInput(name, f"input '{name}' occurs {len(values)} times; allowed: {least} to {most}")
    return [_value(f"{name}[{index}]", description, item) for index, item in enumerate(values)]


def _value(name: str, description: Mapping[str, Any], value: Any) -> Any:
    schema = description["schema"]
    if is_reference(value):
        return _reference(name, description, value)
    if not is_qualified(value):
        _validate(name, schema, value)
        return value
    qualified = _unfolded(name, value)
    _check_qualifiers(name, qualified)
    _validate(name, schema, qualified["value"])
    return qualified if schema.get("format") == "byte" else qualified["value"]


def is_qualified(value: Any) -> bool:
    """Return whether it is a qualified value: a value with its media type, encoding or schema."""
    return isinstance(value, dict) and "value" in value and value.keys() <= _QUALIFIED


def _unfolded(name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a value or link with the members of its `format`, an object in drafts of the standard, moved up to it."""
    if "format" not in value:
        return value
    format_ = value["format"]
    if not isinstance(format_, dict) or not format_.keys() <= set(_QUALIFIERS):
        raise InvalidInput(name, f"input '{name}.format': {shown(format_)}; allowed: {', '.join(_QUALIFIERS)}")
    return {**format_, **{member: given for member, given in value.items() if member != "format"}}


def _check_qualifiers(name: str, value: Mapping[str, Any]) -> None:
    for member in ("mediaType", "encoding"):
        if not isinstance(value.get(member, ""), str):
            raise InvalidInput(name, f"input '{name}.{member}': {shown(value[member])}; allowed: a string")


def is_reference(value: Any) -> bool:
    """Return whether it is a link to a value."""
    return isinstance(value, dict) and "href" in value and value.keys() <= _LINK


def _reference(name: str, description: Mapping[str, Any], link: Mapping[str, Any]) -> Mapping[str, Any]:
    if "byReference" not in description.get("valuePassing", ()):
        raise InvalidInput(name, f"input '{name}': {shown(link)} is a reference; allowed: a value, in the request")
    unfolded = {"type" if each == "mediaType" else each: given for each, given in _unfolded(name, link).items()}
    link = {member: given for member, given in unfolded.items() if member in _LINK}
    if not all(isinstance(member, str) for member in link.values()) or not _is_address(link["href"]):
        raise InvalidInput(name, f"input '{name}': {shown(link)}; allowed: {{'href': an http or https address}}")
    return link


def _is_address(href: str) -> bool:
    try:
        parts = urlsplit(href)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _validate(name: str, schema: Mapping[str, Any], value: Any) -> None:
    error = next(Draft202012Validator(schema, format_checker=FORMATS).iter_errors(value), None)
    if error is None:
        return
    path = name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    raise InvalidInput(name, f"input '{path}': {shown(error.instance)}; allowed: {allowed(dict(error.schema))}")


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(date.fromisoformat(value))


@FORMATS.checks("byte", raises=binascii.Error)
def _is_base64(value: object) -> bool:
    return not isinstance(value, str) or base64.b64decode(value, validate=True) is not None
