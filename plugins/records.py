"""The provider of records: one of each product, and of the collections that the operator names."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Never, Self

from pygeoapi.provider.base import BaseProvider, ProviderQueryError

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_OBJECTS = {"type": "array", "items": {"type": "object"}}
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "type": _TEXT,
    "title": _TEXT,
    "description": _TEXT,
    "keywords": _TEXTS,
    "language": {"type": "object"},
    "themes": _OBJECTS,
    "externalIds": _OBJECTS,
    "formats": _OBJECTS,
    "contacts": _OBJECTS,
    "license": _TEXT,
    "rights": _TEXT,
}
"""The properties of a record (OGC API Records 1.0)."""


class RecordProvider(BaseProvider):
    """Marks a collection whose items are records; our routes make these, as each caller sees other products.

    `data` is a mapping: `collections` are those that have a record besides the products.
    """

    reads: ClassVar[Literal["record"]] = "record"

    def __init__(self, provider_def: Mapping[str, Any]) -> None:
        super().__init__(dict(provider_def))  # type: ignore[no-untyped-call] # pygeoapi's
        self.collections: tuple[str, ...] = tuple(map(str, self.data.get("collections") or ()))
        self.get_fields()

    def get_fields(self) -> dict[str, Any]:
        """Return the properties of a record as JSON schemas by name."""
        self._fields = {name: dict(field) for name, field in FIELDS.items()}
        return self._fields

    def now(self) -> Self:
        """Return the provider: it reads no file."""
        return self

    def version(self) -> str:
        """Return a version that never changes while the configuration does not."""
        return "records"

    def query(self, *_: object, **__: object) -> Never:
        """Raise ProviderQueryError: only Landcast makes these records."""
        raise ProviderQueryError(user_msg="these records are served by Landcast alone")

    def get(self, *_: object, **__: object) -> Never:
        """Raise ProviderQueryError, as `query` does."""
        raise ProviderQueryError(user_msg="these records are served by Landcast alone")
