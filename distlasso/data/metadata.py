"""What the metadata of a store may claim, and where its files may lie: the one place that looks, before anything is allocated.

A shape, a chunk or a codec costs whoever writes it a few characters, and whoever believes it terabytes. So the number of chunks is
bounded, a chunk is decoded only to what its shape calls for (``bounded.py``), and what is large needs bytes on the disk that can
stand for it. Read next: ``store.py``, which opens every array through ``checked``.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import TransposeCodec

from distlasso.data.bounded import MOST_INNER, Bounded, bounded, room
from distlasso.errors import StoreError
from distlasso.inside import inside

_MOST_VALUES = 1 << 48
_MOST_LENGTH = 1 << 40  # values of an array of one dimension
_MOST_CHUNKS = 1 << 22
_MOST_WHOLE = 1 << 16  # chunks of an array that is read at once
_SMALL = 64 << 20  # bytes that need nothing to stand for them
_LONGEST_NAME = 1 << 14  # bytes
_DENSEST = 4096  # times: bytes that one on the disk may stand for, beyond these
_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")


def checked(array: Any, *, whole: bool = False, names: bool = False) -> Any:
    """The array, with codecs that keep to bounds; nothing of it has been read.

    Parameters
    ----------
    array : zarr.Array
        As zarr has opened it.
    whole : bool
        Whether it will be read at once.
    names : bool
        Whether it holds names, and not numbers.

    Raises
    ------
    StoreError
        If it claims what cannot be, or has codecs that are not read here.
    """
    where, dtype = str(array.store_path).removeprefix("file://"), array.dtype
    if dtype.kind not in ("OTU" if names else "biuf") or dtype.itemsize > _LONGEST_NAME:
        raise StoreError(f"{where} has dtype {dtype}, expected {'text' if names else 'real numbers'}")
    chunk = array.shards or array.chunks
    for what, shape in (("shape", array.shape), ("chunks of", chunk), ("chunks of", array.chunks)):
        if len(shape) != array.ndim or not all(0 <= k <= _MOST_VALUES for k in shape) or math.prod(shape) > _MOST_VALUES:
            raise StoreError(f"{where} is damaged: it states {what} {_short(shape)}, which no data have")
    if array.ndim == 1 and array.shape[0] > _MOST_LENGTH:
        raise StoreError(f"{where} is damaged: it states {array.shape[0]} values, which no data have")
    if 0 in (*chunk, *array.chunks):
        raise StoreError(f"{where} is damaged: it states chunks of {_short(array.chunks)}")
    count, most = _count(array.shape, chunk), _MOST_WHOLE if whole else _MOST_CHUNKS
    if count > most or _count(chunk, array.chunks) > MOST_INNER:
        raise StoreError(f"{where} has {count} chunks of {_short(array.chunks)} values, at most {most} are read: write larger ones")
    size, beside = room(chunk, dtype), min(2 * room(array.shape, dtype), 1 << 62)
    if size > max(_SMALL, beside):
        raise StoreError(f"{where} states chunks of {_short(chunk)} for {_short(array.shape)} values: write smaller ones")
    try:
        return _bounded(array, room(array.chunks, dtype))
    except (ValueError, TypeError) as error:
        raise StoreError(f"{where} cannot be read: {error}") from error


def own_files(name: str, members: tuple[str, ...]) -> None:
    """Refuse metadata that lie elsewhere, or that can be read for ever.

    Raises
    ------
    StoreError
        With the path.
    """
    for member in ("", *members):
        for file in _METADATA:
            inside(name, os.path.join(member, file))


def own_chunks(array: Any, selection: tuple[slice, ...], *, strict: bool) -> None:
    """Look at the files of the chunks that a selection touches, where they are local.

    Raises
    ------
    StoreError
        If one is missing where none may be, lies elsewhere, or has more bytes than its values can take; or if all of them
        have too few bytes to stand for so many values.
    """
    root, chunk = getattr(array.store_path.store, "root", None), array.shards or array.chunks
    if not isinstance(root, Path):
        return
    most, total = 2 * room(chunk, array.dtype) + 16 * _count(chunk, array.chunks), 0
    for path in chunk_paths(array, selection):
        try:
            size = inside(root, os.path.abspath(path)).stat().st_size
        except FileNotFoundError:
            if strict:
                raise StoreError(f"chunk {path} is missing: ingest the data again") from None
            continue
        if size > most:
            raise StoreError(f"chunk {path} has {size} bytes, more than its values can take: ingest the data again")
        total += size
    wanted = math.prod(len(range(*part.indices(size))) for part, size in zip(selection, array.shape, strict=True))
    nbytes = max(wanted, math.prod(array.chunks)) * array.dtype.itemsize
    if nbytes > max(_SMALL, _DENSEST * total):
        raise StoreError(
            f"{array.store_path}: {total} bytes on the disk stand for {nbytes} bytes of values: the store is damaged, or has to be "
            "written with smaller chunks"
        )


def chunk_paths(array: Any, selection: tuple[slice, ...]) -> Iterator[str]:
    """Paths of the chunks (or shards) that a selection touches; local ones start with a slash."""
    root = str(array.store_path).removeprefix("file://")
    sizes = array.shards or array.chunks
    spans = []
    for part, size, step in zip(selection, array.shape, sizes, strict=True):
        start, stop, _ = part.indices(size)
        spans.append(range(start // step, max(-(-stop // step), start // step)))
    return (f"{root}/{array.metadata.encode_chunk_key(coordinates)}" for coordinates in itertools.product(*spans))


def _bounded(array: Any, most: int) -> Any:
    metadata, config = array.metadata, array.async_array.config
    if metadata.zarr_format == 3:
        ours = replace(metadata, codecs=tuple(bounded(codec) for codec in metadata.codecs))
        if any(type(codec) is TransposeCodec and tuple(codec.order) == (1, 0) for codec in metadata.codecs):
            config = replace(config, order="F")  # as chunks lie, or zarr would turn each of them round
    else:
        compressor = None if metadata.compressor is None else Bounded(metadata.compressor, most)
        filters = None if metadata.filters is None else tuple(Bounded(one, most) for one in metadata.filters)
        ours = replace(metadata, compressor=compressor, filters=filters)
    return zarr.Array(type(array.async_array)(ours, array.store_path, config))


def _count(shape: tuple[int, ...], chunk: tuple[int, ...]) -> int:
    return math.prod(-(-size // step) for size, step in zip(shape, chunk, strict=True))


def _short(shape: tuple[int, ...]) -> str:
    return " x ".join(str(k) for k in shape)


def number_of(value: Any) -> int:
    """A size in an attribute.

    Raises
    ------
    ValueError
        If it is none.
    """
    if type(value) is not int or not 0 <= value <= _MOST_VALUES:
        raise ValueError(f"{str(value)[:40]!r} is not a size")
    return value


def bounds_of(given: Any, size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Bounds of ranges that cover ``size`` rows or columns.

    Raises
    ------
    ValueError
        If they do not.
    """
    bounds = np.array([number_of(bound) for bound in given], dtype=np.int64)
    if bounds.size < 2 or bounds[0] != 0 or bounds[-1] != size or (np.diff(bounds) <= 0).any():
        raise ValueError("its grid does not cover it")
    return bounds
