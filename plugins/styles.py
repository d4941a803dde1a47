"""The styles of a coverage: the default one, and those of its provider's configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plugins.coverages import Band, NamedStyle
from products.classes import Classes, Rgb
from products.errors import BrokenSource
from products.raster.picture import RED_GREEN_BLUE, Style
from products.raster.ramps import RAMPS, Colours, Ramp
from products.raster.values import ValueRaster

DEFAULT_STYLE = "default"
"""The default style: the colours of the classes, red, green and blue of such bands, or a ramp for the first band."""


def ramps_of(definition: Mapping[str, Any]) -> Mapping[str, Colours]:
    """Return the ramps by name: Landcast's, then those of `ramps` of the provider."""
    own = {str(name): tuple(map(_rgb, colours)) for name, colours in (definition.get("ramps") or {}).items()}
    return {**RAMPS, **own}


def styles_of(
    definition: Mapping[str, Any], classes: Classes, bands: Sequence[Band], values: ValueRaster | None
) -> tuple[NamedStyle, ...]:
    """Return the styles, the default one first. Raises BrokenSource for an unknown class, band or ramp."""
    read = _Reader(classes, bands, ramps_of(definition), values)
    own = {str(each["id"]): read.style(each) for each in definition.get("styles") or ()}
    default = own.pop(DEFAULT_STYLE, None)
    if default is None:
        drawing = read.drawing({}, DEFAULT_STYLE)
        title = "The values as a ramp of colours"
        if not drawing.ramp:
            title = "The colours of the classes" if classes else "Red, green and blue"
        default = NamedStyle(DEFAULT_STYLE, title, drawing)
    return default, *own.values()


def channels_of(
    bands: Sequence[Band], values: ValueRaster, rescale: tuple[float, float] | None = None
) -> tuple[Ramp, ...]:
    """Return three bands as red, green and blue, and the raster's band of opacity.

    Without `rescale` bytes are drawn as they are, and other values from the lowest to the highest of each band.
    """
    limits = _BYTES if rescale is None and values.dtype == "uint8" else rescale
    colours = [Ramp(each.number, *(limits or each.limits)) for each in bands]
    if _ALPHA not in values.colours:
        return tuple(colours)
    most = 1.0 if values.dtype.startswith("f") else float(np.iinfo(values.dtype).max)
    return *colours, Ramp(values.colours.index(_ALPHA) + 1, 0, most)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the styles of the configuration."""

    classes: Classes
    bands: Sequence[Band]
    ramps: Mapping[str, Colours]
    values: ValueRaster | None

    def style(self, entry: Mapping[str, Any]) -> NamedStyle:
        name = str(entry["id"])
        return NamedStyle(name, str(entry.get("title") or name), self.drawing(entry, name))

    def drawing(self, entry: Mapping[str, Any], name: str) -> Style:
        odd = _OF_VALUES & entry.keys() if self.classes else _OF_CLASSES & entry.keys()
        if odd:
            kind = "classes" if self.classes else "values"
            raise BrokenSource(f"styles: {name}: {', '.join(sorted(odd))}: not for a raster of {kind}")
        if self.values is not None:
            channels = self._channels(self.values, entry, name)
            return Style((), ramp=None if channels else self._ramp(entry, name), channels=channels)
        hidden, only = self._values(entry.get("hide"), name), self._values(entry.get("isolate"), name)
        colours = {each["value"]: _rgb(each["colour"]) for each in entry.get("colours") or ()}
        self._values(colours, name)
        return Style(self.classes, hidden or frozenset(), only, tuple(sorted(colours.items())))

    def _values(self, given: Any, name: str) -> frozenset[int] | None:
        known = {each.value for each in self.classes}
        if unknown := sorted(set(given or ()) - known):
            raise BrokenSource(f"styles: {name}: {unknown[0]} is no class; there are {', '.join(map(str, known))}")
        return None if given is None else frozenset(given)

    def _channels(self, values: ValueRaster, entry: Mapping[str, Any], name: str) -> tuple[Ramp, ...]:
        """Return the bands of `rgb`, or those that are red, green and blue in the file; none for a ramp."""
        rescale = _rescale(entry, name)
        if "rgb" in entry:
            if odd := {"band", "ramp"} & entry.keys():
                raise BrokenSource(f"styles: {name}: {', '.join(sorted(odd))}: not together with rgb")
            known = {each.name: each for each in self.bands}
            named = [_named(each, known, self.bands[0], f"{name}: rgb") for each in entry["rgb"]]
            return channels_of(named, values, rescale)
        coloured = {each.colour: each for each in self.bands}
        is_drawn = values.dtype == "uint8" or rescale is not None
        if {"band", "ramp"} & entry.keys() or not is_drawn or not coloured.keys() >= set(RED_GREEN_BLUE):
            return ()
        return channels_of([coloured[each] for each in RED_GREEN_BLUE], values, rescale)

    def _ramp(self, entry: Mapping[str, Any], name: str) -> Ramp:
        band = _named(entry.get("band"), {each.name: each for each in self.bands}, self.bands[0], f"{name}: band")
        colours = _named(entry.get("ramp"), self.ramps, RAMPS["viridis"], f"{name}: ramp")
        return Ramp(band.number, *(_rescale(entry, name) or band.limits), colours)


_OF_CLASSES = frozenset({"hide", "isolate", "colours"})
_OF_VALUES = frozenset({"band", "rescale", "ramp", "rgb"})
_BYTES = (0.0, 255.0)
_ALPHA = "alpha"


def _rescale(entry: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    if "rescale" not in entry:
        return None
    low, high = entry["rescale"]
    if not low < high:
        raise BrokenSource(f"styles: {name}: rescale: {low} is not below {high}")
    return float(low), float(high)


def _named[T](name: Any, known: Mapping[str, T], otherwise: T, place: str) -> T:
    if name is None:
        return otherwise
    if name not in known:
        raise BrokenSource(f"styles: {place}: {name!r}: there are {', '.join(known)}")
    return known[name]


def _rgb(text: str) -> Rgb:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue
