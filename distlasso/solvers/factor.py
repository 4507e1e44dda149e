"""A Cholesky factor of the Hessian of a support that changes: columns that have come and gone since are put into a border.

The factor U belongs to the columns that were in the support when it was made, its base. A column that has left is held at
zero, one that has come borders the matrix; both are solved for in what U makes of them, without touching U:

    y = U^-T g,   less its part along U^-T E of what has left;   s = S^-1 (g_new - W'y),   z = U^-1 (y - W s)

with W = U^-T B of what has come, B its products with the base, less the same part, and S = D - W'W, D its own products
(Golub & Van Loan 2013, sec. 4.3 and 6.2; the Schur complement of a bordered matrix). A border of q columns takes q / s of the
time that a new factor of s columns takes. It is all in float32 with a small ridge: it only preconditions.
Read next: ``newton.py``.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import cholesky
from distlasso.solvers.quadratic import GramForm, Quadratic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

_RIDGE = 1e-5  # relative to the diagonal: ten times the rounding of float32
_SHARE = 0.1  # of the base: a wider border takes longer to solve with than it is worth


@final
class Factor:
    """The factor of one base, and its border."""

    def __init__(self, upper: Singles, names: Ints) -> None:
        """``upper`` is the factor of the columns of these names."""
        self._upper, self._base = upper, _Numbered(names)
        self._clear()

    def _clear(self) -> None:
        """Have no border."""
        nobody, nothing = np.empty(0, dtype=np.int64), np.empty((0, len(self._upper)), dtype=np.float32)
        self._gone, self._gone_raw, self._gone_square = nobody, nothing, np.empty((0, 0), order="F")
        self._new, self._new_raw, self._new_apart, self._schur = _Numbered(nobody), nothing, nothing, np.empty((0, 0), order="F")

    def follow(self, form: GramForm, support: Ints, names: Ints, l2: Floats) -> bool:
        """Belong to another support; returns whether that is possible and worth it.

        Parameters
        ----------
        form : GramForm
            The least-squares part.
        support, names : int64 [s]
            Columns of the support, in the numbering of ``form`` and by name.
        l2 : float64 [s]
            Diagonal added to the Hessian.
        """
        at = self._base.places(names)
        inside, come = np.flatnonzero(at >= 0), np.flatnonzero(at < 0)
        absent = np.ones(len(self._upper), dtype=np.bool_)
        absent[at[inside]] = False
        gone = np.flatnonzero(absent)
        held = absent[self._gone].all()
        if held and gone.size == self._gone.size and self._new.are(names[come]):
            return True
        if gone.size + come.size > _SHARE * len(self._upper):
            return False
        if not held:  # the products of what is back with what has come are not known
            self._clear()
        return self._leave_out(gone) and self._add(form, support, names, at, inside, come, l2)

    def _leave_out(self, gone: Ints) -> bool:
        """Hold columns of the base at zero: those that are held already, and others."""
        more = np.setdiff1d(gone, self._gone, assume_unique=True)
        if not more.size:
            return True
        units = np.zeros((more.size, len(self._upper)), dtype=np.float32)
        units[np.arange(more.size), more] = 1.0
        cholesky.forward(self._upper, units.T)
        self._gone, self._gone_raw = np.concatenate([self._gone, more]), np.vstack([self._gone_raw, units])
        self._gone_square = np.asfortranarray(self._gone_raw @ self._gone_raw.T, dtype=np.float64)
        return cholesky.factor(self._gone_square)

    def _add(
        self, form: GramForm, support: Ints, names: Ints, at: Ints, inside: Ints, come: Ints, l2: Floats
    ) -> bool:  # fmt: skip
        """Border the base by the columns of the support that it does not have."""
        stay, fresh = np.isin(self._new.names, names[come]), come[self._new.places(names[come]) < 0]
        products = np.zeros((fresh.size, len(self._upper)), dtype=np.float32)
        products[:, at[inside]] = form.products(support[fresh], support[inside])
        cholesky.forward(self._upper, products.T)
        self._new = _Numbered(np.concatenate([self._new.names[stay], names[fresh]]))
        self._new_raw = np.vstack([self._new_raw[stay], products])
        self._new_apart = self._apart(self._new_raw)
        order = _Numbered(names).places(self._new.names)
        own = support[order]
        self._schur = np.asfortranarray(form.products(own, own) - self._new_apart @ self._new_apart.T, dtype=np.float64)
        _add_to_diagonal(self._schur, _ridge(form.curvature[own], l2[order]))
        return cholesky.factor(self._schur)

    def _apart(self, y: Singles) -> Singles:
        """Less the part along what has left, [base] or [q, base]."""
        if not self._gone.size:
            return y
        along = np.asfortranarray(self._gone_raw @ y.T, dtype=np.float64)
        cholesky.solve(self._gone_square, along)
        return y - along.T.astype(np.float32) @ self._gone_raw

    def solve(self, names: Ints, rest: Floats, scale: Floats) -> Floats:
        """Solve for the columns of these names, [s]; by their diagonal ``scale`` alone where they are not known."""
        largest = float(np.max(np.abs(rest), initial=0.0)) or 1.0
        if names is self._base.names and not self._gone.size:
            y = (rest / largest).astype(np.float32)
            cholesky.solve(self._upper, y)
            return y.astype(np.float64) * largest
        z, y, at = rest / scale, np.zeros(len(self._upper), dtype=np.float32), self._base.places(names)
        inside = np.flatnonzero(at >= 0)
        y[at[inside]] = rest[inside] / largest
        cholesky.forward(self._upper, y)
        y = self._apart(y)
        if self._new.names.size:
            place = self._new.places(names)
            border, own = np.flatnonzero(place >= 0), np.zeros(self._new.names.size)
            own[place[border]] = rest[border] / largest
            own -= self._new_apart @ y
            cholesky.solve(self._schur, own)
            y -= own.astype(np.float32) @ self._new_apart
            z[border] = own[place[border]] * largest
        cholesky.backward(self._upper, y)
        z[inside] = y[at[inside]].astype(np.float64) * largest
        return z


def factored(form: Quadratic, support: Ints, names: Ints, l2: Floats) -> Factor | None:
    """The factor of a support; None where rounding has made the Hessian indefinite."""
    gram = form.gram(support)
    _add_to_diagonal(gram, _ridge(form.curvature[support], l2))
    return Factor(gram, names) if cholesky.factor(gram) else None


def _add_to_diagonal(matrix: NDArray[Any], ridge: Floats) -> None:
    """Add to the diagonal of a matrix in Fortran order."""
    matrix.reshape(-1, order="F")[:: len(matrix) + 1] += ridge.astype(matrix.dtype)


def _ridge(curvature: Floats, l2: Floats) -> Floats:
    """What is added to the diagonal."""
    return l2 + _RIDGE * (curvature + l2)


@final
class _Numbered:
    """Names in an order, which can be looked up."""

    def __init__(self, names: Ints) -> None:
        self.names = names

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.names)

    @cached_property
    def _ascending(self) -> Ints:
        return self.names[self._order]

    def places(self, names: Ints) -> Ints:
        """Where each of some names is, -1 if nowhere."""
        if not self.names.size:
            return np.full(names.size, -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(self._ascending, names), self.names.size - 1)
        return np.where(self._ascending[place] == names, self._order[place], -1)

    def are(self, names: Ints) -> bool:
        """Whether these are all of them, and no others."""
        return np.array_equal(self._ascending, np.sort(names))
