"""A product of a nation, made in any number of parts."""

import json
from collections.abc import Mapping
from pathlib import Path

from products.catalogue import Product
from products.nations import Nation
from products.nations.raster import NationalRaster
from products.nations.vector import NationalVector
from products.progress import unheard

KINDS: Mapping[str, type[NationalRaster | NationalVector]] = {"Raster": NationalRaster, "Vector": NationalVector}


def make_national(kind: str, product: Product, nation: Nation, folder: Path, *, most: int = 1) -> tuple[Path, ...]:
    """Make `made.tif` or `made.gpkg` with the files beside it; steps exchange only JSON values."""
    national = KINDS[kind](product, nation)
    pieces = []
    for number, part in enumerate(national.divide(most=most)):
        path = folder / f"piece-{number}"
        made = national.write_piece(json.loads(json.dumps(part)), path, report=unheard)
        pieces.append((path, json.loads(json.dumps(made))))
    return national.join(pieces, folder, name="made", report=unheard)
