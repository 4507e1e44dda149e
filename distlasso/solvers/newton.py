"""Newton steps on a support whose signs are held: conjugate gradients under a Cholesky factor that is rarely renewed.

The factor belongs to the columns that were in the support when it was made, in float32 with a small ridge: it only
preconditions, so that neither its precision nor its age touches the answer, and a path needs one every few lambdas instead
of one a step. Where products of columns cost less than multiplying by the columns again and again, those of the support are
kept, in float32 too, and the iterations run on them: what they leave is seen and mended by the next look at the form.
Read next: ``block_coordinate.py``, which takes the steps.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import cholesky
from distlasso.solvers.quadratic import DenseForm, Quadratic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

_RIDGE = 1e-5  # relative to the diagonal: ten times the rounding of float32
MAX_FACTOR = 8192  # columns: a factor of more takes longer than the iterations it saves, and 800 MB
_MANY = 16  # iterations after which a new factor pays for itself
_MANY_TOLD = 20  # the same where an iteration runs on products
SMALL = 256  # below this a factor costs less than one iteration saved
_FLAT = 1e-12  # curvature along a direction, relative to that of its columns, that is rounding only
_MAX_ITERATIONS = 60  # where no factor can be had
_CROWDED = 0.75  # share of the columns held: with fewer in use, the others are let go


@final
class _Products:
    """Columns of a support and their products, by name; those that leave keep their place until many have left."""

    def __init__(self, size: int) -> None:
        self._position = np.full(size, -1, dtype=np.int64)
        self._names = np.empty(0, dtype=np.int64)
        self._columns: Singles = np.empty((0, 0), dtype=np.float32)  # one a row
        self._room: Singles = np.empty((0, 0), dtype=np.float32, order="F")

    def clear(self) -> None:
        """Hold nothing."""
        self._position[self._names] = -1
        self._names = np.empty(0, dtype=np.int64)

    def hold(self, form: Quadratic, support: Ints, names: Ints) -> None:
        """Have the products of a support; only those with new columns are computed."""
        new = self._position[names] < 0
        if not new.any():
            return
        if names.size < _CROWDED * self._names.size:
            self._keep(names[~new])
        assert isinstance(form, DenseForm)
        columns = form.scaled(support[new])
        first, size = self._names.size, self._names.size + columns.shape[1]
        self._reserve(size, len(columns))
        self._columns[first:size] = columns.T
        cross = self._columns[:size] @ columns
        self._room[:size, first:size], self._room[first:size, :size] = cross, cross.T
        self._names = np.concatenate([self._names, names[new]])
        self._position[names[new]] = np.arange(first, size)

    def gram(self, names: Ints) -> Singles:
        """A copy of the products of some held columns, Fortran-ordered."""
        at = self._position[names]
        # By rows, then within them: much faster than both at once.
        return np.take(np.take(self._room.T[:, : self._names.size], at, axis=0), at, axis=1).T

    def multiply(self, names: Ints, v: Floats) -> Floats:
        """Products of some held columns times v."""
        at, full = self._position[names], np.zeros(self._names.size, dtype=np.float32)
        largest = float(np.max(np.abs(v), initial=0.0)) or 1.0
        full[at] = v / largest
        image = self._room[: full.size, : full.size] @ full
        return np.asarray(image[at].astype(np.float64) * largest)

    def _keep(self, names: Ints) -> None:
        """Let go of all other columns."""
        kept, columns = self.gram(names), self._columns[self._position[names]]
        self._room[: names.size, : names.size], self._columns[: names.size] = kept, columns
        self.clear()
        self._names = names.copy()
        self._position[names] = np.arange(names.size)

    def _reserve(self, size: int, rows: int) -> None:
        if size > self._room.shape[0]:
            held, larger = self._names.size, size + size // 2
            room, columns = np.empty((larger, larger), np.float32, order="F"), np.empty((larger, rows), np.float32)
            if held:
                room[:held, :held], columns[:held] = self._room[:held, :held], self._columns[:held]
            self._room, self._columns = room, columns


@final
class Newton:
    """Solves (H + diag l2) step = slope on one support after another."""

    def __init__(self, size: int) -> None:
        """``size`` bounds the numbers by which columns are named."""
        self._position = np.full(size, -1, dtype=np.int64)
        self._factor: Singles | None = None
        self._stale = True
        self._products = _Products(size)

    def reweight(self) -> None:
        """Forms from now on have another Hessian: products are of no use, an old factor still preconditions."""
        self._products.clear()

    def step(
        self, form: Quadratic, support: Ints, names: Ints, b: Floats, l2: Floats, slope: Floats, enough: Floats
    ) -> Floats:
        """Step on a support by preconditioned conjugate gradients (Hestenes & Stiefel 1952).

        Parameters
        ----------
        form : Quadratic
            The least-squares part.
        support, names : int64 [s]
            Columns of the support, in the numbering of ``form`` and by a name that outlives it.
        b, l2, slope : float64 [s]
            Coefficients; diagonal added to the Hessian; right-hand side.
        enough : float64 [s]
            Stop once no gradient is larger.
        """
        told = support.size <= MAX_FACTOR and tells_products(form)
        if told:
            self._products.hold(form, support, names)
        if self._stale or support.size <= SMALL:
            self._renew(form, support, names, l2, told=told)
        scale = form.curvature[support] + l2
        step, rest = np.zeros_like(slope), slope.copy()
        z = self._precondition(names, scale, rest)
        direction, rho = z.copy(), float(rest @ z)
        limit = _MAX_ITERATIONS if self._factor is None else _MANY_TOLD if told else _MANY
        for iteration in range(limit):
            self._stale = iteration == limit - 1
            image = self._products.multiply(names, direction) if told else form.apply(support, direction)
            image += l2 * direction
            bend = float(direction @ image)
            if rho <= 0.0:
                break
            if bend <= _FLAT * float(direction @ (scale * direction)):
                step += _reach(b + step, direction) * direction
                break
            step += (rho / bend) * direction
            rest -= (rho / bend) * image
            if (np.abs(rest) <= enough).all():
                self._stale = False
                break
            z = self._precondition(names, scale, rest)
            rho, old = float(rest @ z), rho
            direction = z + (rho / old) * direction
        return step

    def _renew(self, form: Quadratic, support: Ints, names: Ints, l2: Floats, *, told: bool) -> None:
        self._factor = None
        if support.size > MAX_FACTOR:
            return
        gram = self._products.gram(names) if told else form.gram(support)
        gram[np.diag_indices_from(gram)] += (l2 + _RIDGE * (form.curvature[support] + l2)).astype(np.float32)
        self._position[:] = -1
        if cholesky.factor(gram):
            self._factor = gram
            self._position[names] = np.arange(names.size)

    def _precondition(self, names: Ints, scale: Floats, rest: Floats) -> Floats:
        """Solve with the factor where it knows the column, with the diagonal elsewhere."""
        z = rest / scale
        if self._factor is None:
            return z
        position = self._position[names]
        known = position >= 0
        inner = np.zeros(self._factor.shape[0], dtype=np.float32)
        largest = float(np.max(np.abs(rest), initial=0.0)) or 1.0
        inner[position[known]] = rest[known] / largest
        cholesky.solve(self._factor, inner)
        z[known] = inner[position[known]].astype(np.float64) * largest
        return z


def tells_products(form: Quadratic) -> bool:
    """Whether products of columns, once taken, cost less than multiplying by the columns in every iteration."""
    return isinstance(form, DenseForm) and form.has_few_rows


def _reach(b: Floats, direction: Floats) -> float:
    """Length at which the first coefficient meets zero: as far as a flat direction (collinear columns) may be followed."""
    shrinks = b * direction < 0
    return float(np.min(-b[shrinks] / direction[shrinks], initial=np.inf)) if shrinks.any() else 0.0
