"""dask arrays as datasets: each chunk is a tile and stays where it is; nothing is rechunked and nothing gathered.

What is known here is the shape only; who holds which chunk is a matter of ``cluster.py``, which alone can answer requests
about them. Read next: ``cluster.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from distlasso.data.blocks import Block
from distlasso.data.dataset import Dataset, as_block, stored_dtype
from distlasso.errors import InputError

Ints = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Chunks:
    """The chunks of a dask array, by row and column of their grid."""

    array: Any
    client: Any = None  # of the cluster that holds them; None is whatever Dask would use

    def read(self, i: int, j: int) -> Block:
        """Fetch one chunk to this process: to name a value that is wrong, not for a pass."""
        chunk = self.array.blocks[i, j]
        return as_block(np.asarray(chunk.compute() if self.client is None else self.client.compute(chunk, sync=True)))


def from_chunks(
    array: Any, y: Any = None, *, sample_weight: Any = None, offset: Any = None, feature_names: Sequence[str] | None = None
) -> Dataset:
    """Dataset of a dask array [n, p] whose chunk sizes are known; what belongs to the rows is fetched, [n] each.

    Raises
    ------
    InputError
        For a collection that is not a dense two-dimensional array of real numbers in chunks of known size.
    """
    _check(array)
    dtype = stored_dtype(array.dtype)
    rows, columns = (np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64) for sizes in array.chunks)
    n, p = (int(size) for size in array.shape)
    dataset = Dataset(
        shape=(n, p), dtype=dtype, encoding="dense", row_bounds=rows, col_bounds=columns, nnz=n * p,
        nbytes=n * p * dtype.itemsize, reader=Chunks(array if array.dtype == dtype else array.astype(dtype)),
        feature_names=None if feature_names is None else [str(name) for name in feature_names],
    )  # fmt: skip
    parts = [None if values is None else np.asarray(values) for values in (y, sample_weight, offset)]
    return dataset.with_target(*parts)


def _check(array: Any) -> None:
    sizes = getattr(array, "chunks", None)
    if sizes is None or len(sizes) != 2:
        kind = type(array).__name__
        raise InputError(f"X is a dask {kind}, expected a two-dimensional array: of a frame, X.to_dask_array(lengths=True)")
    if any(np.isnan(size) for axis in sizes for size in axis):
        raise InputError("X has chunks of unknown size: call X.compute_chunk_sizes() first, or to_dask_array(lengths=True)")
    if 0 in array.shape or any(size == 0 for axis in sizes for size in axis):
        raise InputError(f"X has empty chunks: {sizes}; rechunk it, or drop them")
    if not isinstance(array._meta, np.ndarray):
        kind = type(array._meta).__name__
        raise InputError(f"X is a dask array of {kind}, expected dense chunks: write sparse data to a store with dl.ingest")
    if array.dtype.kind not in "biuf":
        raise InputError(f"X is a dask array of {array.dtype}, expected real numbers")
