"""Filters in CQL2 (OGC 21-065r2), read from text or JSON into a tree, that of CQL2 JSON."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import shapely
from lark import Lark, Token, Transformer, UnexpectedInput, v_args
from shapely.errors import ShapelyError

_LONGEST = 50_000
"""Maximum characters of a filter."""
_SHOWN = 80
_DEEPEST = 60
"""Maximum nesting of expressions."""
_MOST_NODES = 10_000
"""Maximum operators, properties and values of a filter, without the coordinates of its geometries."""


class FilterError(ValueError):
    """A filter that cannot be read or answered; the message names the error, its position, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on features, as CQL2 JSON.

    Coordinates of its geometries are in `crs`, as PROJ reads it, with the northing first if `northing_first`.
    """

    tree: Any
    crs: int | str = "OGC:CRS84"
    northing_first: bool = False


@lru_cache(32)
def read_text(text: str) -> Any:
    """Return the tree of a filter in CQL2 text. Raises FilterError with line and column."""
    if len(text) > _LONGEST:
        raise FilterError(f"allowed: at most {_LONGEST:,} characters")
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        token: Token | str = getattr(error, "token", text[error.pos_in_stream or 0 :][:1])
        if isinstance(token, Token) and token.type == "$END":
            raise FilterError(f"it ends too early, at character {len(text)}") from error
        found = repr(str(token)[:_SHOWN])
        raise FilterError(f"line {error.line}, column {error.column}: {found} is not expected here") from error
    return checked(tree)


def read_json(document: Any) -> Any:
    """Return the tree of a filter in CQL2 JSON, a text or a parsed value. Raises FilterError."""
    if isinstance(document, str):
        if len(document) > _LONGEST:
            raise FilterError(f"allowed: at most {_LONGEST:,} characters")
        try:
            document = json.loads(document, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise FilterError(f"no JSON: {error}") from error
    return checked(document)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def checked(tree: Any) -> Any:
    """Return the tree. Raises FilterError if it is too deep or too large."""
    nodes, level = 0, [tree]
    for _ in range(_DEEPEST):
        level = [part for each in level for part in _parts(each)]
        nodes += len(level)
        if nodes > _MOST_NODES:
            raise FilterError(f"allowed: at most {_MOST_NODES:,} operators, properties and values")
        if not level:
            return tree
    raise FilterError(f"allowed: at most {_DEEPEST} expressions inside one another")


def _parts(node: Any) -> Iterator[Any]:
    if isinstance(node, list):
        yield from node
    elif isinstance(node, dict) and "coordinates" not in node and "geometries" not in node:
        yield from node.values()


def negated(tree: Any) -> Any:
    """Return the negation of the tree."""
    return {"op": "not", "args": [tree]}


def matching_terms(text: str, fields: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the tree for features with one of these comma-separated terms in a text or as the name of a class.

    Case and accents are ignored. A term of several words matches these words in sequence. Raises FilterError for too
    many or too long terms.
    """
    terms = [" ".join(term.split()) for term in text.split(",") if term.strip()]
    if not 0 < len(terms) <= _MOST_TERMS or len(text) > _LONGEST_TERMS or "\0" in text:
        raise FilterError(f"allowed: 1 to {_MOST_TERMS} terms, of {_LONGEST_TERMS} characters together")
    return {"op": "or", "args": [False, *(has for term in terms for has in _having(term, fields))]}


_MOST_TERMS, _LONGEST_TERMS = 10, 200


def _having(term: str, fields: Mapping[str, Mapping[str, Any]]) -> Iterator[Any]:
    pattern = f"%{re.sub(r'([\\\\%_])', r'\\\1', term)}%"
    for name, field in fields.items():
        if field.get("type") == "string" and not field.keys() & {"format", "contentEncoding"}:
            yield {"op": "like", "args": [_folded({"property": name}), _folded(pattern)]}
        named = [each["const"] for each in field.get("oneOf", ()) if term.casefold() in each["title"].casefold()]
        if named:
            yield {"op": "in", "args": [{"property": name}, named]}


def _folded(node: Any) -> Any:
    return {"op": "casei", "args": [{"op": "accenti", "args": [node]}]}


@cache
def _parser() -> Lark:
    grammar = files("products.vector").joinpath("cql2.lark").read_text()
    return Lark(grammar, parser="lalr", transformer=_Tree(), propagate_positions=False)


def _unquoted(token: str) -> str:
    mark = token[0]
    return token[1:-1].replace(mark * 2, mark)


def _number(text: str) -> int | float:
    number = float(text)
    if text.isdecimal() and len(text) < 20:  # noqa: PLR2004 - 64 bits
        return int(text)
    if not math.isfinite(number):
        raise FilterError(f"{text}: allowed: numbers below 1.8e308")
    return number


@v_args(inline=True)
class _Tree(Transformer[Token, Any]):
    """Builds the tree while the text is parsed."""

    def or_(self, *args: Any) -> Any:
        return {"op": "or", "args": list(args)}

    def and_(self, *args: Any) -> Any:
        return {"op": "and", "args": list(args)}

    def negated(self, tree: Any) -> Any:
        return negated(tree)

    def compared(self, left: Any, operator: Token, right: Any) -> Any:
        return {"op": "<>" if operator == "!=" else str(operator), "args": [left, right]}

    def like(self, left: Any, _like: Token, right: Any) -> Any:
        return {"op": "like", "args": [left, right]}

    def not_like(self, left: Any, _like: Token, right: Any) -> Any:
        return negated({"op": "like", "args": [left, right]})

    def in_(self, left: Any, right: Any) -> Any:
        return {"op": "in", "args": [left, right or []]}

    def not_in(self, left: Any, right: Any) -> Any:
        return negated(self.in_(left, right))

    def between(self, *args: Any) -> Any:
        return {"op": "between", "args": [args[0], *args[2:]]}

    def not_between(self, *args: Any) -> Any:
        return negated(self.between(*args))

    def is_null(self, tree: Any, _null: Token) -> Any:
        return {"op": "isNull", "args": [tree]}

    def not_null(self, tree: Any, _null: Token) -> Any:
        return negated({"op": "isNull", "args": [tree]})

    def calculated(self, left: Any, operator: Token, right: Any) -> Any:
        return {"op": operator.lower(), "args": [left, right]}

    def negative(self, tree: Any) -> Any:
        is_number = isinstance(tree, int | float) and not isinstance(tree, bool)
        return -tree if is_number else {"op": "*", "args": [-1, tree]}

    def array(self, first: Any, rest: list[Any]) -> list[Any]:
        return [first, *rest]

    def no_array(self) -> list[Any]:
        return []

    def number(self, token: Token) -> int | float:
        return _number(token)

    def text(self, token: Token) -> str:
        return _unquoted(token)

    def true(self, _token: Token) -> bool:
        return True

    def false(self, _token: Token) -> bool:
        return False

    def null(self, _token: Token) -> None:
        return None

    def property(self, token: Token) -> Any:
        return {"property": str(token)}

    def quoted(self, token: Token) -> Any:
        return {"property": _unquoted(token)}

    def list(self, *args: Any) -> Any:
        return [*args]

    def function(self, name: Token, args: Any) -> Any:
        args, lower = args or [], name.lower()
        if lower in {"date", "timestamp"} and len(args) == 1:
            return {lower: args[0]}
        if lower == "interval":
            return {"interval": args}
        if lower == "bbox":
            return {"bbox": args}
        known = lower.startswith(("s_", "t_", "a_")) or lower in {"casei", "accenti"}
        return {"op": lower if known else str(name), "args": args}

    def wkt(self, *tokens: str) -> str:
        return " ".join(tokens)

    def shape(self, wkt: str) -> Any:
        try:
            with np.errstate(all="ignore"):  # a number too large becomes infinite, which is refused later
                return json.loads(shapely.to_geojson(shapely.from_wkt(wkt)))
        except (ShapelyError, ValueError) as error:
            raise FilterError(f"{wkt[:80]}: is not a geometry") from error
