"""What the caller of an order may see of the raster that it reads."""

from dataclasses import replace

import shapely

from auth.access import Access, Action, Verdict
from auth.identity import current_identity
from auth.policy import RestrictionUnsupported, described_extent, union_of, visible_area
from orchestration.job import VISIBLE, Order
from processes.base import Processor
from products.area import Area
from products.catalogue import Product
from routes.resources import Resources

_SEEING = (Action.READ_COVERAGE, Action.READ_MAP, Action.READ_TILES, Action.DOWNLOAD)


def in_sight(resources: Resources, process: Processor, order: Order) -> Order:
    """Return the order of a raster with the outline of what its caller may see of it, where that is an area.

    Whoever may see nothing of the collections that show the raster orders by the grant of the process alone. Raises
    RestrictionUnsupported for an order that has nothing inside, or cannot be cut to it.
    """
    if order.inputs.get("product") == "Vector":
        return order
    product = resources.catalogue.find(order.inputs["series"], order.inputs["year"])
    verdicts = _verdicts_on(resources, product)
    area = union_of(visible_area(each) for each in verdicts)
    place = None if area is None else process.place(order.inputs, resources.catalogue)
    if area is None or (isinstance(place, Area) and shapely.covers(area.geometry, place.geometry)):
        return order
    outline = shapely.intersection(area.geometry, place.geometry) if isinstance(place, Area) else area.geometry
    if process.raster == "whole" or all(each.refuses for each in verdicts) or not shapely.area(outline):
        extent = described_extent(area)
        raise RestrictionUnsupported(f"the order reaches beyond the area of {product.title} that you may see, {extent}")
    return replace(order, inputs={**order.inputs, VISIBLE: shapely.to_wkb(outline, hex=True)})


def _verdicts_on(resources: Resources, product: Product) -> list[Verdict]:
    """Return the verdicts by which the caller may see the raster of a product."""
    identity = current_identity.get()
    shown = [id_ for id_ in product.collections if "coverage" in resources.collections[id_].kinds]
    verdicts = [resources.policy(identity, Access(action, id_)) for id_ in shown for action in _SEEING]
    return [verdict for verdict in verdicts if verdict.allowed]
