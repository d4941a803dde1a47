"""Adapts a process plugin of pygeoapi to our routes: completes its description, checks inputs against its schemas."""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, override

from pygeoapi.process.base import BaseProcessor

from processes.base import Processor, is_qualified, is_reference
from processes.messages import in_language, shown
from processes.schemas import check_value
from products.catalogue import Catalogue

_OPTIONS = ("sync-execute", "async-execute")
_LINK = ("href", "rel", "type", "title", "hreflang")


class PluginProcess(Processor):
    """A plugin that knows nothing of Landcast; its `execute` is called by `processes.foreign`, in a child."""

    description: ClassVar[Mapping[str, Any]] = {}
    work: ClassVar[str] = "processes.foreign"
    warm: ClassVar[str] = "processes.foreign"
    strict: ClassVar[bool] = False

    def __init__(self, plugin: BaseProcessor, *, name: str, language: str, hands_over: bool = False) -> None:
        """Describe the plugin by its configured name, in a language. Raises ValueError, TypeError."""
        BaseProcessor.__init__(self, {"name": plugin.name}, complete(plugin.metadata, name, language))
        self._plugin = plugin
        self.dag = ""
        self.hands_over = hands_over

    @override
    def in_language(self, language: str) -> Processor:
        other = copy(self)
        other.metadata = complete(self._plugin.metadata, self.metadata["id"], language)
        return other

    @override
    def check(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """Return the inputs unchanged, as pygeoapi passes them to plugins. Raises InvalidInput.

        Values are checked against valid schemas; references and qualified values are not opened.
        """
        del catalogue
        for name, value in inputs.items():
            described = self.metadata["inputs"].get(name)
            if described is not None and not is_qualified(value) and not is_reference(value):
                check_value(name, described, value)
        return dict(inputs)


def complete(metadata: Any, name: str, language: str) -> dict[str, Any]:
    """Return a plugin's metadata, completed to a description. Raises ValueError, TypeError if that is not possible.

    pygeoapi requires no key of them.
    """
    if not isinstance(metadata, Mapping):
        raise TypeError(f"its metadata are {type(metadata).__name__}, not a mapping")
    given = json.loads(json.dumps(metadata, default=str))
    keywords = in_language(given.get("keywords"), language)
    outputs = {each: _described(each, described, language) for each, described in _members(given, "outputs").items()}
    return {
        "id": name,
        "version": str(given.get("version") or "1.0.0"),
        "title": _text(given.get("title"), language) or name,
        "description": _text(given.get("description"), language),
        "keywords": [str(each) for each in keywords] if isinstance(keywords, list) else [],
        "jobControlOptions": _options(given.get("jobControlOptions")),
        "outputTransmission": ["value", "reference"],
        "links": _links(given.get("links"), language),
        "inputs": {
            each: _described(each, described, language) for each, described in _members(given, "inputs").items()
        },
        "outputs": outputs or {"result": {"title": "Result", "description": "", "schema": {}}},
        **({"example": given["example"]} if isinstance(given.get("example"), dict) else {}),
    }


def _options(given: Any) -> list[str]:
    """Return its job control options; asynchronous execution and dismissal are always among them."""
    options = [each for each in _OPTIONS if each in given] if isinstance(given, list) else ["sync-execute"]
    return [*dict.fromkeys([*options, "async-execute", "dismiss"])]


def _members(given: Mapping[str, Any], name: str) -> Mapping[str, Mapping[str, Any]]:
    members = given.get(name) or {}
    if not isinstance(members, dict):
        raise TypeError(f"its {name} are {shown(members)}, not a mapping")
    wrong = [each for each, described in members.items() if not isinstance(described, dict)]
    if wrong:
        raise ValueError(f"its {name}.{wrong[0]} is {shown(members[wrong[0]])}, not a mapping")
    return members


def _described(name: str, given: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Return the description of an input or output, whose schema is an object and whose occurrences are numbers."""
    schema = given.get("schema")
    most = given.get("maxOccurs", 1)
    return {
        **given,
        "title": _text(given.get("title"), language) or name,
        "description": _text(given.get("description"), language),
        "schema": schema if isinstance(schema, dict) else {},
        "minOccurs": _number(given.get("minOccurs"), 1),
        "maxOccurs": most if most == "unbounded" else _number(most, 1),
    }


def _number(given: Any, usual: int) -> int:
    try:
        return max(0, int(given))
    except (TypeError, ValueError, OverflowError):
        return usual


def _text(texts: Any, language: str) -> str:
    said = in_language(texts, language)
    return str(said) if said is not None else ""


def _links(given: Any, language: str) -> Sequence[Mapping[str, str]]:
    links = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    texts = [{name: _text(each[name], language) for name in _LINK if each.get(name)} for each in links]
    return [{"rel": "related", **each} for each in texts if each.get("href")]
