"""Chunks that are on a local disk as they are in memory: the system reads them straight into the array that is used.

zarr reads a chunk into bytes and copies those; that costs as much processor time as a pass over the values. Whatever is not as
it should be (no file, a wrong size, a checksum that does not match) is left to zarr, so that every error is found in one place.
Read next: ``store.py``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_CHECKSUM_BYTES = 4


@final
@dataclass(frozen=True, slots=True)
class Plain:
    """How plain chunks lie on the disk."""

    checked: bool  # they end with a checksum
    by_columns: bool  # values of a column lie one after the other, else those of a row


def plainly(metadata: dict[str, Any], itemsize: int) -> Plain | None:
    """How the chunks of an array lie; None where they are not plain: compressed, sharded, big-endian."""
    names = [codec["name"] for codec in metadata["codecs"]]
    turned = bool(names) and names[0] == "transpose" and list(metadata["codecs"][0]["configuration"]["order"]) == [1, 0]
    if names[turned:] not in (["bytes"], ["bytes", "crc32c"]):
        return None
    endian = (metadata["codecs"][turned].get("configuration") or {}).get("endian", "little")
    return None if itemsize > 1 and endian != sys.byteorder else Plain(names[-1] == "crc32c", turned)


def read(path: str, shape: tuple[int, int], dtype: np.dtype[Any], how: Plain) -> NDArray[Any] | None:
    """Values of a whole chunk; None where zarr should have a look."""
    checked = how.checked
    try:
        if Path(path).stat().st_size != shape[0] * shape[1] * dtype.itemsize + _CHECKSUM_BYTES * checked:
            return None
        raw = np.fromfile(path, dtype=np.uint8)
    except OSError:
        return None
    values = raw[: raw.size - _CHECKSUM_BYTES * checked]
    if checked and google_crc32c.value(values) != int.from_bytes(raw[values.size :].tobytes(), "little"):
        return None
    return values.view(dtype).reshape(shape, order="F" if how.by_columns else "C")
