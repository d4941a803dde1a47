"""A picture as SVG: text is escaped, nothing is loaded, no script."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

MEDIA_TYPE = "image/svg+xml"
_FONT = "font-family:system-ui,'DejaVu Sans',Arial,sans-serif"
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INK, _FAINT = "#1a1a1a", "#555555"
LETTER = 0.56
"""The width of a letter, as a share of the size of the type, on the average."""


@dataclass(slots=True)
class Drawing:
    """A picture of a width that grows downwards; `y` is where the next line goes."""

    width: int
    y: float = 0
    _root: ET.Element = field(default_factory=lambda: ET.Element("g"))

    def text(self, x: float, y: float, content: str, *, size: int = 13, **attributes: str) -> None:
        """Write a line; `y` is its base."""
        given = {"x": _number(x), "y": _number(y), "font-size": str(size), "fill": _INK, **_dashed(attributes)}
        ET.SubElement(self._root, "text", given).text = _clean(content)

    def box(self, corner: tuple[float, float], size: tuple[float, float], colour: str, *, tip: str = "") -> None:
        """Draw a rectangle with a thin edge, so that a light colour is seen too."""
        (x, y), (width, height) = corner, size
        place = {"x": _number(x), "y": _number(y), "width": _number(width), "height": _number(height)}
        box = ET.SubElement(self._root, "rect", {**place, "fill": colour, "stroke": _FAINT, "stroke-width": "0.5"})
        if tip:
            ET.SubElement(box, "title").text = _clean(tip)

    def heading(self, title: str, lines: Sequence[str]) -> None:
        """Write the title and what stands below it."""
        self.y += 34
        self.text(20, self.y, title, size=20, font_weight="bold")
        self.paragraph(lines)

    def paragraph(self, lines: Sequence[str], *, size: int = 12) -> None:
        """Write lines, broken where they are too long."""
        letters = int((self.width - 40) / (size * LETTER))
        for line in (part for each in lines for part in wrap(each, letters)):
            self.y += size + 6
            self.text(20, self.y, line, size=size, fill=_FAINT)

    def finish(self, title: str, description: str) -> str:
        """Return the picture, named and described for those who do not see it."""
        height = _number(self.y + 20)
        picture = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {self.width} {height}",
                "width": str(self.width),
                "height": height,
                "role": "img",
                "aria-labelledby": "title desc",
                "style": _FONT,
            },
        )
        ET.SubElement(picture, "title", {"id": "title"}).text = _clean(title)
        ET.SubElement(picture, "desc", {"id": "desc"}).text = _clean(description)
        ET.SubElement(picture, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
        picture.append(self._root)
        return ET.tostring(picture, encoding="unicode")


def shortened(name: str, width: float, size: int = 13) -> str:
    """Return so much of a name as has room."""
    letters = int(width / (size * LETTER))
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def amount(km2: float) -> str:
    """Return square kilometres as people read them."""
    if 0 < km2 < 0.01:  # noqa: PLR2004 - what two decimals show
        return "< 0.01"
    return f"{km2:,.2f}" if km2 < 10_000 else f"{km2:,.0f}"  # noqa: PLR2004 - above it decimals say nothing


def percent(share: float) -> str:
    """Return per cent as people read them."""
    return "< 0.1 %" if 0 < share < 0.1 else f"{share:.1f} %"  # noqa: PLR2004 - what one decimal shows


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _dashed(attributes: dict[str, Any]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in attributes.items()}


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
