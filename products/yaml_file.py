"""A YAML file that people write, read so that nothing in it is lost, and nothing can be made of it but data."""

import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, override

import yaml
from yaml.constructor import ConstructorError
from yaml.error import MarkedYAMLError
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode
from yaml.reader import ReaderError

_LONGEST = 10_000_000
_MOST = 1_000_000
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class UnreadableYaml(Exception):
    """The file is no YAML, or not of the kind that is read here; the message says where and why."""


def read_yaml(path: Path, *, variables: bool = False) -> Any:
    """Return the document of the file, which is UTF-8; with `variables` each `${NAME:-default}` in it is replaced.

    What the environment says becomes text, or a number or so as it would be if it stood there; it never becomes
    structure. Raises UnreadableYaml, OSError.
    """
    with path.open("rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise UnreadableYaml(f"is longer than {_LONGEST:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableYaml(f"line {line}: byte 0x{content[error.start]:02x} is not UTF-8") from error
    return _load(text, variables=variables)


def _load(text: str, *, variables: bool) -> Any:
    try:
        loader = _Loader(text, variables=variables)
        node = loader.get_single_node()
        if node is None:
            raise UnreadableYaml("is empty")
        if loader.unset:
            raise UnreadableYaml("; ".join(loader.unset))
        if _size(node, {}) > _MOST:
            raise UnreadableYaml(f"has aliases that make it more than {_MOST:,} values")
        return loader.construct_document(node)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableYaml(f"line {line}: the character U+{int(error.character):04X} is not allowed") from error
    except MarkedYAMLError as error:
        raise UnreadableYaml(_said(error)) from error
    except RecursionError as error:
        raise UnreadableYaml("is nested too deeply") from error


def _said(error: MarkedYAMLError) -> str:
    mark, problem = error.problem_mark or error.context_mark, error.problem or str(error.context)
    hint = "; indent with spaces, not with tabs" if r"'\t'" in problem else ""
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{problem}{hint}"


def _size(node: Node, known: dict[int, int]) -> int:
    """Return how many values the node stands for where each alias counts as what it names."""
    if not isinstance(node, CollectionNode):
        return 1
    if known.setdefault(id(node), 0) == 0:
        known[id(node)] = -1
        children = [each for pair in node.value for each in pair] if isinstance(node, MappingNode) else node.value
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    if known[id(node)] < 0:
        raise ConstructorError(None, None, "an alias names the value that contains it", node.start_mark)
    return known[id(node)]


class _Loader(yaml.SafeLoader):
    """Creates only data; a repeated key is an error, as the last would silently win, and so is one that is not text."""

    def __init__(self, text: str, *, variables: bool) -> None:
        super().__init__(text)
        self._variables = variables
        self.unset: list[str] = []
        """What is wrong with environment variables, a line each."""

    @override
    def compose_scalar_node(self, anchor: dict[Any, Node]) -> ScalarNode:
        node = super().compose_scalar_node(anchor)
        if self._variables and "${" in node.value:
            node.value = _VARIABLE.sub(lambda found: self._value_of(found, node), node.value)
            if node.style is None and node.tag == _TEXT:
                node.tag = self.resolve(ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call] # untyped
        return node

    def _value_of(self, found: re.Match[str], node: Node) -> str:
        value = os.environ.get(found[1], found[2])
        if value is None:
            default = f"${{{found[1]}:-…}}"
            self._note(node, f"{found[1]} is not set in the environment; {default} gives a default")
        elif any("\ud800" <= sign <= "\udfff" for sign in value):
            self._note(node, f"{found[1]} of the environment is not UTF-8")
        return value or ""

    def _note(self, node: Node, problem: str) -> None:
        self.unset.append(f"line {node.start_mark.line + 1}: {problem}")

    @override
    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            problem = f"{str(node.value)[:40]!r} is no {node.tag.rpartition(':')[2]}: {error}"
            raise ConstructorError(None, None, problem, node.start_mark) from error

    @override
    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                written = f"{key.value!r} " if isinstance(key, ScalarNode) else ""
                raise ConstructorError(None, None, f"the key {written}must be text: quote it", key.start_mark)
            if name in seen:
                raise ConstructorError(None, None, f"{name!r} is repeated", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)
