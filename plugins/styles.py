"""The styles of a coverage: the default one, and those of its provider's configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugins.coverages import Band, NamedStyle
from products.classes import Classes, Rgb
from products.errors import BrokenSource
from products.raster.picture import Style
from products.raster.ramps import RAMPS, Colours, Ramp

DEFAULT_STYLE = "default"
"""The default style: the colours of the classes, or the default ramp for the first band."""


def ramps_of(definition: Mapping[str, Any]) -> Mapping[str, Colours]:
    """Return the ramps by name: Landcast's, then those of `ramps` of the provider."""
    own = {str(name): tuple(map(_rgb, colours)) for name, colours in (definition.get("ramps") or {}).items()}
    return {**RAMPS, **own}


def styles_of(definition: Mapping[str, Any], classes: Classes, bands: Sequence[Band]) -> tuple[NamedStyle, ...]:
    """Return the styles, the default one first. Raises BrokenSource for an unknown class, band or ramp."""
    read = _Reader(classes, bands, ramps_of(definition))
    own = {str(each["id"]): read.style(each) for each in definition.get("styles") or ()}
    title = "The colours of the classes" if classes else "The values as a ramp of colours"
    default = own.pop(DEFAULT_STYLE, None) or NamedStyle(DEFAULT_STYLE, title, read.drawing({}, DEFAULT_STYLE))
    return default, *own.values()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the styles of the configuration."""

    classes: Classes
    bands: Sequence[Band]
    ramps: Mapping[str, Colours]

    def style(self, entry: Mapping[str, Any]) -> NamedStyle:
        name = str(entry["id"])
        return NamedStyle(name, str(entry.get("title") or name), self.drawing(entry, name))

    def drawing(self, entry: Mapping[str, Any], name: str) -> Style:
        odd = _OF_VALUES & entry.keys() if self.classes else _OF_CLASSES & entry.keys()
        if odd:
            kind = "classes" if self.classes else "values"
            raise BrokenSource(f"styles: {name}: {', '.join(sorted(odd))}: not for a raster of {kind}")
        if not self.classes:
            return Style((), ramp=self._ramp(entry, name))
        hidden, only = self._values(entry.get("hide"), name), self._values(entry.get("isolate"), name)
        colours = {each["value"]: _rgb(each["colour"]) for each in entry.get("colours") or ()}
        self._values(colours, name)
        return Style(self.classes, hidden or frozenset(), only, tuple(sorted(colours.items())))

    def _values(self, given: Any, name: str) -> frozenset[int] | None:
        known = {each.value for each in self.classes}
        if unknown := sorted(set(given or ()) - known):
            raise BrokenSource(f"styles: {name}: {unknown[0]} is no class; there are {', '.join(map(str, known))}")
        return None if given is None else frozenset(given)

    def _ramp(self, entry: Mapping[str, Any], name: str) -> Ramp:
        band = _named(entry.get("band"), {each.name: each for each in self.bands}, self.bands[0], f"{name}: band")
        colours = _named(entry.get("ramp"), self.ramps, RAMPS["viridis"], f"{name}: ramp")
        low, high = entry.get("rescale") or band.limits
        if not low < high:
            raise BrokenSource(f"styles: {name}: rescale: {low} is not below {high}")
        return Ramp(band.number, float(low), float(high), colours)


_OF_CLASSES = frozenset({"hide", "isolate", "colours"})
_OF_VALUES = frozenset({"band", "rescale", "ramp"})


def _named[T](name: Any, known: Mapping[str, T], otherwise: T, place: str) -> T:
    if name is None:
        return otherwise
    if name not in known:
        raise BrokenSource(f"styles: {place}: {name!r}: there are {', '.join(known)}")
    return known[name]


def _rgb(text: str) -> Rgb:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue
