"""Chunks on a local disk, read and decoded by the thread that wants them, straight into the array that is used.

zarr hands every chunk to its event loop and on to a thread, and copies it once more: of genotypes, that takes two thirds as much
processor time again as to decode them. Whatever is not as it should be (no file, a wrong size, a checksum that does not match,
a codec that complains) is left to zarr, so that every error is found in one place. Read next: ``store.py``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from distlasso.data.bounded import DECODERS, decoded

_CHECKSUM_BYTES = 4


@final
@dataclass(frozen=True, slots=True)
class Chunks:
    """How the chunks of an array lie on the disk."""

    checked: bool  # they end with a checksum
    by_columns: bool  # values of a column lie one after the other, else those of a row
    codec: str | None  # that has to be undone

    def read(self, path: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any] | None:
        """Values of a whole chunk; None where zarr should have a look."""
        nbytes = shape[0] * shape[1] * dtype.itemsize
        try:
            if self.codec is None and Path(path).stat().st_size != nbytes + _CHECKSUM_BYTES * self.checked:
                return None
            raw = np.fromfile(path, dtype=np.uint8)
        except OSError:
            return None
        values = raw[: raw.size - _CHECKSUM_BYTES * self.checked]
        if self.checked and google_crc32c.value(values) != int.from_bytes(raw[values.size :].tobytes(), "little"):
            return None
        found = values if self.codec is None else decoded(self.codec, values, nbytes)
        return None if found is None else found.view(dtype).reshape(shape, order="F" if self.by_columns else "C")


def chunks_of(metadata: dict[str, Any], itemsize: int) -> Chunks | None:
    """How the chunks of an array lie; None where they are not read here: sharded, big-endian, of other codecs."""
    codecs = metadata["codecs"]
    names = [codec["name"] for codec in codecs]
    turned = bool(names) and names[0] == "transpose" and list(codecs[0]["configuration"]["order"]) == [1, 0]
    checked = names[-1:] == ["crc32c"]
    inner = names[turned : len(names) - checked]
    if inner[:1] != ["bytes"] or len(inner) > 2 or not set(inner[1:]) <= set(DECODERS):
        return None
    endian = (codecs[turned].get("configuration") or {}).get("endian", "little")
    return None if itemsize > 1 and endian != sys.byteorder else Chunks(checked, turned, inner[1] if inner[1:] else None)
