"""The arguments of pygeoapi's handlers for coverage providers, converted to boxes and formats."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pygeoapi.provider.base import ProviderNoDataError

from plugins.coverage_query import Range, by_axis, subset_of
from plugins.coverages import CoverageProvider, Pixels
from plugins.crs import CRS84, Box, Crs, box_of, crs_named, crs_of, interval_of
from plugins.refusals import invalid, refused
from products.raster.geotiff import geotiff

Encoder = Callable[[Pixels], bytes]

_AS_JSON = ("json", "coveragejson")
_GEOTIFF = {"name": "GTiff", "mimetype": "image/tiff"}
_OPEN = "*"
_FURTHEST = 10**15
"""More than any coordinate; an integer in a query can have any number of digits."""


def _png(pixels: Pixels) -> bytes:
    return pixels.picture()


def _tiff(pixels: Pixels) -> bytes:
    return geotiff(pixels.tiff, pixels.rows)


_ENCODERS: Mapping[str, tuple[Encoder, str]] = {"image/tiff": (_tiff, ".tif"), "image/png": (_png, ".png")}


class NativeFormat:
    """The format other than JSON: `format` of a provider's configuration, by its media type; by default a GeoTIFF."""

    def __init__(self, provider_def: Mapping[str, Any]) -> None:
        given = provider_def.get("format") or _GEOTIFF
        self._name = str(given.get("name"))
        kind = str(given.get("mimetype")).partition(";")[0].strip().lower()
        self._encode: Encoder | None
        self._encode, self.suffix = _ENCODERS.get(kind, (None, ""))

    def encoder(self, name: str) -> Encoder | None:
        """Return the function that writes a format, None for CoverageJSON. Raises ProviderInvalidQueryError."""
        if name == self._name and self._encode is not None:
            return self._encode
        if name in _AS_JSON:
            return None
        raise invalid(f"f: {name!r}: allowed: {' or '.join(['json', *([self._name] if self._encode else [])])}")


def provider_at[T: CoverageProvider](provider: T, text: str) -> T:
    """Return the provider at a time.

    Raises ProviderInvalidQueryError for an invalid time, ProviderNoDataError if there is no data at that time.
    """
    with refused("datetime"):
        asked = interval_of(text)
    there = provider.now().at(asked)
    if there is None:
        raise ProviderNoDataError(user_msg="there is nothing of the coverage at that time")
    return there


def pixels_asked(
    provider: CoverageProvider,
    *,
    bbox: Sequence[float],
    bbox_crs: str | int | None,
    subsets: Mapping[str, Sequence[Any]],
) -> Box:
    """Return the box of whole pixels around that of a bbox or of ranges along axes.

    Raises ProviderInvalidQueryError, ProviderNoDataError outside of the coverage.
    """
    with refused("bbox"):
        inside = provider.inside(_box_asked(provider, bbox=bbox, bbox_crs=bbox_crs, subsets=subsets))
        box = inside and provider.snap(inside.to(provider.native))
    if box is None:
        raise ProviderNoDataError(user_msg="there is nothing of the coverage")
    return box


def _box_asked(
    provider: CoverageProvider,
    *,
    bbox: Sequence[float],
    bbox_crs: str | int | None,
    subsets: Mapping[str, Sequence[Any]],
) -> Box:
    """Return the box of a bbox or of ranges along axes, by default the whole. Raises ProviderInvalidQueryError."""
    if len(bbox) and subsets:
        raise invalid("subset: allowed without bbox only")
    if subsets:
        with refused("subset"):
            asked = by_axis((name, _range(values)) for name, values in subsets.items())
            return subset_of(provider, asked, CRS84 if asked.geographic else provider.native)
    with refused("bbox-crs"):
        crs = _system(bbox_crs)
    if not len(bbox):
        return provider.whole
    if not any(crs.name == each.name for each in provider.systems):
        raise invalid(f"bbox-crs: {bbox_crs}: allowed: {', '.join(provider.crs_list)}")
    with refused("bbox"):
        return box_of(bbox, crs)


def _system(name: str | int | None) -> Crs:
    """Return the CRS of a bbox; a bare EPSG code has x before y, as for other providers. Raises ValueError."""
    if name is None:
        return CRS84
    code = str(name)
    if code.isdecimal():
        system = crs_of(int(code))
        return replace(system, northing_first=False)
    return crs_named(code)


def _range(values: Sequence[Any]) -> Range:
    if len(values) != 2:  # noqa: PLR2004 - low and high
        raise ValueError("allowed: an interval such as 50:51")
    return _bound(values[0], float("-inf")), _bound(values[1], float("inf"))


def _bound(value: Any, otherwise: float) -> float:
    if value == _OPEN:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 - no number
        raise ValueError("allowed: a number or *")
    return float(max(-_FURTHEST, min(value, _FURTHEST)))


def check_names(names: Iterable[str], fields: Mapping[str, Any]) -> None:
    """Raise ProviderInvalidQueryError for a name that is not a field."""
    for name in names:
        if name not in fields:
            raise invalid(f"properties: {name!r}: allowed: {', '.join(fields)}")


def check_time(text: str | None) -> None:
    """Raise ProviderInvalidQueryError for an invalid time; the handlers compare it with the collection's."""
    if text is not None:
        with refused("datetime"):
            interval_of(text)
