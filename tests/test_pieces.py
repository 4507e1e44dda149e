"""Stored columns in pieces, as bundles gather them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from distlasso.coordinator.codec import pack, unpack
from distlasso.data import csc
from distlasso.data.pieces import Pieces, whole
from distlasso.kernels import sparse

RNG = np.random.default_rng(5)
DENSE = RNG.integers(-3, 4, (17, 11)).astype(np.int8)
SPARSE = sp.csc_array(np.where(RNG.random((17, 11)) < 0.4, RNG.standard_normal((17, 11)), 0.0))


def cut(matrix: Any, rows: list[int], columns: list[int], *, rows_first: bool) -> Pieces:
    """A matrix cut at some rows and columns, merged along one axis and then along the other."""
    r, c = [0, *rows, matrix.shape[0]], [0, *columns, matrix.shape[1]]
    parts = [[whole(matrix[a:b, d:e]) for d, e in zip(c[:-1], c[1:], strict=True)] for a, b in zip(r[:-1], r[1:], strict=True)]
    if rows_first:
        columns_of = [_merged([row[k] for row in parts], below=True) for k in range(len(parts[0]))]
        return _merged(columns_of, below=False)
    return _merged([_merged(row, below=False) for row in parts], below=True)


def _merged(parts: list[Pieces], *, below: bool) -> Pieces:
    total = parts[0]
    for part in parts[1:]:
        total = total.below(part) if below else total.beside(part)
    return total


def cuts(size: int) -> Any:
    return st.lists(st.integers(1, size - 1), max_size=3, unique=True).map(sorted)


@given(cuts(17), cuts(11), st.booleans(), st.sampled_from([DENSE, SPARSE]))
def test_pieces_join_to_the_matrix_they_were_cut_from(rows: list[int], columns: list[int], rows_first: bool, matrix: Any) -> None:
    pieces = cut(matrix, rows, columns, rows_first=rows_first)
    joined = pieces.joined()
    assert pieces.shape == joined.shape == matrix.shape and pieces.dtype == joined.dtype == matrix.dtype
    if not sp.issparse(matrix):
        assert joined.flags.f_contiguous or len(pieces.pieces) == 1
        np.testing.assert_array_equal(joined, matrix)
        return
    assert joined.has_sorted_indices and joined.indices.dtype == np.int32
    np.testing.assert_array_equal(joined.toarray(), matrix.toarray())


@pytest.mark.parametrize("matrix", [DENSE, SPARSE])
def test_a_checkpoint_gives_pieces_back_as_one(matrix: Any) -> None:
    back = unpack(pack(cut(matrix, [4, 9], [3], rows_first=True)))
    assert isinstance(back, Pieces) and len(back.pieces) == 1
    np.testing.assert_array_equal(*(sp.csc_array(one).toarray() for one in (back.joined(), matrix)))


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64])
def test_columns_of_a_sparse_matrix_are_taken_in_any_order_and_more_than_once(dtype: Any) -> None:
    columns, matrix = np.array([7, 0, 7, 10]), sp.csc_array(SPARSE.toarray().round().astype(dtype))
    taken = csc.take(matrix.data, matrix.indices, matrix.indptr.astype(np.int64), columns, 17)
    assert taken.dtype == np.float64 and taken.indices.dtype == np.int32
    np.testing.assert_array_equal(taken.toarray(), matrix.toarray()[:, columns])


@pytest.mark.parametrize("models", [1, 2, 4, 5, 8, 9, 21])
def test_slopes_of_any_number_of_models_are_those_of_each(models: int) -> None:
    d, out = RNG.standard_normal((17, models)), np.ones((11, models))
    sparse.gradient_csc(SPARSE.data, SPARSE.indices, SPARSE.indptr.astype(np.int64), d, out)
    np.testing.assert_allclose(out, 1.0 + SPARSE.toarray().T @ d, rtol=1e-12)
