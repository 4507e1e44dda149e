"""Columns that are held in memory, as they are stored, with the rows of a loss: what descends where no exchange is needed.

Read next: ``reweighted.py``, which descends on them; ``../coordinator/held.py``, which gathers them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data import csc
from distlasso.data.missing import Imputation, in_registers
from distlasso.kernels import abreast, descent, several, sparse
from distlasso.losses import Loss
from distlasso.solvers.quadratic import DenseForm, Quadratic, SparseForm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class LossRows:
    """A loss on some rows."""

    loss: Loss
    y: Floats  # [n]
    weight: Floats  # [n], sums to one
    offset: Floats | None  # [n]
    intercept: bool


@final
@dataclass(frozen=True, slots=True)
class Working:
    """Sparse columns as descent on several models visits them, with their sums under the weights of each."""

    data: Floats
    indices: NDArray[np.int32]
    indptr: Ints
    at: Ints  # [S]: which columns of these parts
    first: Floats  # [S, m], or [S, 1] where all models have the same: sum_i w_im x_ij
    second: Floats  # the same: sum_i w_im x_ij^2

    @property
    def parts(self) -> tuple[Floats, NDArray[np.int32], Ints]:
        """The stored entries."""
        return self.data, self.indices, self.indptr


@final
class Columns:
    """Columns [n, S], dense in Fortran order or CSC, centred in algebra."""

    def __init__(self, X: Any, centre: Floats, imputation: Imputation | None, rows: LossRows, at: Ints | None = None) -> None:
        """Dense columns are those of X at ``at``, None is all; centre and imputation are theirs."""
        self.X, self.rows = X, rows
        self._at = np.arange(X.shape[1]) if at is None else at
        self.centre, self._imputation = centre, imputation
        self._holes = in_registers(imputation, X.dtype, centre)
        self._parts = (X.data, X.indices, X.indptr.astype(np.int64)) if sp.issparse(X) else None

    @property
    def is_sparse(self) -> bool:
        """Whether the columns are stored as CSC."""
        return self._parts is not None

    def first(self, count: int) -> Any:
        """The first few columns, as they are stored."""
        return self.X[:, :count] if self.is_sparse else self.X[:, self._at[:count]]

    @property
    def entries(self) -> int:
        """Size of the matrix that a look at one model goes through."""
        return int(self.X.size) if self.is_sparse else self.rows.y.size * self._at.size

    def eta(self, b: Floats, intercept: float) -> Floats:
        """Linear predictor of one model, offset included, [n]."""
        out = np.full(self.rows.y.size, intercept)
        if self.rows.offset is not None:
            out += self.rows.offset
        if self._parts is not None:
            descent.combine_sparse(*self._parts, b, out)
            return out - float(self.centre @ b)
        descent.combine_dense(self.X, self._at, self.centre, *self._holes, b, out)
        return out

    def correlate(self, d: Floats) -> Floats:
        """sum_i (x_ij - centre_j) d_i, [S]."""
        out = np.empty(self.centre.size)
        if self._parts is not None:
            descent.correlate_sparse(*self._parts, d, out)
            return out - self.centre * float(d.sum())
        descent.correlate_dense(self.X, self._at, self.centre, *self._holes, d, out)
        return out

    def etas(self, b: Floats, intercept: Floats) -> Floats:
        """Linear predictors of several models, offset included, [n, m]."""
        active = np.flatnonzero((b != 0).any(axis=1))
        if self._parts is None:
            code, lift = self._holes
            held = (self._at[active], self.centre[active], code, lift[active], b[active])
            out = several.combine(self.X, slice(0, self.rows.y.size), *held) + intercept
            return out if self.rows.offset is None else out + self.rows.offset[:, None]
        out = np.tile(intercept - self.centre @ b, (self.rows.y.size, 1))
        if self.rows.offset is not None:
            out += self.rows.offset[:, None]
        sparse.eta_csc(*self._parts, active, np.ascontiguousarray(b[active]), out)
        return out

    def correlate_all(self, d: Floats) -> Floats:
        """``correlate`` for several models, [S, m]."""
        if self._parts is None:
            return several.correlate(self.X, self._at, self.centre, *self._holes, d)
        out = np.zeros((self.centre.size, d.shape[1]))
        sparse.gradient_csc(*self._parts, d, out)
        return out - np.outer(self.centre, np.ones(len(d)) @ d)

    def weighted(self, work: Ints, w: Floats) -> Working:
        """Some sparse columns under weights [n, m] of each model; nothing is copied."""
        assert self._parts is not None
        first, second = np.empty((2, work.size, w.shape[1]))
        abreast.MOMENTS[w.shape[1] - 1](*self._parts, work, w, first, second)
        return Working(*self._parts, work, first, second)

    def scaled(self, work: Ints, root: Floats) -> Working:
        """Some sparse columns under weights that all models share, given by their root [n], which is put into a copy."""
        assert self._parts is not None
        starts = csc.starts(self._parts[2], work)
        data, indices = np.empty(starts[-1]), np.empty(starts[-1], dtype=np.int32)
        first, second = np.empty((2, work.size, 1))
        abreast.scale_columns(*self._parts, work, root, starts, data, indices, first, second)
        return Working(data, indices, starts, np.arange(work.size), first, second)

    def least_squares(self, weight: Floats, y: Floats, shift: Floats) -> Quadratic:
        """Quadratic of the columns centred at ``centre + shift``, under weights that sum to one."""
        centre, curvature = self.centre + shift, np.empty(self.centre.size)
        if self._parts is not None:
            descent.square_sparse(*self._parts, weight, curvature)
            return SparseForm(self.X, centre, np.maximum(curvature - centre * centre, 0.0), weight, y)
        holes = in_registers(self._imputation, self.X.dtype, centre)
        descent.square_dense(self.X, self._at, centre, *holes, weight, curvature)
        return DenseForm(self.X, centre, curvature, weight, y, self._imputation, self._at)

    def restrict(self, work: Ints) -> Columns:
        """Some of the columns; sparse ones are copied."""
        if self._parts is not None:
            return Columns(csc.take(*self._parts, work, self.rows.y.size), self.centre[work], None, self.rows)
        imputation = None if self._imputation is None else self._imputation.take(work)
        return Columns(self.X, self.centre[work], imputation, self.rows, self._at[work])
