"""Rows of numbers as text, some thousand at once: for formats that write numbers out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 65536


def rows_as_text(rows: NDArray[np.generic], pattern: str, *, add: int = 0) -> Iterator[bytes]:
    """`pattern` filled with each row of [n, 3], `add` added to every number; nine digits keep a float32 exactly."""
    for start in range(0, len(rows), CHUNK_ROWS):
        piece = np.asarray(rows[start : start + CHUNK_ROWS])
        numbers = (piece + piece.dtype.type(add)).ravel().tolist()
        yield (pattern * len(piece) % tuple(numbers)).encode("ascii")
