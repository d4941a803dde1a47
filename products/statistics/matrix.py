"""What became of what between two years, as a table of shaded cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from products.statistics.drawing import LETTER, Drawing, amount, shortened

_LEFT, _NAMES, _CELL = 290, 190, 28
_SLOPE = 0.77
"""How high a name of a column stands, as a share of its length."""
_BASE = 900
_SAME, _NONE = "#e6e6e6", "#ffffff"
_NARROWEST, _WIDEST = 52, 90
_TYPE = 11

Sums = dict[int, float]


@dataclass(frozen=True, slots=True)
class _Table:
    """The changes of one place: `cells` in km2 by value before and after, `rows` and `columns` their classes."""

    cells: Mapping[tuple[int, int], float]
    rows: Mapping[int, Mapping[str, Any]]
    columns: Mapping[int, Mapping[str, Any]]

    @property
    def most(self) -> float:
        """The largest change."""
        return max((km2 for (one, other), km2 in self.cells.items() if one != other), default=0.0)


def draw_changes(drawing: Drawing, document: Mapping[str, Any]) -> None:
    """Draw a table for each place: before by row, after by column, in km2."""
    since, year = document["since"], document["year"]
    for feature in document["features"]:
        changed = f"{amount(feature['changed_km2'])} km² changed their class"
        caption = f"km². Rows: what it was in {since}; columns: what it is in {year}; grey: unchanged. {changed}."
        drawing.heading(f"{document['title']}: {feature['name']}", [caption])
        _draw(drawing, _table(feature["changes"]), (since, year))


def _table(changes: list[Mapping[str, Any]]) -> _Table:
    rows = {row["from"]["value"]: row["from"] for row in changes}
    columns = {row["to"]["value"]: row["to"] for row in changes}
    cells = {(row["from"]["value"], row["to"]["value"]): row["km2"] for row in changes}
    return _Table(cells, dict(sorted(rows.items())), dict(sorted(columns.items())))


def _draw(drawing: Drawing, table: _Table, years: tuple[int, int]) -> None:
    width = min(_WIDEST, max(_NARROWEST, (_BASE - _LEFT - 20) / (len(table.columns) + 1)))
    drawing.width = max(drawing.width, int(_LEFT + width * (len(table.columns) + 1) + 60))
    drawing.y += _NAMES
    for number, column in enumerate(table.columns.values()):
        _draw_column_name(drawing, _LEFT + width * (number + 0.5), column)
    _draw_column_name(drawing, _LEFT + width * (len(table.columns) + 0.5), {"name": f"All of {years[0]}"})
    drawing.y += 8
    for value, row in table.rows.items():
        drawing.box((20, drawing.y + 7), (14, 14), row["colour"])
        drawing.text(42, drawing.y + 18, shortened(row["name"], _LEFT - 52, 12), size=12)
        cells = [table.cells.get((value, other), 0.0) for other in table.columns]
        shades = [
            _SAME if other == value else _shade(km2, table.most)
            for other, km2 in zip(table.columns, cells, strict=True)
        ]
        _draw_cells(drawing, width, [*cells, sum(cells)], [*shades, _NONE])
    drawing.text(42, drawing.y + 18, f"All of {years[1]}", size=12)
    sums = [sum(table.cells.get((value, other), 0.0) for value in table.rows) for other in table.columns]
    _draw_cells(drawing, width, [*sums, sum(sums)], [_NONE] * (len(sums) + 1))
    drawing.y += 12


def _draw_column_name(drawing: Drawing, x: float, column: Mapping[str, Any]) -> None:
    y = drawing.y
    if "colour" in column:
        drawing.box((x - 7, y - 8), (14, 14), column["colour"])
    rotation = f"rotate(-50 {x:.1f} {y - 14:.1f})"
    drawing.text(x, y - 14, shortened(column["name"], (_NAMES - 20) / _SLOPE, 12), size=12, transform=rotation)


def _draw_cells(drawing: Drawing, width: float, cells: list[float], shades: list[str]) -> None:
    for number, (km2, shade) in enumerate(zip(cells, shades, strict=True)):
        x = _LEFT + number * width
        drawing.box((x, drawing.y), (width, _CELL), shade)
        if km2:
            drawing.text(x + width - 5, drawing.y + 18, amount(km2), size=_size(km2, width), text_anchor="end")
    drawing.y += _CELL


def _size(km2: float, width: float) -> int:
    return min(_TYPE, int((width - 8) / (len(amount(km2)) * LETTER)))


def _shade(km2: float, most: float) -> str:
    """Return from white to orange, by the root of the share so that small changes are seen."""
    if not km2 or not most:
        return _NONE
    strength = 0.15 + 0.85 * (km2 / most) ** 0.5
    red, green, blue = (round(255 + (full - 255) * strength) for full in (253, 141, 60))
    return f"#{red:02x}{green:02x}{blue:02x}"
