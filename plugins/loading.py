"""Load the class of a configured plugin; an invalid one is reported to the operator."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

from pygeoapi.plugin import PLUGINS

Kind = Literal["provider", "process", "pubsub", "formatter"]

_BASES: Mapping[Kind, str] = {
    "provider": "pygeoapi.provider.",
    "process": "pygeoapi.process.base.BaseProcessor",
    "pubsub": "pygeoapi.pubsub.base.BasePubSubClient",
    "formatter": "pygeoapi.formatter.base.BaseFormatter",
}
"""The base class of each kind; a name that ends with a full stop is any class below the package."""


class WrongPlugin(Exception):
    """A plugin that cannot be used; the message has the reason for the operator."""


def plugin_class(kind: Kind, name: str) -> type[Any]:
    """Return the class of a plugin, by pygeoapi's short name or a dotted one. Raises WrongPlugin."""
    known: Mapping[str, str] = PLUGINS[kind]
    module, _, attribute = known.get(name, name).rpartition(".")
    if not module:
        raise WrongPlugin(f"there is no {kind} {name}; allowed: a dotted name, or {', '.join(sorted(known))}")
    try:
        found = getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # the import of a plugin may fail in any way
        raise WrongPlugin(f"{name}: {reason_of(error)}") from error
    bases = found.__mro__ if isinstance(found, type) else ()
    needed = _BASES[kind]
    if not any(_is_base(each, needed) for each in bases):
        a_base = f"a base class in {needed.rstrip('.')}" if needed.endswith(".") else needed
        raise WrongPlugin(f"{name}: is not a subclass of {a_base}")
    return found  # type: ignore[no-any-return]  # a class, as it has bases


def formatter_fault(definition: Mapping[str, Any]) -> str | None:
    """Return why a formatter cannot be made, None if it can."""
    name = str(definition["name"])
    try:
        plugin_class("formatter", name)(dict(definition))
    except WrongPlugin as error:
        return str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may fail in any way
        return f"{name}: {reason_of(error)}"
    return None


def reason_of(error: BaseException) -> str:
    """Return an exception of a plugin as text: with its type, unless Python's message names a module or attribute."""
    return str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"


def _is_base(each: type[Any], needed: str) -> bool:
    name = f"{each.__module__}.{each.__qualname__}"
    return name.startswith(needed) if needed.endswith(".") else name == needed
