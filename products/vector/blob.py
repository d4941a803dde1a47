"""The geometry blob of a GeoPackage (OGC 12-128r17, 2.1.3), whole arrays at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.errors import ShapelyError

from products.errors import BrokenSource
from products.outline import without_empty

Geometries = NDArray[Any]
"""An array of shapely geometries."""

_HEADER = np.dtype([("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srs", "<i4"), ("envelope", "<f8", 4)])
_LITTLE_ENDIAN_WITH_XY_ENVELOPE = 0b11
_FIXED_BYTES = 8
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)


def encode(geometries: Geometries, srs: int) -> list[bytes]:
    """Return a blob a geometry, none of them empty."""
    headers = np.zeros(len(geometries), _HEADER)
    headers["magic"] = b"GP"
    headers["flags"] = _LITTLE_ENDIAN_WITH_XY_ENVELOPE
    headers["srs"] = srs
    headers["envelope"] = shapely.bounds(geometries)[:, [0, 2, 1, 3]]
    bodies = shapely.to_wkb(geometries, output_dimension=2, byte_order=1, flavor="iso")
    return [header.tobytes() + body for header, body in zip(headers, bodies, strict=True)]


def decode(blobs: Sequence[bytes | None]) -> Geometries:
    """Return the geometries of the blobs, without empty parts and rings, None for None. Raises BrokenSource."""
    try:
        bodies = [blob and blob[_FIXED_BYTES + _ENVELOPE_BYTES[blob[3] >> 1 & 0b111] :] for blob in blobs]
        return without_empty(np.asarray(shapely.from_wkb(np.array(bodies, dtype=object))))
    except (IndexError, TypeError, ShapelyError) as error:
        raise BrokenSource(f"a geometry cannot be read: {error}") from error
