"""The restricted least-squares problem, (1/2W) sum_i w_i (y_i - x_i b)^2, in the forms a coordinator can hold.

A form holds some columns and the state that belongs to one b: the gradient in Gram form, the residual in residual
form. Which form is right depends on the shape of the data only: ``coordinator/form.py`` decides for the strong
set, ``restrict`` for a working set within it. All quantities are centred when there is an intercept, and divided by
the total weight W. Read next: ``block_coordinate.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, Protocol, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data import csc
from distlasso.data.missing import Imputation, in_registers
from distlasso.kernels import descent, several, sparse
from distlasso.kernels.rank_k import add_products
from distlasso.kernels.working_set import fitted
from distlasso.penalties import Bounds4
from distlasso.solvers.lanes import WORTH_A_LOOK, abreast, halves, side_by_side

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# A Gram epoch streams |W|^2 numbers; a residual epoch visits the rows of every column twice: measured on sparse columns.
SPARSE_ADVANTAGE = 8
_ROWS = 512  # rows of columns whose products are taken: with more, memory that is freed stays with the process
_TALL = 1024  # the same in float32
_SPARE = 0.6  # of the columns: fewer are multiplied where they lie, which is slower an entry than all of them


class Quadratic(Protocol):
    """Least squares on a set of columns, at a current b."""

    @property
    def curvature(self) -> Floats:
        """h_j = (1/W) x_j' W x_j."""

    def move(self, b: Floats) -> tuple[Floats, float]:
        """Set the state to b afresh; return u = (1/W) X' W r and rr = (1/W) sum_i w_i r_i^2."""

    def look(self, b: Floats) -> tuple[Floats, Floats]:
        """u [S, L] and rr [L] of several b [S, L], on as many threads as pay; the state stays."""

    @property
    def entries(self) -> int:
        """Size of the matrix that a look at one b goes through."""

    def descend(self, penalty: Bounds4, b: Floats, epochs: int) -> None:
        """Coordinate descent in place, moving b and the state together."""

    def shift(self, change: Floats) -> None:
        """Move the state by a change of b."""

    def peek(self) -> tuple[Floats, float]:
        """u and rr at the present state."""

    def rr(self) -> float:
        """rr alone, at the present state."""

    def apply(self, columns: Ints, v: Floats) -> Floats:
        """Hessian of some columns times v."""

    def gram(self, columns: Ints) -> NDArray[np.float32]:
        """Upper triangle (at least) of the Hessian of some columns in float32, Fortran-ordered, to be overwritten."""

    def hessian(self, columns: Ints) -> Floats:
        """Hessian of some columns in float64, from sums over all rows."""

    def restrict(self, work: Ints, b: Floats) -> Quadratic:
        """The problem on some of the columns at b, where the state is and all other coefficients are 0."""

    def twin(self) -> Quadratic:
        """The same problem with a state of its own, at 0, sharing what does not change."""


@final
class GramForm:
    """Holds G = (1/W) X' W X, g0 = (1/W) X' W y and yy; memory |S|^2.

    The residual never appears: u = g0 - G b and rr = yy - b'(g0 + u), below 0 by rounding, or where the quadratic is the
    model of another loss.
    """

    def __init__(self, gram: NDArray[Any], g0: Floats, yy: float) -> None:
        """``gram`` may be float32, where the quadratic is a model whose slope is right at one b; see ``correlations.py``."""
        self._gram, self._g0, self._yy = np.ascontiguousarray(gram), g0, yy
        self._u, self._b = g0.copy(), np.zeros_like(g0)

    @classmethod
    def standing(cls, gram: NDArray[Any], b: Floats, u: Floats, rr: float) -> GramForm:
        """The quadratic that has these slopes and this rr at b, where its state is."""
        g0 = u - descent.slope_gram(gram, np.zeros_like(u), np.flatnonzero(b), b)
        form = cls(gram, g0, rr + float(b @ (g0 + u)))
        form._u, form._b = u.copy(), b.copy()
        return form

    @cached_property
    def curvature(self) -> Floats:
        return np.diag(self._gram).astype(np.float64)

    def move(self, b: Floats) -> tuple[Floats, float]:
        self._b = b.copy()
        self._u = descent.slope_gram(self._gram, self._g0, np.flatnonzero(b), self._b)
        return self.peek()

    def look(self, b: Floats) -> tuple[Floats, Floats]:
        return _joined(abreast(self._look, b, self.entries))

    def _look(self, b: Floats) -> tuple[Floats, Floats]:
        active = np.flatnonzero((b != 0).any(axis=1))
        u = self._g0[:, None] - self._gram[active].T @ b[active]
        return u, self._yy - np.einsum("sl,sl->l", b, self._g0[:, None] + u)

    @property
    def entries(self) -> int:
        return self._gram.size

    def descend(self, penalty: Bounds4, b: Floats, epochs: int) -> None:
        descent.descend_gram(self._gram, self._u, *penalty, b, epochs)
        self._b = b.copy()

    def shift(self, change: Floats) -> None:
        self._u = descent.slope_gram(self._gram, self._u, np.flatnonzero(change), change)
        self._b += change

    def peek(self) -> tuple[Floats, float]:
        return self._u.copy(), self.rr()

    def rr(self) -> float:
        return float(self._yy - fitted(self._b, self._g0, self._u))

    def apply(self, columns: Ints, v: Floats) -> Floats:
        if columns.size < _SPARE * self._g0.size:
            return np.asarray(descent.apply_gram(self._gram, columns, v))
        full = np.zeros(self._g0.size, self._gram.dtype)
        full[columns] = v
        return np.asarray((self._gram @ full)[columns], dtype=np.float64)

    def gram(self, columns: Ints) -> NDArray[np.float32]:
        narrow = np.empty((columns.size, columns.size), dtype=np.float32)
        descent.restrict_gram(self._gram, columns, narrow)
        return narrow.T

    def products(self, rows: Ints, columns: Ints) -> NDArray[np.float32]:
        """Hessian of some columns with others, in float32."""
        return np.take(self._gram[rows], columns, axis=1).astype(np.float32, copy=False)

    def hessian(self, columns: Ints) -> Floats:
        return np.ascontiguousarray(self._gram[np.ix_(columns, columns)])

    def restrict(self, work: Ints, b: Floats) -> GramForm:
        own = self._gram
        if work.size < self._g0.size:
            own = np.empty((work.size, work.size), dtype=self._gram.dtype)
            descent.restrict_gram(self._gram, work, own)
        form = GramForm(own, self._g0[work], self._yy)
        form._u, form._b = self._u[work], b[work]
        return form

    def twin(self) -> GramForm:
        return GramForm(self._gram, self._g0, self._yy)


@final
class DenseForm:
    """Looks at columns that are held, in their stored dtype, where they lie: some of them are not copied.

    Missing values stay the codes they are, so that int8 columns stay int8: the kernels impute them in registers.
    """

    def __init__(
        self, X: NDArray[np.generic], centre: Floats, curvature: Floats, weight: Floats, y: Floats,
        imputation: Imputation | None, at: Ints | None = None,
    ) -> None:  # fmt: skip
        """``weight`` sums to one; ``y`` is free of offset and, where there is an intercept, of its mean.

        The columns are those of X at ``at``, None is all; what else is told is of these columns.
        """
        self._X, self._centre, self._h, self._w, self._y = X, centre, curvature, weight, y
        self._at = np.arange(X.shape[1]) if at is None else at
        self._imputation = imputation
        self._code, self._lift = in_registers(imputation, X.dtype, centre)
        self._d = weight * y
        self._inverse = np.divide(1.0, weight, out=np.zeros_like(weight), where=weight > 0)

    @property
    def curvature(self) -> Floats:
        return self._h

    @property
    def n_rows(self) -> int:
        """Rows, those without a weight too."""
        return int(self._y.size)

    def residuals(self, b: Floats) -> Floats:
        """y - X b of several b [S, L], computed afresh, [n, L]."""
        active = np.flatnonzero((b != 0).any(axis=1))
        held = (self._at[active], self._centre[active], self._code, self._lift[active], b[active])
        parts = halves(lambda rows: several.combine(self._X, rows, *held), self._y.size, self.entries)
        return self._y[:, None] - np.concatenate(parts)

    def move(self, b: Floats) -> tuple[Floats, float]:
        self._d = self._w * (self._y - self._eta(b))
        return self.peek()

    def look(self, b: Floats) -> tuple[Floats, Floats]:
        residuals = self.residuals(b)
        d = self._w[:, None] * residuals

        def some(own: slice) -> Floats:
            return several.correlate(self._X, self._at[own], self._centre[own], self._code, self._lift[own], d)

        return np.concatenate(halves(some, self._at.size, self.entries)), self._w @ (residuals * residuals)

    @property
    def entries(self) -> int:
        return self._y.size * self._at.size

    def descend(self, penalty: Bounds4, b: Floats, epochs: int) -> None:
        held = (self._X, self._at, self._centre, self._code, self._lift, self._h)
        descent.descend_dense(*held, *penalty, self._w, b, self._d, epochs)

    def shift(self, change: Floats) -> None:
        self._d -= self._w * self._eta(change)

    def peek(self) -> tuple[Floats, float]:
        return self._correlate(self._d), self.rr()

    def rr(self) -> float:
        return float(self._inverse @ (self._d * self._d))

    def apply(self, columns: Ints, v: Floats) -> Floats:
        return self._correlate(self._w * self._eta(v, columns), columns)

    def add_correlations(self, columns: Ints, held: int, out: NDArray[np.float32]) -> None:
        """Add to the upper triangle of ``out`` the correlations of columns with those behind the first few, summed in float32."""
        root, factor, size = np.sqrt(self._w), 1.0 / deviations(self._h[columns]), columns.size

        def some(first: int, stop: int) -> None:
            room = np.empty(_TALL * stop, np.float32)
            for row in range(0, self._y.size, _TALL):
                height = min(_TALL, self._y.size - row)
                scaled = room[: height * stop].reshape(stop, height).T
                self._scale(row, columns[:stop], root, factor[:stop], scaled)
                add_products(scaled, first, out)

        middle = math.isqrt((held**2 + size**2) // 2)  # as many products before as after
        side_by_side([partial(some, *ends) for ends in ((held, middle), (middle, size)) if ends[0] < ends[1]],
                     self.entries, WORTH_A_LOOK)  # fmt: skip

    def gram(self, columns: Ints) -> NDArray[np.float32]:
        scaled = np.empty((self._y.size, columns.size), np.float32, order="F")
        self._scale(0, columns, np.sqrt(self._w), np.ones(columns.size), scaled)
        return np.asfortranarray(scaled.T @ scaled)

    def hessian(self, columns: Ints) -> Floats:
        total, root, factor = np.zeros((columns.size, columns.size)), np.sqrt(self._w), np.ones(columns.size)
        for start in range(0, self._y.size, _ROWS):
            scaled = np.empty((min(_ROWS, self._y.size - start), columns.size), order="F")
            self._scale(start, columns, root, factor, scaled)
            total += scaled.T @ scaled
        return total

    def restrict(self, work: Ints, b: Floats) -> DenseForm:
        imputation = None if self._imputation is None else self._imputation.take(work)
        form = DenseForm(self._X, self._centre[work], self._h[work], self._w, self._y, imputation, self._at[work])
        form._d = self._d.copy()
        return form

    def twin(self) -> DenseForm:
        return DenseForm(self._X, self._centre, self._h, self._w, self._y, self._imputation, self._at)

    def _scale(self, row: int, columns: Ints, root: Floats, factor: Floats, out: NDArray[Any]) -> None:
        """Columns, centred, times the root of the weights [n] and a factor each; rows from ``row`` on."""
        held = (self._X, row, self._at[columns], self._centre[columns], self._code, self._lift[columns])
        descent.scale_dense(*held, root, factor, out.T)  # one column alone has either order, its transpose has C

    def _eta(self, b: Floats, columns: Ints | slice = slice(None)) -> Floats:
        eta = np.zeros_like(self._y)
        held = (self._at[columns], self._centre[columns], self._code, self._lift[columns])
        descent.combine_dense(self._X, *held, np.ascontiguousarray(b), eta)
        return eta

    def _correlate(self, d: Floats, columns: Ints | slice = slice(None)) -> Floats:
        held = (self._at[columns], self._centre[columns], self._code, self._lift[columns])
        out = np.empty(held[0].size)
        descent.correlate_dense(self._X, *held, d, out)
        return out


@final
class SparseForm:
    """Holds the columns as CSC; memory 12 bytes a stored entry, and |S|^2 while that is less work."""

    def __init__(
        self, X: sp.csc_array, centre: Floats, curvature: Floats, weight: Floats, y: Floats,
        gram: Floats | None = None,
    ) -> None:  # fmt: skip
        """``weight`` sums to one; ``y`` is free of offset and, where there is an intercept, of its mean."""
        self.X, self.centre = X, centre
        self._parts = (X.data, X.indices, X.indptr.astype(np.int64))
        self._h, self._w, self._y = curvature, weight, y
        self._drift, self._gram = np.zeros(1), gram

    @cached_property
    def _d(self) -> Floats:
        """Slopes of the rows at the present b, at first 0; where products are held, nobody may ever want them."""
        return self._w * self._y

    @cached_property
    def _inverse(self) -> Floats:
        return np.divide(1.0, self._w, out=np.zeros_like(self._w), where=self._w > 0)

    @property
    def curvature(self) -> Floats:
        return self._h

    @property
    def has_gram(self) -> bool:
        """Whether products of the columns are held."""
        return self._gram is not None

    def by_products(self, g0: Floats, yy: float) -> GramForm | SparseForm:
        """The same problem without its rows, where products are held; ``g0`` and ``yy`` are (1/W) X' W y and (1/W) y' W y."""
        return self if self._gram is None else GramForm(self._gram, g0, yy)

    def residuals(self, b: Floats) -> Floats:
        """y - X b of several b [S, L], computed afresh, [n, L]."""
        return np.concatenate(abreast(self._residuals, b, self.entries), axis=1)

    def _residuals(self, b: Floats) -> Floats:
        active, eta = np.flatnonzero((b != 0).any(axis=1)), np.zeros((self._y.size, b.shape[1]))
        sparse.eta_csc(*self._parts, active, np.ascontiguousarray(b[active]), eta)
        return self._y[:, None] - (eta - self.centre @ b)

    def move(self, b: Floats) -> tuple[Floats, float]:
        self._d, self._drift = self._w * (self._y - self._eta(b)), np.zeros(1)
        return self.peek()

    def look(self, b: Floats) -> tuple[Floats, Floats]:
        return _joined(abreast(self._look, b, self.entries))

    def _look(self, b: Floats) -> tuple[Floats, Floats]:
        residuals = self._residuals(b)
        d, u = self._w[:, None] * residuals, np.zeros(b.shape)
        sparse.gradient_csc(*self._parts, d, u)
        return u - np.outer(self.centre, d.sum(axis=0)), self._w @ (residuals * residuals)

    @property
    def entries(self) -> int:
        return int(self.X.nnz)

    def descend(self, penalty: Bounds4, b: Floats, epochs: int) -> None:
        descent.descend_sparse(
            *self._parts, self.centre, self._h, *penalty, self._w, b, self._d, self._drift, epochs
        )

    def shift(self, change: Floats) -> None:
        self._settle()
        self._d -= self._w * self._eta(change)

    def peek(self) -> tuple[Floats, float]:
        self._settle()
        return self._correlate(self._d), self.rr()

    def rr(self) -> float:
        self._settle()
        return float(self._inverse @ (self._d * self._d))

    def apply(self, columns: Ints, v: Floats) -> Floats:
        out, rows = np.empty(columns.size), np.empty_like(self._y)
        descent.apply_sparse(*self._parts, self.centre, self._w, columns, v, rows, out)
        return out

    def gram(self, columns: Ints) -> NDArray[np.float32]:
        if self._gram is not None:
            return np.asfortranarray(self._gram[np.ix_(columns, columns)], dtype=np.float32)
        rows = sp.csr_array(self.X[:, columns])
        rows.sort_indices()
        size, indptr = columns.size, rows.indptr.astype(np.int64)
        wide, narrow = np.zeros((size, size)), np.empty((size, size), dtype=np.float32)
        sparse.lower_square_csr(rows.data, rows.indices, indptr, self._w, self.centre[columns], wide, narrow)
        return narrow.T

    def hessian(self, columns: Ints) -> Floats:
        if self._gram is not None:
            return np.ascontiguousarray(self._gram[np.ix_(columns, columns)])
        X, centre = self.X[:, columns], self.centre[columns]
        return np.asarray((X.T @ X.multiply(self._w[:, None])).toarray() - np.outer(centre, centre))

    def restrict(self, work: Ints, b: Floats) -> GramForm | SparseForm:
        if self._gram is not None and work.size**2 <= SPARSE_ADVANTAGE * int(np.diff(self.X.indptr)[work].sum()):
            u, rr = self.peek()
            return GramForm.standing(np.ascontiguousarray(self._gram[np.ix_(work, work)]), b[work], u[work], rr)
        X = self.X if work.size == self._h.size else csc.take(*self._parts, work, self._y.size)
        gram = self._gram if work.size == self._h.size else None
        form = SparseForm(X, self.centre[work], self._h[work], self._w, self._y, gram)
        form._d, form._drift = self._d.copy(), self._drift.copy()
        return form

    def twin(self) -> SparseForm:
        return SparseForm(self.X, self.centre, self._h, self._w, self._y, self._gram)

    def _settle(self) -> None:
        """Put the drift into the rows."""
        if self._drift[0] != 0.0:
            self._d += self._drift[0] * self._w
            self._drift[0] = 0.0

    def _eta(self, b: Floats) -> Floats:
        eta = np.zeros_like(self._y)
        descent.combine_sparse(*self._parts, np.ascontiguousarray(b), eta)
        return eta - float(self.centre @ b)

    def _correlate(self, d: Floats) -> Floats:
        out = np.empty(self._h.size)
        descent.correlate_sparse(*self._parts, d, out)
        return out - self.centre * float(d.sum())


def _joined(looks: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Looks at models that were split."""
    return np.concatenate([u for u, _ in looks], axis=1), np.concatenate([rr for _, rr in looks])


def deviations(curvature: Floats) -> Floats:
    """Roots of curvatures, 1 where there is none."""
    return np.where(curvature > 0.0, np.sqrt(np.maximum(curvature, 0.0)), 1.0)
