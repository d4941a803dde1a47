"""The classes of the CLC+ Backbone raster: value, name, colour."""

from collections.abc import Mapping
from dataclasses import dataclass

NODATA = 255
Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class LandCoverClass:
    """One class: pixel value, English name, colour as (red, green, blue) bytes."""

    value: int
    name: str
    rgb: Rgb

    @property
    def hex(self) -> str:
        """The colour as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


Classes = tuple[LandCoverClass, ...]
"""The classes of one product, in the order of their values."""

CLASSES: Classes = (
    LandCoverClass(1, "Sealed", (255, 0, 0)),
    LandCoverClass(2, "Woody needle leaved trees", (34, 139, 34)),
    LandCoverClass(3, "Woody broadleaved deciduous trees", (128, 255, 0)),
    LandCoverClass(4, "Woody broadleaved evergreen trees", (0, 255, 8)),
    LandCoverClass(5, "Low-growing woody plants", (128, 64, 0)),
    LandCoverClass(6, "Permanent herbaceous", (204, 242, 77)),
    LandCoverClass(7, "Periodically herbaceous", (255, 255, 128)),
    LandCoverClass(8, "Lichens and mosses", (255, 128, 255)),
    LandCoverClass(9, "Non and sparsely vegetated", (191, 191, 191)),
    LandCoverClass(10, "Water", (0, 128, 255)),
    LandCoverClass(11, "Snow and ice", (0, 255, 255)),
    LandCoverClass(253, "Coastal seawater buffer", (191, 223, 255)),
    LandCoverClass(254, "Outside area", (230, 230, 230)),
)


def name_of(value: int, classes: Classes) -> str:
    """Return what a pixel value is called; one that is no class by its number."""
    return next((each.name for each in classes if each.value == value), f"Value {value}, no class")


def by_value(classes: Classes) -> Mapping[int, LandCoverClass]:
    """Return the classes by their pixel values."""
    return {land_cover.value: land_cover for land_cover in classes}
