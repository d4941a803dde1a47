"""Ramps: the colours from the lowest to the highest value of a band, and the steps between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from products.classes import NODATA, Rgb

Colours = tuple[Rgb, ...]
"""The colours of a ramp at equal distances, that of the lowest value first."""

VIRIDIS: Colours = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Brightness increases with the value: also for people with colour blindness."""
_FORWARD: Mapping[str, Colours] = {
    "viridis": VIRIDIS,
    "magma": ((0, 0, 4), (81, 18, 124), (182, 54, 121), (251, 136, 97), (252, 253, 191)),
    "cividis": ((0, 32, 77), (65, 77, 107), (124, 123, 120), (188, 175, 111), (255, 234, 70)),
    "gray": ((0, 0, 0), (255, 255, 255)),
    "greys": ((255, 255, 255), (0, 0, 0)),
}
RAMPS: Mapping[str, Colours] = {**_FORWARD, **{f"{name}_r": colours[::-1] for name, colours in _FORWARD.items()}}
"""By the names of matplotlib and titiler; `_r` is the reverse."""
_STEPS = NODATA


@dataclass(frozen=True, slots=True)
class Ramp:
    """The drawing of a band, counted from 1: from `low` to `high`; values beyond have the colour of the limit."""

    band: int
    low: float
    high: float
    colours: Colours = VIRIDIS

    def steps(self, values: NDArray[Any], nodata: float | None) -> NDArray[np.uint8]:
        """Return the steps of values from 0 to 254, 255 where there is no data."""
        numbers = values.astype(np.float64)
        missing = ~np.isfinite(numbers) if nodata is None else ~np.isfinite(numbers) | (values == nodata)
        places = np.where(missing, self.low, np.clip(numbers, self.low, self.high))
        steps = (places - self.low) / (self.high - self.low) * (_STEPS - 1)
        codes: NDArray[np.uint8] = np.where(missing, NODATA, np.rint(steps)).astype(np.uint8)
        return codes


@lru_cache(256)
def shades(colours: Colours) -> Colours:
    """Return the colour of each step."""
    places = np.linspace(0, len(colours) - 1, _STEPS)
    channels = [
        np.interp(places, range(len(colours)), each).round().astype(int).tolist() for each in zip(*colours, strict=True)
    ]
    return tuple(zip(*channels, strict=True))
