"""Pictures → one contact sheet: a grid, as square as it can be, row by row.

Knows nothing about what the pictures show. The sheet fills as they come, so never more than one
of them is held beside it.
"""

import math

import numpy as np
from numpy.typing import NDArray

GAP = 2
"""Pixels between pictures and around the grid."""
BACKGROUND = 24
"""Grey of the gaps: dark, so that faces stand out."""


def sheet_pixels(count: int, side: int) -> int:
    """Pixels of the sheet of `count` pictures of `side` pixels: its cost, before it is made."""
    columns, rows = _grid(count)
    return _extent(columns, side) * _extent(rows, side)


class Sheet:
    """The sheet of `count` RGB pictures of `side` × `side` pixels, empty at first."""

    def __init__(self, count: int, side: int) -> None:
        self._columns, rows = _grid(count)
        self._side = side
        shape = (_extent(rows, side), _extent(self._columns, side), 3)
        self.image_HWC: NDArray[np.uint8] = np.full(shape, BACKGROUND, np.uint8)

    def place(self, index: int, image_HWC: NDArray[np.uint8]) -> None:
        """Put a picture in its place; `index` counts from 0, row by row."""
        row, column = divmod(index, self._columns)
        top, left = (GAP + at * (self._side + GAP) for at in (row, column))
        self.image_HWC[top : top + self._side, left : left + self._side] = image_HWC


def _grid(count: int) -> tuple[int, int]:
    """Columns and rows."""
    columns = math.isqrt(count - 1) + 1
    return columns, -(-count // columns)


def _extent(pictures: int, side: int) -> int:
    return pictures * (side + GAP) + GAP
