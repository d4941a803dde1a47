"""Estimate an order of an area before it is placed: its size, its time, whether it would be accepted."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from typing import Any

from orchestration.errors import StoreUnavailable
from orchestration.estimate.amounts import Amount, PastAmounts, amount_of
from orchestration.estimate.cost import LEAST_ORDERS, RULES, Past, Range, forecast, is_beyond
from orchestration.job import QUOTAS, Manifest, Output
from orchestration.store.past import PastOrder, count_unfinished, past_orders
from orchestration.work import REFUSED, JobContext, Part, Piece, Work, current_catalogue, seen_of
from products.area import Area, measure_area
from products.catalogue import Catalogue, Product
from products.classes import name_of
from products.errors import InvalidArea, RequestTooLarge
from products.limits import MAX_ORDER_KM2

_COUNTING = 0.4
"""Seconds for counting past orders that no estimate has counted yet; the next estimate continues."""
_UNITS = {"Raster": "pixels", "Vector": "polygons"}

_Costs = tuple[list[Past], list[Past]]
"""The sizes in bytes and times in seconds of past orders."""


def _plan(_context: JobContext) -> Sequence[Part]:
    return [{}]


def _make(_part: Part, context: JobContext) -> Piece:
    inputs = context.order.inputs
    catalogue = current_catalogue(context)
    product = catalogue.find(inputs.get("series"), inputs.get("year"))
    area = measure_area(inputs["aoi"]).within(seen_of(context))
    amount = _amount(product, inputs["product"], area)
    return {
        "accepted": REFUSED not in inputs,
        **({"reason": inputs[REFUSED]} if REFUSED in inputs else {}),
        "product": inputs["product"],
        "series": product.series,
        "year": product.year,
        "area": {
            "km2": round(area.km2, 4),
            "bbox": [round(each, 6) for each in area.geometry.bounds],
            **({"repaired": area.repaired} if area.repaired else {}),
        },
        "limit": {"km2": MAX_ORDER_KM2},
        **(_amounts(amount, product, inputs["product"]) if amount else {}),
        **(_costs(amount, inputs["product"], _past(context, product, catalogue)) if amount and amount.total else {}),
        **_waiting(context),
        **({"quotas": inputs[QUOTAS]} if QUOTAS in inputs else {}),
    }


def _amount(product: Product, kind: str, area: Area) -> Amount | None:
    """Return the amount, or None if the area is outside of the product or cannot be counted at a bounded cost."""
    with suppress(InvalidArea, RequestTooLarge):
        return amount_of(product, "Raster" if kind == "Raster" else "Vector", area)
    return None


def _amounts(amount: Amount, product: Product, kind: str) -> Mapping[str, Any]:
    rows = [
        {
            "value": value,
            "name": name_of(value, product.classes),
            "count": count,
            **({"margin": amount.margins[value]} if amount.margins else {}),
        }
        for value, count in sorted(amount.counts.items())
    ]
    exact = {"exact": amount.exact, "margin": amount.margin, "how": amount.how}
    return {_UNITS[kind]: {"total": amount.total, **exact, "classes": rows}}


def _costs(amount: Amount, kind: str, past: _Costs) -> Mapping[str, Any]:
    rules, (sizes, times) = RULES[kind], past
    size, time = forecast(rules.size, amount.total, sizes), forecast(rules.time, amount.total, times)
    return {
        "size": {"unit": "byte", **{name: round(value) for name, value in _named(size)}},
        "time": {"unit": "second", **{name: round(value, 1) for name, value in _named(time)}},
        "basis": _basis(sizes, amount.total, _UNITS[kind]),
    }


def _named(range_: Range) -> list[tuple[str, float]]:
    return list(zip(("low", "expected", "high"), astuple(range_), strict=True))


def _past(context: JobContext, product: Product, catalogue: Catalogue) -> _Costs:
    """Return the costs of orders of the same kind; none if the database cannot be read."""
    if context.orders is None:
        return [], []
    kind = context.order.inputs["product"]
    try:
        orders = past_orders(context.orders, process=context.process.asks_of, kind=kind, series=product.series)
    except StoreUnavailable:
        return [], []
    return _known(orders, PastAmounts(context.results.with_name("amounts.json"), catalogue))


def _known(orders: Sequence[PastOrder], amounts: PastAmounts) -> _Costs:
    counted = amounts.of(orders, seconds=_COUNTING) if len(orders) >= LEAST_ORDERS else {}
    known = [(counted[order.id], order) for order in orders if order.id in counted]
    sizes = [Past(amount, order.size) for amount, order in known]
    return sizes, [Past(amount, order.seconds) for amount, order in known]


def _basis(past: Sequence[Past], total: int, unit: str) -> Mapping[str, Any]:
    if len(past) < LEAST_ORDERS:
        text = f"fewer than {LEAST_ORDERS} past orders; what was measured on the sample, with a wide range"
        return {"orders": 0, "text": text}
    text = f"{len(past)} past orders: their median, and where eight of ten lie, for as many {unit}"
    if is_beyond(total, past):
        text += f"; nearly all of them were for ten times more or fewer {unit}, so the range is wider"
    return {"orders": len(past), "text": text}


def _waiting(context: JobContext) -> Mapping[str, Any]:
    """Return the number of orders that would be done before; their time is not in `time`."""
    if context.orders is None:
        return {}
    with suppress(StoreUnavailable):
        return {"waiting": {"orders": count_unfinished(context.orders, beside=context.processes.quick)}}
    return {}


def _assemble(pieces: Sequence[Piece], _context: JobContext) -> Manifest:
    (piece,) = pieces
    return (Output("result", dict(piece)),)


WORK = Work(_plan, _make, _assemble)
