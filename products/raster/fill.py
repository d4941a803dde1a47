"""The pixels with their centre in an outline, in time linear in its edges and the pixels that they cross."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from products.operation import Bounds
from products.outline import Polygonal

_LEVEL = 32
"""Average number of points at the heights of an edge up to which all of them are compared with it."""
_CHUNK = 32_768
"""Approximate number of crossed rows or columns per step: their arrays fit into a processor's cache."""

_ONE = np.uint8(1)
_WORD = 64
_SHIFTS = np.array([1, 2, 4, 8, 16, 32], np.uint64)
_LAST = np.uint64(_WORD - 1)

_Numbers = NDArray[np.float64]
_Places = NDArray[np.int64]
_Crossed = tuple[_Places, _Places, _Places, _Places]


@dataclass(frozen=True, slots=True)
class Part:
    """The part of an outline in a box: its edges there, and the heights at which the left of the box changes sides.

    `x` and `y` are those of each edge's lower end, then of its upper one. A pixel with its centre on an edge belongs to
    the right of it or below it, so that areas with a common edge have no common pixel.
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
        """Whether the whole box is in the outline."""
        return not self.x.size and self.left.tolist() == [np.inf]

    def within(self, box: Bounds) -> Self | None:
        """Return the part in a smaller box, or None."""
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
        low, high = part.y.take(np.flatnonzero(passed), axis=1)
        ends = high[:-1] != low[1:]  # an edge that begins where the one before ends changes no side there
        left = np.concatenate([self.left, low[:1], low[1:][ends], high[:-1][ends], high[-1:]])
        left = _odd(np.where(left < north, left, np.inf)[left > south])
        if x.size or ((left > south) & (left < north)).any():
            return type(self)(x, y, left)
        holds = np.count_nonzero(left > (south + north) / 2) % 2
        return type(self)(x, y, np.full(1, np.inf)) if holds else None

    def holds(self, points: _Numbers) -> NDArray[np.bool_]:
        """Return which points are in the outline: both are divided until a part of each is small."""
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
            elif (inside := near._hold(points[places])) is not None:  # noqa: SLF001
                found[places] = inside
            else:
                half, axis = len(places) // 2, int(north - south > east - west)
                order = np.argpartition(points[places, axis], half)
                waiting += [(near, each) for each in np.split(places[order], [half])]
        return found

    def _hold(self, points: _Numbers) -> NDArray[np.bool_] | None:
        """Compare each edge with the points at its heights: inside are those with an odd number of edges to the left.

        Return None if there are too many comparisons.
        """
        order = np.argsort(points[:, 1])
        x, y = points[order].T
        first, last = np.searchsorted(y, self.y, side="right")
        if (last - first).sum() > _LEVEL * len(first) + _CHUNK:
            return None
        toggles, (least, greatest) = np.zeros(len(x), np.uint8), (np.minimum(*self.x), np.maximum(*self.x))
        for some, counts, begins in _chunks(np.arange(len(first)), last - first):
            place = _spread(first[some], counts, begins)
            at = x[place]
            left = np.repeat(greatest[some], counts) <= at
            unsure = np.flatnonzero(left != (np.repeat(least[some], counts) <= at))
            edge = np.repeat(some, counts)[unsure]
            left[unsure] = self._at(edge, y[place[unsure]]) <= at[unsure]
            np.add.at(toggles, place, left.view(np.uint8))
        odd = np.zeros(len(x), np.bool_)
        odd[order] = (len(self.left) - np.searchsorted(self.left, y) + toggles) % 2 == 1
        return odd

    def _at(self, edge: NDArray[np.intp], y: _Numbers) -> _Numbers:
        """Return the x of edges at heights."""
        x, ends = self.x[:, edge], self.y[:, edge]
        at: _Numbers = x[0] + (y - ends[0]) / (ends[1] - ends[0]) * (x[1] - x[0])
        return at

    def mask(self, transform: Affine, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which pixels of a grid, in the part's box, belong to the outline."""
        height, width = shape
        if self.whole:
            return np.ones(shape, bool)
        lines = _Lines.of(self.x, self.y, transform, shape)
        side = -(-(width + 1) // _WORD) * _WORD
        toggles, shifts = (np.zeros(rows * side, np.uint8) for rows in (height, height + 1))  # odd or even is enough
        for row, column, *_ in lines.rows():
            np.add.at(toggles, row * side + column, _ONE)
        for row, column, *_ in lines.shifts():
            np.add.at(shifts, row * side + column, _ONE)
        shifts[1:] += shifts[:-1]  # an edge that moves from a column to the next changes both
        for row, column in ((lines.upper, lines.first), (lines.lower, lines.last)):
            np.add.at(shifts, (row * side + column)[lines.steep], _ONE)
        changes = np.clip(_row(self.left, transform), 0, height).astype(np.int64)
        np.add.at(shifts, changes * side, _ONE)
        odd = _packed(toggles, side) ^ np.bitwise_xor.accumulate(_packed(shifts, side))[:height]
        for shift in _SHIFTS:  # each bit becomes the parity of all bits up to it: in its word, then in its row
            odd ^= odd << shift
        before = np.bitwise_xor.accumulate(odd[:, :-1] >> _LAST, axis=1)
        odd[:, 1:] ^= np.negative(before)
        return np.unpackbits(odd.view(np.uint8), axis=1, count=width, bitorder="little").view(np.bool_)


def _packed(table: NDArray[np.uint8], side: int) -> NDArray[np.uint64]:
    """Return whether numbers are odd as bits, 64 columns per word, the first one the lowest."""
    table &= _ONE
    return np.packbits(table, bitorder="little").view("<u8").reshape(-1, side // _WORD)


def centres_inside(geometry: Polygonal, transform: Affine) -> int:
    """Return how many pixels of an infinite grid have their centre inside: a signed sum of those left of edges."""
    x, y, falls = _edges(shapely.orient_polygons(geometry))
    signs = np.where(falls, -1, 1)
    lines = _Lines.of(x, y, transform, None)
    signs = signs[lines.number]
    count = int((lines.first * (lines.lower - lines.upper) * signs)[lines.steep].sum())
    for _, column, some, begins in lines.rows():
        count += int(np.add.reduceat(column, begins) @ signs[some])
    for row, _, some, begins in lines.shifts():
        crossed = lines.last[some] - lines.first[some]
        rest = np.abs(crossed) * lines.lower[some] - np.add.reduceat(row, begins)
        count += int(rest @ (signs[some] * np.sign(crossed)))
    return abs(count)


def _edges(geometry: Polygonal) -> tuple[_Numbers, _Numbers, NDArray[np.bool_]]:
    """Return x and y of the lower and upper ends of all edges that are not horizontal, and which of them fall.

    Rising edges are first, then falling ones in reverse, so that mostly one begins at the end of the one before.
    """
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    x, y = points.T
    same = ring[1:] == ring[:-1]
    rising, falling = (np.flatnonzero(same & some) for some in (y[1:] > y[:-1], y[1:] < y[:-1]))
    low, high = np.append(rising, falling[::-1] + 1), np.append(rising + 1, falling[::-1])
    return np.stack([x[low], x[high]]), np.stack([y[low], y[high]]), low > high


def _odd(heights: _Numbers) -> _Numbers:
    """Return the heights that occur an odd number of times: where one edge continues another, no side changes."""
    found, counts = np.unique(heights, return_counts=True)
    odd: _Numbers = found[counts % 2 == 1]
    return odd


def _row(y: _Numbers, transform: Affine) -> _Numbers:
    """Return the first row whose centre is not above a height."""
    return np.ceil((y - transform.f) / transform.e - 0.5)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Edges in a grid, in rows and columns from the centre of its first pixel: their upper ends, and slopes by rows.

    Each crosses the rows from `upper` to before `lower`. The first column with its centre not left of it is `first` on
    the first row and `last` on the last, and is monotonic between them. Steep lines cross more rows than columns.
    """

    column: _Numbers
    row: _Numbers
    slope: _Numbers
    upper: _Places
    lower: _Places
    first: _Places
    last: _Places
    number: NDArray[np.intp]
    steep: NDArray[np.bool_]
    most: float

    @classmethod
    def of(cls, x: _Numbers, y: _Numbers, transform: Affine, shape: tuple[int, int] | None) -> Self:
        """Return the edges on the rows of a grid, or of an infinite one, in its columns or beside them."""
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
        steep = lower - upper > np.abs(last - first)
        return cls(columns[1], rows[1], slope, upper, lower, first, last, number, steep, most)

    def rows(self) -> Iterator[_Crossed]:
        """Yield the rows that lines cross which are not steep, and on each the first column not left of the line.

        Also the numbers of these lines, and the index of each line's first row.
        """
        for some, counts, begins in _chunks(np.flatnonzero(~self.steep), self.lower - self.upper):
            begin_x, begin_y, slope = (np.repeat(each[some], counts) for each in (self.column, self.row, self.slope))
            row = _spread(self.upper[some], counts, begins)
            yield row, _column(begin_x + (row - begin_y) * slope, self.most), some, begins

    def shifts(self) -> Iterator[_Crossed]:
        """Yield the rows on which steep lines cross to the other side of a column's centre, and that column.

        Also the numbers of these lines, and the index of each line's first column.
        """
        crossed, steep = self.last - self.first, np.flatnonzero(self.steep)
        for sign in (1, -1):
            for some, counts, begins in _chunks(steep, sign * crossed):
                begin_x, begin_y, slope = (
                    np.repeat(each[some], counts) for each in (self.column, self.row, self.slope)
                )
                column = _spread(np.minimum(self.first[some], self.last[some]), counts, begins)
                row = begin_y + (column - begin_x) / slope
                row = np.floor(row) + 1 if sign > 0 else np.ceil(row)
                for ends in (begins, begins + counts - 1):  # rounding may put these beyond the line's ends
                    row[ends] = np.minimum(np.maximum(row[ends], self.upper[some]), self.lower[some] - 1)
                yield row.astype(np.int64), column, some, begins


def _spread(first: _Places, counts: _Places, begins: _Places) -> _Places:
    """Return consecutive numbers for each line: how many, from its first one on."""
    numbers: _Places = np.arange(begins[-1] + counts[-1]) + np.repeat(first - begins, counts)
    return numbers


def _column(place: _Numbers, most: float) -> _Places:
    """Return the first column of the grid whose centre is not left of points, or the one after the last."""
    column: _Places = (np.clip(np.ceil(place), 0, most) if np.isfinite(most) else np.ceil(place)).astype(np.int64)
    return column


def _chunks(lines: NDArray[np.intp], counts: _Places) -> Iterator[tuple[_Places, _Places, _Places]]:
    """Yield batches of lines with a count above 0, their counts, and the sum of the counts before them."""
    lines = lines[counts[lines] > 0]
    total = counts[lines].cumsum()
    ends = np.searchsorted(total, np.arange(_CHUNK, total[-1] if len(total) else 0, _CHUNK)) + 1
    for some in np.split(lines, np.unique(ends)):
        if len(some):
            count = counts[some]
            yield some, count, count.cumsum() - count
