"""Chunks that are on a local disk as they are in memory: the system reads them straight into the array that is used.

zarr reads a chunk into bytes and copies those; that costs as much processor time as a pass over the values. Whatever is not as
it should be (no file, a wrong size, a checksum that does not match) is left to zarr, so that every error is found in one place.
Read next: ``store.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_CHECKSUM_BYTES = 4


def checksums(metadata: dict[str, Any], itemsize: int) -> bool | None:
    """Whether plain chunks end with a checksum; None where chunks are not plain: compressed, transposed, sharded, big-endian."""
    names = [codec["name"] for codec in metadata["codecs"]]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        return None
    endian = (metadata["codecs"][0].get("configuration") or {}).get("endian", "little")
    return None if itemsize > 1 and endian != sys.byteorder else len(names) == 2


def read(path: str, shape: tuple[int, int], dtype: np.dtype[Any], *, checked: bool) -> NDArray[Any] | None:
    """Values of a whole chunk; None where zarr should have a look."""
    try:
        if Path(path).stat().st_size != shape[0] * shape[1] * dtype.itemsize + _CHECKSUM_BYTES * checked:
            return None
        raw = np.fromfile(path, dtype=np.uint8)
    except OSError:
        return None
    values = raw[: raw.size - _CHECKSUM_BYTES * checked]
    if checked and google_crc32c.value(values) != int.from_bytes(raw[values.size :].tobytes(), "little"):
        return None
    return values.view(dtype).reshape(shape)
