"""What was read of a store, as one checksum a tile: data that change during a fit are noticed where they are read again.

Read next: ``store.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from distlasso.errors import StoreError


@final
class Seen:
    """Checksums of the tiles that were read so far, by row range and column range."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int], int] = {}

    def of(self, i: int, j: int) -> int:
        """Checksum of a tile that was read."""
        return self._sums[i, j]

    def check(self, i: int, j: int, parts: tuple[NDArray[np.generic], ...], path: Callable[[], str]) -> None:
        """Take down what a tile is made of.

        Raises
        ------
        StoreError
            If it was something else before.
        """
        total = 0
        for part in parts:
            # The checksum that chunks have too: it has an instruction of its own, and costs a tenth of zlib's.
            flat = np.ascontiguousarray(part if part.flags.c_contiguous else part.T)
            total = google_crc32c.extend(total, flat.view(np.uint8).reshape(-1))
        if self._sums.setdefault((i, j), total) != total:
            raise StoreError(f"chunk {path()} has changed since it was first read: fit on data that stand still")
