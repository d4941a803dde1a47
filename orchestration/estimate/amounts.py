"""How much an order is: pixels or polygons by class; and how much past orders were, counted once and kept."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.estimate.cost import RULES
from orchestration.prebuilt.product import Kind
from orchestration.store.past import PastOrder
from products.area import Area, measure_area
from products.catalogue import Catalogue, Product
from products.classes import NODATA
from products.errors import InvalidArea, ProductError, RequestTooLarge
from products.raster.statistics import CHECKED, count_classes
from products.vector.census import MOST_NODES, count_polygons
from products.whole import whole_file

_MOST_STORED = 500
"""Past orders whose amounts are kept."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What a count may cost: pixels and nodes of the spatial index that are read, blocks in which it is checked."""

    pixels: int
    checked: int
    nodes: int


FINE = Effort(30_000_000, CHECKED, MOST_NODES)
_COARSE = Effort(4_000_000, 0, 200)


@dataclass(frozen=True, slots=True)
class Amount:
    """Pixels or polygons by class value.

    Unless it is exact their sum may be off by `margin`, each class by what `margins` says where it is known (95 %
    confidence).
    """

    counts: Mapping[int, int]
    how: str
    exact: bool = True
    margin: int = 0
    margins: Mapping[int, int] | None = None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


def amount_of(product: Product, kind: Kind, area: Area, *, effort: Effort = FINE) -> Amount | None:
    """Count what an order delivers; None where the product has no such kind.

    Raises BrokenSource, InvalidArea, RequestTooLarge.
    """
    if kind == "Raster":
        return _pixels(product.raster, area, effort)
    return None if product.vector is None else _polygons(product.vector, area, effort)


def expected_bytes(product: Product, kind: Kind, area: Area) -> int:
    """Return about how many bytes the result of an order of the area has; 0 if that cannot be said."""
    with suppress(InvalidArea, RequestTooLarge):
        amount = amount_of(product, kind, area, effort=_COARSE)
        return round(RULES[kind].size.at(amount.total)) if amount and amount.total else 0
    return 0


def _pixels(source: Path, area: Area, effort: Effort) -> Amount:
    found = count_classes(source, area, most=effort.pixels, checked=effort.checked)
    counts = {value: round(found.pixels[value]) for value in range(NODATA) if found.pixels[value]}
    if found.exact:
        return Amount(counts, "every pixel was counted")
    in_pixels = found.pixels.sum() / found.square_metres.sum()
    margins = {value: round(found.margin[value] * in_pixels) for value in counts}
    how = f"pixels {found.overview} times as wide were counted, and compared in {found.checked} blocks"
    return Amount(counts, how, exact=False, margin=sum(margins.values()), margins=margins)


def _polygons(source: Path, area: Area, effort: Effort) -> Amount:
    found = count_polygons(source, area, most=effort.nodes)
    if not found.margin:
        return Amount(found.polygons, "every polygon was counted")
    how = "estimated from a sample of the spatial index"
    return Amount(found.polygons, how, exact=False, margin=round(found.total * found.margin))


class PastAmounts:
    """How many pixels or polygons past orders were for, kept in a file of their own; losing it loses nothing."""

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        self._path = path
        self._catalogue = catalogue

    def of(self, orders: Sequence[PastOrder], *, seconds: float) -> Mapping[str, float]:
        """Return them by the orders' ids, as far as they are known after so many seconds of counting."""
        stored = self._read()
        known = {order.id: stored[order.id] for order in orders if order.id in stored}
        until, before = time.monotonic() + seconds, len(known)
        for order in orders:
            if order.id not in known and time.monotonic() < until:
                known[order.id] = self._count(order.inputs)
        if len(known) > before:
            self._write(stored | known)
        return {name: amount for name, amount in known.items() if amount > 0}

    def _count(self, inputs: Mapping[str, Any]) -> float:
        """Count coarsely; 0 where the product or the place is there no more."""
        with suppress(ProductError):
            product = self._catalogue.find(inputs.get("series"), inputs.get("year"))
            amount = amount_of(product, inputs["product"], measure_area(inputs["aoi"]), effort=_COARSE)
            return float(amount.total) if amount else 0.0
        return 0.0

    def _read(self) -> dict[str, float]:
        try:
            stored = json.loads(self._path.read_text())
            return {str(name): float(amount) for name, amount in stored.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write(self, amounts: Mapping[str, float]) -> None:
        newest = dict(list(amounts.items())[-_MOST_STORED:])
        with suppress(OSError), whole_file(self._path) as part:
            part.write_text(json.dumps(newest))
