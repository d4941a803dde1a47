"""Check the configuration file: all errors, and all keys without effect.

`configuration.schema.yml` beside this module defines what is allowed; here are the rules beyond a JSON Schema, and the
messages.
"""

import math
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from pygeoapi.l10n import LocaleError, str2locale
from pyproj import CRS
from pyproj.exceptions import CRSError

from products.catalogue import InvalidConfiguration, catalogue_of
from products.tiling import matrix_sets_of
from routes.query.parameters import extent_of

SCHEMA = Path(__file__).with_name("configuration.schema.yml")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Findings:
    """The errors that prevent serving the configuration, and its keys without effect; a line for each."""

    flaws: tuple[str, ...]
    ignored: tuple[str, ...]


def examine(configuration: Mapping[str, Any]) -> Findings:
    """Return all findings about the configuration, without opening a file or plugin."""
    errors = [*_validator().iter_errors(configuration)]
    ignored = [line for error in errors if error.validator == "ignored" for line in _lines(error)]
    wrong = [error for error in errors if error.validator != "ignored"]
    flaws = [line for error in wrong for line in _lines(error)]
    flaws += _of_ids(configuration.get("resources"))
    flaws += _of_hidden_columns(configuration)
    flaws += _of_matrix_sets(configuration)
    flaws += _of_records(configuration)
    flaws += _of_catalogue(configuration, {tuple(error.absolute_path)[:2] for error in wrong})
    return Findings(tuple(dict.fromkeys(flaws)), tuple(dict.fromkeys(ignored)))


def _of_ids(resources: Any) -> Iterator[str]:
    """Yield the ids of collections that hide paths of others: `a/items` would be the items of `a`."""
    for name in resources if isinstance(resources, dict) else ():
        parts = str(name).split("/")
        for shorter in ("/".join(parts[:count]) for count in range(1, len(parts))):
            if shorter in resources:
                yield f"resources.{name}: lies below the address of {shorter}; allowed: an id that begins no other"


def _of_hidden_columns(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the products whose orders would deliver columns that their collection hides."""
    products, resources = configuration.get("products"), configuration.get("resources")
    for name, product in products.items() if isinstance(products, dict) else ():
        vector = product.get("vector") if isinstance(product, dict) else None
        match resources.get(vector) if isinstance(resources, dict) and isinstance(vector, str) else None:
            case {"providers": [{"properties": _}, *_]}:
                yield (
                    f"products.{name}.vector: {vector} shows some of its columns (properties), but orders deliver the "
                    "file; leave out of the file what is not to be seen"
                )


def _of_records(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the collections that shall have a record and cannot."""
    products, resources = configuration.get("products"), configuration.get("resources") or {}
    for name, resource in resources.items() if isinstance(resources, dict) else ():
        match resource:
            case {"providers": [{"name": "plugins.records.RecordProvider", "data": {"collections": [*named]}}, *_]}:
                place = f"resources.{name}.providers[0].data.collections"
                for each in filter(lambda each: isinstance(each, str), named):
                    other = resources.get(str(each))
                    if each == name or not isinstance(other, dict) or other.get("type") != "collection":
                        yield f"{place}: {each!r} is no other collection"
                    elif isinstance(products, dict) and each in products:
                        yield f"{place}: {each!r} is the id of a product, too"


def _of_matrix_sets(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the invalid tile matrix sets."""
    try:
        matrix_sets_of(configuration)
    except InvalidConfiguration as error:
        yield str(error)


def _of_catalogue(configuration: Mapping[str, Any], wrong: Container[tuple[str | int, ...]]) -> Sequence[str]:
    """Return the errors between products and collections, without products that are invalid themselves."""
    products = configuration.get("products")
    if isinstance(products, dict) and ("products",) not in wrong:
        sound = {name: entry for name, entry in products.items() if ("products", name) not in wrong}
        try:
            _ = sound and catalogue_of({**configuration, "products": sound})
        except InvalidConfiguration as error:
            return error.problems
    return ()


@cache
def _validator() -> Validator:
    kinds = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "text": lambda _, value: isinstance(value, str) and value.strip() != "",
            "time": lambda _, value: isinstance(value, date) or (isinstance(value, str) and _is_time(value)),
            "number": lambda _, value: _is_number(value),
        }
    )
    ours = {"ignored": _without_effect, "refused": _without_effect}
    formats = FormatChecker(())
    for name, wrong in _FORMATS.items():
        formats.checks(name, _Wrong)(_raising(wrong))
    made = extend(Draft202012Validator, validators=ours, type_checker=kinds)  # type: ignore[no-untyped-call] # untyped
    validator: Validator = made(_schema(), format_checker=formats)
    return validator


def _schema() -> dict[str, Any]:
    """Return the schema, read by libyaml if available, which saves a tenth of a second of every start."""
    loader: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(SCHEMA.read_bytes(), loader)  # noqa: S506  both create only data
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_time(text: str) -> bool:
    try:
        extent_of({"extents": {"temporal": {"begin": text}}})
    except ValueError:
        return False
    return True


def _without_effect(_: Validator, reason: str, value: object, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if value is not None and value != schema.get("default"):
        yield ValidationError(f"is not honoured: {reason}")


class _Wrong(ValueError):
    """A value does not have the required format; the message has the reason."""


def _raising(wrong: Callable[[Any], str]) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if reason := wrong(value):
            raise _Wrong(reason)
        return True

    return check


def _wrong_box(value: Any) -> str:
    """Return why a list is not a box: west, south, east, north in degrees, or with a height after each two."""
    if not isinstance(value, list) or not all(map(_is_number, value)):
        return ""
    if len(value) not in _BOXES:
        return "must be four numbers (west, south, east, north), or six with heights"
    half = len(value) // 2
    (west, south, *low), (east, north, *high) = value[:half], value[half:]
    sides = {"west": (west, 180), "south": (south, 90), "east": (east, 180), "north": (north, 90)}
    outside = [
        f"{side} {degrees} is not within -{most} to {most}"
        for side, (degrees, most) in sides.items()
        if abs(degrees) > most
    ]
    upside_down = [f"south {south} is above north {north}"] if south > north else []
    return ", ".join([*outside, *upside_down, *(["the lower height is above the upper"] if low > high else [])])


_BOXES = (4, 6)


def _wrong_period(value: Any) -> str:
    try:
        begin, end = extent_of({"extents": {"temporal": value}})
    except (ValueError, TypeError, AttributeError):
        return ""  # each is not a time by itself, which is reported for it
    return "begins after it ends" if begin and end and begin > end else ""


def _wrong_limits(value: Any) -> str:
    default, most = (value.get(name) if isinstance(value, dict) else None for name in ("default_items", "max_items"))
    if isinstance(default, int) and isinstance(most, int) and default > most:
        return f"default_items {default} is above max_items {most}"
    return ""


def _wrong_crs(value: Any) -> str:
    found = _SYSTEM.fullmatch(value) if isinstance(value, str) else None
    try:
        known = found is not None and CRS.from_authority(*found.groups())
    except CRSError:
        known = False
    example = "http://www.opengis.net/def/crs/EPSG/0/3035"
    return "" if known else f"{_shown(value)} is not a CRS that PROJ knows, written as {example}"


_SYSTEM = re.compile(r"https?://www\.opengis\.net/def/crs/([A-Za-z]+)/[^/]+/([A-Za-z0-9]+)")


def _wrong_language(value: Any) -> str:
    try:
        str2locale(value)
    except (LocaleError, ValueError, TypeError):
        return f"{_shown(value)} is not a language, such as en-GB" if isinstance(value, str) and value else ""
    return ""


def _wrong_broker(value: Any) -> str:
    """Return why a text is not a broker's address, without the text, which may have a password."""
    return _wrong_address(value, ("mqtt", "mqtts", "tcp", "http", "https", "amqp", "amqps", "kafka"))


def _wrong_amqp_broker(value: Any) -> str:
    return _wrong_address(value, ("amqp", "amqps"))


def _wrong_web_broker(value: Any) -> str:
    return _wrong_address(value, ("http", "https"))


def _wrong_address(value: Any, schemes: Sequence[str]) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        well = parts is None or (parts.scheme in schemes and parts.hostname and parts.port != 0)
    except ValueError:
        well = False
    return "" if well else f"is not an address that begins with {', '.join(f'{each}://' for each in schemes)}"


_FORMATS: Mapping[str, Callable[[Any], str]] = {
    "box": _wrong_box,
    "period": _wrong_period,
    "limits": _wrong_limits,
    "crs": _wrong_crs,
    "language": _wrong_language,
    "broker": _wrong_broker,
    "broker on the web": _wrong_web_broker,
    "broker RabbitMQ": _wrong_amqp_broker,
}


def _place(error: ValidationError) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    return "".join(steps).removeprefix(".")


def _lines(error: ValidationError) -> Iterator[str]:
    place, value, schema = _place(error), _any(error.instance), _any(error.schema)
    inside = f"{place}." if place else ""
    known = schema.get("properties", {})
    match error.validator:
        case "additionalProperties":
            ours = "patternProperties" not in schema
            unknown = [name for name in value if name not in known and (ours or not name.startswith(_EXTENSION))]
            yield from (f"{inside}{name}: unknown; {_meant(name, known)}" for name in unknown)
        case "required":
            (name,) = [name for name in schema["required"] if error.message.startswith(f"{name!r} ")]
            near = get_close_matches(name, [each for each in value if each not in known], 1)
            yield f"{inside}{name}: missing" + (f"; is {near[0]!r} meant for it?" if near else "")
        case _ if "propertyNames" in error.absolute_schema_path:
            yield f"{inside}{value}: {_wording(error)}"
        case _:
            yield f"{place}: {_wording(error)}"


_EXTENSION = "x-"
"""Prefix of names for the operator's own use, such as anchors."""


def _any(value: Any) -> Any:
    """Return the value, which is set in all errors of a validator, although its type allows unset."""
    return value


def _meant(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"allowed: {', '.join(known)}"


def _wording(error: ValidationError) -> str:
    value, expected = error.instance, _any(error.validator_value)
    messages: Mapping[str, Callable[[], str]] = {
        "type": lambda: _wrong_type(value, [expected] if isinstance(expected, str) else expected),
        "enum": lambda: f"{_shown(value)} is none of {', '.join(expected)}",
        "const": lambda: f"{_shown(value)} is not what this plugin reads, which is {expected}",
        "minimum": lambda: f"{value} is below {expected}",
        "maximum": lambda: f"{value} is above {expected}",
        "pattern": lambda: f"{_shown(value)}: must be {_any(error.schema)['$comment']}",
        "minItems": lambda: "is empty" if not value else f"has less than {expected} values",
        "maxItems": lambda: f"has more than {expected} values",
        "minProperties": lambda: "is empty",
        "dependentRequired": lambda: ", ".join(
            f"{name} needs {' and '.join(needed)}" for name, needed in expected.items() if name in _any(value)
        ),
        "format": lambda: str(error.cause),
    }
    return messages[str(error.validator)]() if error.validator in messages else error.message


_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "text": "text",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "time": "a time, such as 2023-01-01T00:00:00Z",
    "null": "nothing",
}


def _wrong_type(value: object, expected: list[str]) -> str:
    if value in (None, "") and "text" in expected:
        return "missing"
    quotable = not isinstance(value, str | dict | list) and not {"text", "string"}.isdisjoint(expected)
    quote = "; quote it" if quotable else ""
    return f"must be {' or '.join(_KINDS[each] for each in expected)}, not {_shown(value)}{quote}"


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(str(value) if isinstance(value, date) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
