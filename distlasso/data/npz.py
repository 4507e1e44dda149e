"""NumPy archives from anywhere: every array is as large as its bytes say, or nothing is allocated for it, and nothing is unpickled.

``np.load`` believes the shape that the head of a member states, and allocates it before the first value is read.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_HEAD = 1 << 16  # bytes
_DENSEST = 1100  # times: deflate makes at most 1032 bytes of one
DAMAGE = (
    ValueError, TypeError, KeyError, EOFError, RecursionError, MemoryError, OverflowError, SyntaxError, NotImplementedError,
    RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_npz(path: Path, *, compressed: bool = False) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive.

    Parameters
    ----------
    path : path
        The file.
    compressed : bool
        Whether members may be compressed; then the bytes that they come to are bounded by what deflate can do.

    Raises
    ------
    ValueError
        If it is not an archive of arrays of numbers that are as large as they say; what else is wrong with it is one of ``DAMAGE``.
    OSError
        If it cannot be read.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        size = path.stat().st_size
        members = archive.infolist()
        methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if compressed else (zipfile.ZIP_STORED,)
        if sum(member.file_size for member in members) > size * (_DENSEST if compressed else 1):
            raise ValueError("its arrays are said to take more bytes than there are")
        for member in members:
            if member.compress_type not in methods:
                raise ValueError(f"{member.filename} is compressed in a way that is not read")
            with archive.open(member) as file:
                found[member.filename.removesuffix(".npy")] = _array(file, member)
    return found


def _array(file: Any, member: zipfile.ZipInfo) -> NDArray[Any]:
    major, _ = np.lib.format.read_magic(file)
    if major not in (1, 2):
        raise ValueError(f"{member.filename} is of a version of NumPy's format that is not read")
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file, max_header_size=_MOST_HEAD)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects instead of numbers")
    values = member.file_size - file.tell()
    if any(not 0 <= k <= 1 << 48 for k in shape) or math.prod(shape) * dtype.itemsize != values:
        raise ValueError(f"{member.filename} is said to have shape {_short(shape)} of {dtype}, and has {values} bytes")
    if not values:
        return np.zeros(shape, dtype)
    content = bytearray(values)
    if file.readinto(content) != values or file.read(1):
        raise EOFError(f"{member.filename} ends too early")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if by_columns else "C")


def _short(shape: Any) -> str:
    text = repr(shape)
    return text if len(text) <= 60 else f"{text[:57]}..."
