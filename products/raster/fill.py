"""Which pixels an outline holds, those whose centre lies inside: linear in its edges and the pixels that they cross."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from products.operation import Bounds
from products.outline import Polygonal

_COMPARED = 262_144
"""Pairs of an edge and a place that are compared at a time."""
_CHUNK = 65_536
"""Rows or columns crossed by edges that are looked at together, about: their arrays fit into a processor's cache."""

_Numbers = NDArray[np.float64]
_Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """What of an outline lies in a box: its edges there, and at which heights what lies left of the box changes sides.

    `x` and `y` are those of each edge's lower end, then of its upper one. A pixel whose centre lies on an edge belongs
    to what is right of it, and to what is below it, so that areas that share an edge share no pixel.
    """

    x: _Numbers
    y: _Numbers
    left: _Numbers

    @classmethod
    def of(cls, geometry: Polygonal) -> Self:
        """Return all of a valid outline."""
        x, y, _ = _edges(geometry)
        return cls(x, y, np.zeros(0))

    @property
    def whole(self) -> bool:
        """All of the box lies in the outline."""
        return not self.x.size and self.left.tolist() == [np.inf]

    def within(self, box: Bounds) -> Self | None:
        """Return what of the part lies in a box inside of its own, None where nothing does."""
        west, south, east, north = box
        near = np.flatnonzero((self.y[1] > south) & (self.y[0] < north))
        part = self
        if len(near) < self.y.shape[1]:
            part = type(self)(self.x.take(near, axis=1), self.y.take(near, axis=1), self.left)
        least, greatest = np.minimum(*part.x), np.maximum(*part.x)
        passed = greatest < west
        inside = (least <= east) & ~passed
        across = np.flatnonzero(inside & ((least < west) | (greatest > east)))
        low, high = (part._at(across, np.clip(y[across], south, north)) for y in part.y)  # noqa: SLF001 -- of this outline
        passed[across] = np.maximum(low, high) < west
        inside[across] = (np.maximum(low, high) >= west) & (np.minimum(low, high) <= east)
        x, y = (ends.take(np.flatnonzero(inside), axis=1) for ends in (part.x, part.y))
        left = np.concatenate([self.left, part.y.take(np.flatnonzero(passed), axis=1).ravel()])
        left = _odd(np.where(left < north, left, np.inf)[left > south])
        if x.size or ((left > south) & (left < north)).any():
            return type(self)(x, y, left)
        holds = np.count_nonzero(left > (south + north) / 2) % 2
        return type(self)(x, y, np.full(1, np.inf)) if holds else None

    def holds(self, points: _Numbers) -> NDArray[np.bool_]:
        """Say which places belong to the outline: what of it is near some of them, and so on, until both are few."""
        found = np.zeros(len(points), bool)
        waiting: list[tuple[Part, NDArray[np.intp]]] = [(self, np.arange(len(points)))] if len(points) else []
        while waiting:
            part, places = waiting.pop()
            (west, south), (east, north) = points[places].min(axis=0), points[places].max(axis=0)
            near = part.within((west, float(np.nextafter(south, -np.inf)), east, north))
            if near is None or near.whole:
                found[places] = near is not None
            elif (west, south) == (east, north):
                found[places] = near._hold(points[places[:1]])  # noqa: SLF001 -- a part of the same outline
            elif near.x.shape[1] * len(places) <= _COMPARED:
                found[places] = near._hold(points[places])  # noqa: SLF001
            else:
                half, axis = len(places) // 2, int(north - south > east - west)
                order = np.argpartition(points[places, axis], half)
                waiting += [(near, each) for each in np.split(places[order], [half])]
        return found

    def _hold(self, points: _Numbers) -> NDArray[np.bool_]:
        """Compare each edge with each place: inside is what has an odd number of them left of it."""
        x, y = points.T
        (low, high), least, greatest = self.y[:, :, np.newaxis], np.minimum(*self.x), np.maximum(*self.x)
        level = (low < y) & (y <= high)
        left = level & (greatest[:, np.newaxis] <= x)
        edge, place = np.nonzero(level & ~left & (least[:, np.newaxis] <= x))
        left[edge, place] = self._at(edge, y[place]) <= x[place]
        count = np.count_nonzero(left, axis=0) + len(self.left) - np.searchsorted(self.left, y)
        odd: NDArray[np.bool_] = count % 2 == 1
        return odd

    def _at(self, edge: NDArray[np.intp], y: _Numbers) -> _Numbers:
        """Return where edges are at heights."""
        x, ends = self.x[:, edge], self.y[:, edge]
        at: _Numbers = x[0] + (y - ends[0]) / (ends[1] - ends[0]) * (x[1] - x[0])
        return at

    def mask(self, transform: Affine, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which pixels of a grid, in the part's box, belong to the outline."""
        height, width = shape
        if self.whole:
            return np.ones(shape, bool)
        lines = _Lines.of(self.x, self.y, transform, shape)
        side, toggles = width + 1, np.zeros(height * (width + 1), np.int64)
        for row, column, _ in lines.rows():
            _count(toggles, row * side + column)
        turns = np.zeros((height + 1) * side, np.int64)
        for row, column, _ in lines.turns():
            _count(turns, row * side + column)
        turns[1:] += turns[:-1]  # a turn from a column to the next one is a change of both
        for row, column in ((lines.upper, lines.first), (lines.lower, lines.last)):
            _count(turns, (row * side + column)[lines.steep])
        table = toggles.reshape(height, side) + turns.reshape(height + 1, side)[:height].cumsum(axis=0)
        changes = np.clip(_row(self.left, transform), 0, height).astype(np.int64)
        table[:, 0] += np.bincount(changes, minlength=height + 1).cumsum()[:height]
        inside: NDArray[np.bool_] = (table[:, :width].cumsum(axis=1) & 1).astype(bool)
        return inside


def centres_inside(geometry: Polygonal, transform: Affine) -> int:
    """Return how many pixels of an endless grid have their centre inside: on each row those left of an edge, signed."""
    x, y, falls = _edges(shapely.orient_polygons(geometry))
    signs = np.where(falls, -1, 1)
    lines = _Lines.of(x, y, transform, None)
    signs = signs[lines.number]
    count = int((lines.first * (lines.lower - lines.upper) * signs)[lines.steep].sum())
    for _, column, line in lines.rows():
        count += int((column * signs[line]).sum())
    signs *= np.sign(lines.last - lines.first)
    for row, _, line in lines.turns():
        count += int(((lines.lower[line] - row) * signs[line]).sum())
    return abs(count)


def _edges(geometry: Polygonal) -> tuple[_Numbers, _Numbers, NDArray[np.bool_]]:
    """Return x and y of the lower and the upper ends of all edges that are not level, and which of them fall."""
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    first = np.flatnonzero((ring[1:] == ring[:-1]) & (points[1:, 1] != points[:-1, 1]))
    falls: NDArray[np.bool_] = points[first + 1, 1] < points[first, 1]
    ends = points[np.stack([first + falls, first + ~falls])]
    return ends[:, :, 0], ends[:, :, 1], falls


def _odd(heights: _Numbers) -> _Numbers:
    """Return the heights that are there an odd number of times: where one edge ends at the next no side changes."""
    found, counts = np.unique(heights, return_counts=True)
    odd: _Numbers = found[counts % 2 == 1]
    return odd


def _row(y: _Numbers, transform: Affine) -> _Numbers:
    """Return the first row whose centre is not above a height."""
    return np.ceil((y - transform.f) / transform.e - 0.5)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Edges in a grid, in rows and columns from the centre of its first pixel: their upper ends, and slopes by rows.

    Each crosses the rows from `upper` to before `lower`. The first column whose centre is not left of it is `first` on
    the first of them and `last` on the last, and between them only rises or only falls. Steep lines cross more rows
    than columns.
    """

    column: _Numbers
    row: _Numbers
    slope: _Numbers
    upper: _Places
    lower: _Places
    first: _Places
    last: _Places
    number: NDArray[np.intp]
    most: float

    @classmethod
    def of(cls, x: _Numbers, y: _Numbers, transform: Affine, shape: tuple[int, int] | None) -> Self:
        """Return what of edges lies on the rows of a grid, or of an endless one, and in its columns or beside them."""
        lower, upper = _row(y, transform)
        height, most = shape or (np.inf, np.inf)
        if shape:
            lower, upper = np.clip(lower, 0, height), np.clip(upper, 0, height)
        number = np.flatnonzero(lower > upper)
        columns = (x[:, number] - transform.c) / transform.a - 0.5
        rows = (y[:, number] - transform.f) / transform.e - 0.5
        upper, lower = upper[number].astype(np.int64), lower[number].astype(np.int64)
        slope = (columns[0] - columns[1]) / (rows[0] - rows[1])
        first, last = (_column(columns[1] + (row - rows[1]) * slope, most) for row in (upper, lower - 1))
        return cls(columns[1], rows[1], slope, upper, lower, first, last, number, most)

    @property
    def steep(self) -> NDArray[np.bool_]:
        steep: NDArray[np.bool_] = self.lower - self.upper > np.abs(self.last - self.first)
        return steep

    def rows(self) -> Iterator[tuple[_Places, _Places, NDArray[np.intp]]]:
        """Yield rows that lines cross that are not steep, the first column that is not left of them, and which."""
        for line, step in _chunks(np.flatnonzero(~self.steep), self.lower - self.upper):
            row = self.upper[line] + step
            yield row, _column(self.column[line] + (row - self.row[line]) * self.slope[line], self.most), line

    def turns(self) -> Iterator[tuple[_Places, _Places, NDArray[np.intp]]]:
        """Yield the rows on which steep lines come to the other side of a column's centre, that column, and which."""
        crossed = self.last - self.first
        for line, step in _chunks(np.flatnonzero(self.steep), crossed):
            column = self.first[line] + step
            yield self._on_line(line, np.floor(self._row_at(line, column)) + 1), column, line
        for line, step in _chunks(np.flatnonzero(self.steep), -crossed):
            column = self.first[line] - 1 - step
            yield self._on_line(line, np.ceil(self._row_at(line, column))), column, line

    def _row_at(self, line: NDArray[np.intp], column: _Places) -> _Numbers:
        """Return where lines are at columns."""
        row: _Numbers = self.row[line] + (column - self.column[line]) / self.slope[line]
        return row

    def _on_line(self, line: NDArray[np.intp], row: _Numbers) -> _Places:
        """Return rows, none of them beyond the ends of its line."""
        return np.minimum(np.maximum(row, self.upper[line]), self.lower[line] - 1).astype(np.int64)


def _column(place: _Numbers, most: float) -> _Places:
    """Return the first column whose centre is not left of places, of those that there are, or the one after them."""
    column: _Places = (np.clip(np.ceil(place), 0, most) if np.isfinite(most) else np.ceil(place)).astype(np.int64)
    return column


def _chunks(lines: NDArray[np.intp], counts: _Places) -> Iterator[tuple[NDArray[np.intp], _Places]]:
    """Yield each line as often as it counts, with numbers from 0, some after the others."""
    lines = lines[counts[lines] > 0]
    total = counts[lines].cumsum()
    ends = np.searchsorted(total, np.arange(_CHUNK, total[-1] if len(total) else 0, _CHUNK)) + 1
    for some in np.split(lines, np.unique(ends)):
        count = counts[some]
        yield np.repeat(some, count), np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)


def _count(counts: _Places, places: _Places) -> None:
    """Add how often each place is there."""
    if len(places):
        begin = int(places.min())
        found = np.bincount(places - begin)
        counts[begin : begin + len(found)] += found
