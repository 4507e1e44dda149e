"""Several outputs under a penalty on rows, sum_j l1_j ||b_j||_2 + l2_j ||b_j||^2 / 2, on columns whose Gram is held.

Block-coordinate descent as in ``block_coordinate.py``, a group in the place of a coefficient: working sets, epochs, and
Newton steps on the rows that are not zero, where the norm is smooth (its curvature is (I - b b' / ||b||^2) / ||b||), by
conjugate gradients. It stops on the duality gap, whose dual norm is that of a row of the gradient.
Read next: ``../kernels/rows.py``, ``../certificate.py``.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.certificate import duality_gap
from distlasso.kernels.rows import descend_rows
from distlasso.penalties import Bounds4

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPOCHS = 4  # of descent between two Newton steps
_MAX_OUTER = 100
_MAX_INNER = 200
_MAX_HALVINGS = 6
_MAX_ITERATIONS = 60
_FORCING = 0.05  # of the slope: what conjugate gradients may leave of it


@final
class RowsForm:
    """Least squares of q outputs on some columns, by G = (1/W) X' W X, g0 = (1/W) X' W Y and yy = (1/W) ||Y||^2.

    The state belongs to one b [S, q]: u = g0 - G b.
    """

    def __init__(self, gram: Floats, g0: Floats, yy: float) -> None:
        self.gram, self._g0, self._yy = gram, g0, yy
        self.move(np.zeros_like(g0))

    def move(self, b: Floats) -> None:
        """Set the state to b afresh."""
        active = np.flatnonzero(b.any(axis=1))
        self.u = np.ascontiguousarray(self._g0 - self.gram[:, active] @ b[active])

    def rr(self, b: Floats) -> float:
        """(1/W) ||Y - X b||^2 at the b of the state."""
        return max(self._yy - float(np.sum(b * (self._g0 + self.u))), 0.0)

    def restrict(self, work: Ints) -> RowsForm:
        """The problem on some of the columns, all other rows being 0."""
        return RowsForm(np.ascontiguousarray(self.gram[np.ix_(work, work)]), self._g0[work], self._yy)


def row_norms(b: Floats) -> Floats:
    """||b_j|| of every row."""
    return np.asarray(np.sqrt(np.sum(b * b, axis=-1)))


def gap_of_rows(rr: float, u: Floats, b: Floats, penalty: Bounds4) -> float:
    """Duality gap of a solution; the slope left in unpenalised rows is charged at face value."""
    free = penalty.is_free()
    charge = float(np.sum(row_norms(u[free]) * (1.0 + row_norms(b[free]))))
    u = np.where(free[:, None], 0.0, u)
    return duality_gap(rr, row_norms(u), row_norms(b), penalty, inner=float(np.sum(u * b)))[0] + charge


def solve_rows(form: RowsForm, penalty: Bounds4, b: Floats, *, target: float) -> Floats:
    """Minimise the restricted problem to an absolute duality gap of ``target``, from b [S, q]."""
    b, best, lowest = b.copy(), b, np.inf
    free = penalty.is_free()
    for _ in range(_MAX_OUTER):
        form.move(b)
        gap = gap_of_rows(form.rr(b), form.u, b, penalty)
        if gap < lowest:
            best, lowest = b.copy(), gap
        work = np.flatnonzero(b.any(axis=1) | (row_norms(form.u) > penalty.l1) | free)
        if gap <= target or work.size == 0:
            break
        found = _descend(form.restrict(work), penalty.take(work), b[work], target)
        if np.array_equal(found, b[work]):
            break
        b[work] = found
    return best


def _descend(form: RowsForm, penalty: Bounds4, b: Floats, target: float) -> Floats:
    """Descend on a working set until its own gap is a third of the target."""
    b = np.ascontiguousarray(b)
    form.move(b)
    for _ in range(_MAX_INNER):
        before = b.copy()
        descend_rows(form.gram, form.u, penalty.l1, penalty.l2, b, _EPOCHS)
        form.move(b)
        if gap_of_rows(form.rr(b), form.u, b, penalty) <= target / 3 or np.array_equal(before, b):
            break
        _newton(form, penalty, b)
    return b


def _newton(form: RowsForm, penalty: Bounds4, b: Floats) -> None:
    """Newton step on the rows that are not zero; those that would turn over become zero; halved until it descends."""
    support = np.flatnonzero(b.any(axis=1) | penalty.is_free())
    own, mine = penalty.take(support), b[support]
    step = _direction(form, own, mine, support)
    before, length = 0.5 * form.rr(b) + _value(own, mine), 1.0
    for _ in range(_MAX_HALVINGS):
        moved = mine + length * step
        moved[(own.l1 > 0) & (np.sum(moved * mine, axis=1) < 0)] = 0.0
        b[support] = moved
        form.move(b)
        if 0.5 * form.rr(b) + _value(own, moved) <= before:
            return
        length *= 0.5
    b[support] = mine
    form.move(b)


def _direction(form: RowsForm, penalty: Bounds4, b: Floats, support: Ints) -> Floats:
    """Solve the Newton equations by conjugate gradients (Hestenes & Stiefel 1952), scaled by each row's own curvature."""
    gram = form.gram[np.ix_(support, support)]
    norms = row_norms(b)
    bend = np.divide(penalty.l1, norms, out=np.zeros_like(norms), where=norms > 0)
    along = np.divide(b, norms[:, None], out=np.zeros_like(b), where=norms[:, None] > 0)
    scale = (np.diag(gram) + penalty.l2 + bend)[:, None]

    def across(v: Floats) -> Floats:
        return np.asarray(v - along * np.sum(along * v, axis=1, keepdims=True))

    def apply(v: Floats) -> Floats:
        return np.asarray(gram @ v + penalty.l2[:, None] * v + bend[:, None] * across(v))

    def precondition(r: Floats) -> Floats:
        inner = (scale - bend[:, None]) * scale
        return np.asarray((r * scale - bend[:, None] * across(r)) / inner)

    rest = form.u[support] - penalty.l1[:, None] * along - penalty.l2[:, None] * b
    step, enough = np.zeros_like(b), _FORCING * float(np.sqrt(np.sum(rest * rest)))
    z = precondition(rest)
    direction, rho = z, float(np.sum(rest * z))
    for _ in range(_MAX_ITERATIONS):
        image = apply(direction)
        curved = float(np.sum(direction * image))
        if rho <= 0.0 or curved <= 1e-12 * float(np.sum(direction * scale * direction)):
            break
        step = step + (rho / curved) * direction
        rest = rest - (rho / curved) * image
        if float(np.sqrt(np.sum(rest * rest))) <= enough:
            break
        z = precondition(rest)
        rho, old = float(np.sum(rest * z)), rho
        direction = z + (rho / old) * direction
    return step


def _value(penalty: Bounds4, b: Floats) -> float:
    return penalty.value(row_norms(b))
