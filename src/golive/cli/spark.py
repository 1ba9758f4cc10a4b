"""
Spark lines and a small chart made of characters. Pure: numbers in, text out.

A spark line is thin on purpose: block bars read as alarm even when all is well.
"""

from __future__ import annotations

from collections.abc import Sequence

_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""Bits of a braille cell, left and right column, from the bottom up."""
_LEVELS = "_.-~^"


def spark(values: Sequence[float | None], top: float, cells: int, *, braille: bool) -> str:
    """
    *values*, oldest first, as a line of *cells* characters.

    Args:
        values: None where nothing was measured.
        top: what reaches the upper edge; more is drawn there as well.
        braille: two points per cell in four heights; else one of five characters per cell.
    """
    points = resample(values, cells * 2 if braille else cells)
    if not braille:
        return "".join(" " if point is None else _LEVELS[_level(point, top, 5)] for point in points)
    return "".join(_cell(points[i], points[i + 1], top) for i in range(0, len(points), 2))


def _cell(left: float | None, right: float | None, top: float) -> str:
    bits = 0
    for side, point in enumerate((left, right)):
        if point is not None:
            bits |= _DOTS[side][_level(point, top, 4)]
    return chr(0x2800 + bits)


def _level(value: float, top: float, levels: int) -> int:
    if top <= 0:
        return 0
    return max(0, min(levels - 1, int(value / top * levels)))


def resample(values: Sequence[float | None], size: int) -> list[float | None]:
    """*size* points from *values*: the nearest one before each point, so that a short peak keeps its height."""
    if not values:
        return [None] * size
    return [values[min(len(values) - 1, i * len(values) // size)] for i in range(size)]


def chart(
    series: Sequence[Sequence[float | None]],
    symbols: Sequence[str],
    both: str,
    *,
    top: float,
    height: int,
    marks: dict[int, str] | None = None,
) -> list[str]:
    """
    Columns of points, one per value of each of *series* (equally long), *height* lines from the top down.

    Args:
        symbols: one per series; *both* is drawn where two meet.
        marks: column -> the character of a vertical line.
    """
    width = max((len(each) for each in series), default=0)
    grid = [[" "] * width for _ in range(height)]
    for column, mark in (marks or {}).items():
        for line in grid:
            if 0 <= column < width:
                line[column] = mark
    for values, symbol in zip(series, symbols, strict=True):
        for column, value in enumerate(values):
            if value is not None:
                y = height - 1 - _level(value, top, height)
                grid[y][column] = both if grid[y][column] in symbols else symbol
    return ["".join(line) for line in grid]
