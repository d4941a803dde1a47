"""The process that estimates an order of an area before it is placed."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from auth.policy import Extent
from orchestration.work import REFUSED
from processes.areas import any_area_of
from processes.base import Processor
from processes.extraction import EXAMPLE, EXTRACTION, refusal_of, size_of
from products.catalogue import Catalogue

_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
_NUMBER: Mapping[str, Any] = {"type": "number", "minimum": 0}
_KM2: Mapping[str, Any] = {"type": "number", "title": "square kilometres on the ellipsoid"}


def _object(properties: Mapping[str, Any], *required: str, **more: str) -> Mapping[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _range(unit: str) -> Mapping[str, Any]:
    bounds = dict.fromkeys(("low", "expected", "high"), _NUMBER)
    return _object({"unit": {"type": "string", "enum": [unit]}, **bounds}, "unit", *bounds)


_LEFT = _object(dict.fromkeys(("allowed", "used", "remaining"), _NUMBER), "allowed", "used", "remaining")
_CLASS = _object({"value": _COUNT, "name": {"type": "string"}, "count": _COUNT, "margin": _COUNT}, "value", "count")
_COUNTS = _object(
    {
        "total": _COUNT,
        "exact": {"type": "boolean"},
        "margin": {**_COUNT, "description": "How far `total` may be off, in 95 of 100 cases at most; 0 where exact."},
        "how": {"type": "string"},
        "classes": {"type": "array", "items": _CLASS},
    },
    *("total", "exact", "margin", "how", "classes"),
)
_ESTIMATE = _object(
    {
        "accepted": {"type": "boolean", "description": "Whether an order with these inputs would be taken."},
        "reason": {"type": "string", "description": "Why it would be refused, as an order would say it."},
        "product": EXTRACTION["product"]["schema"],
        "series": {"type": "string"},
        "year": {"type": "integer"},
        "area": _object(
            {"km2": _KM2, "bbox": {"type": "array", "items": {"type": "number"}}, "repaired": {"type": "string"}},
            *("km2", "bbox"),
        ),
        "limit": _object({"km2": _KM2}, "km2"),
        "pixels": _COUNTS,
        "polygons": _COUNTS,
        "size": _range("byte"),
        "time": _range("second"),
        "basis": _object({"orders": _COUNT, "text": {"type": "string"}}, "orders", "text"),
        "quotas": {
            "type": "array",
            "description": "What the caller has left; an order must keep to one of these. A day begins at 00:00 UTC.",
            "items": {
                "type": "object",
                "properties": {
                    **dict.fromkeys(("open-orders", "km2-a-day", "bytes-a-day"), _LEFT),
                    "until": {"type": "string", "format": "date-time", "description": "When the next day begins."},
                },
            },
        },
        "waiting": _object(
            {"orders": {**_COUNT, "description": "Orders before it, whose time is not in `time`."}}, "orders"
        ),
    },
    *("accepted", "product", "area", "limit"),
)


class EstimateProduct(Processor):
    """Estimate the size and time of an extract-product with the same inputs, and whether it would be refused."""

    work = "orchestration.work.estimate_product"
    raster = "cut"
    quick = True
    files = False

    description: ClassVar[Mapping[str, Any]] = {
        "id": "estimate-product",
        "version": "1.0.0",
        "title": "Estimate an order for an area",
        "description": "Takes the inputs of extract-product and tells, without an order, whether it would be taken or "
        "why not, the area, its pixels or polygons by class, and the expected size and time with their range.",
        "keywords": ["land cover", "CLC+ Backbone", "estimate", "size", "time"],
        "jobControlOptions": ["sync-execute"],
        "outputTransmission": ["value", "reference"],
        "inputs": EXTRACTION,
        "outputs": {
            "result": {
                "title": "The estimate",
                "description": "What an order with these inputs would be.",
                "schema": _ESTIMATE,
            }
        },
        "example": EXAMPLE,
    }
    asks_of = "extract-product"

    @override
    def place(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> Extent:
        """Return the area, of any size."""
        del catalogue
        return any_area_of(inputs["aoi"])

    @override
    def size(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> int:
        """Return that of the order that is estimated."""
        return size_of(inputs, catalogue)

    @override
    def check(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """Return the inputs as they are stored; REFUSED says why an order would be refused.

        Raises InvalidInput if the inputs cannot be read, BrokenSource.
        """
        checked = super().check(inputs, catalogue)
        refusal = refusal_of(checked, catalogue)
        return checked if refusal is None else {**checked, REFUSED: refusal.message}
