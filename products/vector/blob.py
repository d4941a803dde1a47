"""The geometry blob of a GeoPackage (OGC 12-128r17, 2.1.3), whole arrays at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.errors import ShapelyError

from products.errors import BrokenSource
from products.outline import without_empty
from products.vector.curves import Unreadable, depth_of, read_curved

Geometries = NDArray[Any]
"""An array of shapely geometries."""

_HEADER = np.dtype([("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srs", "<i4"), ("envelope", "<f8", 4)])
_LITTLE_ENDIAN_WITH_XY_ENVELOPE = 0b11
_FIXED_BYTES = 8
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)
_HEAD_BYTES, _DEEPEST = 9, 100
"""Bytes of a collection's head, and how many may lie in each other in what GEOS reads: it crashes on deep ones."""


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
    """Return the geometries of the blobs, arcs as chords, without empty parts and rings; None for None.

    Raises BrokenSource.
    """
    found = decode_each(blobs)
    for geometry in found:
        if isinstance(geometry, str):
            raise BrokenSource(f"a geometry cannot be read: {geometry}")
    return found


def decode_each(blobs: Sequence[Any]) -> Geometries:
    """Return the geometries of the blobs as `decode` does; for one that cannot be read, text that says why."""
    bodies = [_body(blob) for blob in blobs]
    read = np.full(len(blobs), None, dtype=object)
    try:
        read[:] = shapely.from_wkb(
            np.array([body if isinstance(body, bytes) and _is_flat(body) else None for body in bodies], dtype=object)
        )
    except (ShapelyError, NotImplementedError):
        read[:] = [_geometry(body) if isinstance(body, bytes) else None for body in bodies]
    for place, body in enumerate(bodies):
        if isinstance(body, str):
            read[place] = body
        elif body is not None and (read[place] is None or isinstance(read[place], shapely.GeometryCollection)):
            read[place] = _curved(body)  # GEOS reads arcs in a collection, and shapely fails on them later
    geometries = np.array([isinstance(geometry, shapely.Geometry) for geometry in read], dtype=bool)
    read[geometries] = without_empty(read[geometries])
    return read


def _body(blob: Any) -> bytes | str | None:
    """Return the WKB of a blob, text where it has none."""
    if blob is None:
        return None
    if not isinstance(blob, bytes) or len(blob) <= _FIXED_BYTES or blob[:2] != b"GP":
        return "it is no geometry of a GeoPackage"
    code = blob[3] >> 1 & 0b111
    if code >= len(_ENVELOPE_BYTES):
        return f"its envelope is of kind {code}"
    return blob[_FIXED_BYTES + _ENVELOPE_BYTES[code] :]


def _is_flat(body: bytes) -> bool:
    """Tell whether so few collections lie in each other that GEOS can read the WKB."""
    return len(body) <= _HEAD_BYTES * _DEEPEST or depth_of(body) <= _DEEPEST


def _geometry(body: bytes) -> Any:
    if not _is_flat(body):
        return _curved(body)
    try:
        return shapely.from_wkb(body)
    except (ShapelyError, NotImplementedError):
        return _curved(body)


def _curved(body: bytes) -> Any:
    try:
        with np.errstate(invalid="ignore"):  # shapely warns of coordinates that are no number
            return read_curved(body)
    except Unreadable as error:
        return f"{error}"
