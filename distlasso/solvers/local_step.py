"""The local step of consensus ADMM, as one bundle of rows takes it: a Newton step under a cached factorisation.

With z the consensus, u the scaled dual of this bundle and f its part of the loss, the step is the d that minimises

    f(z + d) + rho/2 |d + u|^2,      so  (H + rho I) d = -(slope of f at z + rho u)  for a quadratic f.

Starting from z, rather than from the last local solution, gives the slope at z on the way, which is what the gap needs,
and is as good a start: both are where ADMM converges to. For other losses one Newton step a round is enough: two, three or
six took as many rounds, since the next round goes on from there anyway. The Hessian may be that of a model nearby; what
ADMM converges to does not depend on it. Coordinates are columns centred and divided by their root mean
square, and a column of ones where there is an intercept: there one rho suits all of them, and rho I is a multiple of the
diagonal of the Hessian of homogeneous data.
Read next: ``consensus_admm.py``, which makes z and u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from distlasso.data.blocks import Block, symmetric
from distlasso.losses import Loss
from distlasso.queries import RowStep, Tiles

Floats = NDArray[np.float64]

_HALVINGS = 12
_SHARE = 0.25  # of the fall that the slope promises; a parabola gives half of it at its minimum


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """The coordinates of the consensus."""

    rest: Floats  # [S]: mean of the shifted columns
    scale: Floats  # [S]: root mean square of the centred columns
    intercept: bool

    def model(self, x: Floats) -> tuple[Floats, Floats]:
        """Coefficients [S, L] and intercept [L] of the shifted columns."""
        b = x[: self.scale.size] / self.scale[:, None]
        level = x[-1] if self.intercept else np.zeros(x.shape[1])
        return b, level - self.rest @ b

    def eta(self, tile: Block, shift: Floats, x: Floats) -> Floats:
        """Linear predictor without offset, [rows, L]."""
        b, level = self.model(x)
        return np.asarray(tile.eta(np.arange(b.shape[0]), np.ascontiguousarray(b), shift) + level)

    def slope(self, tile: Block, shift: Floats, d: Floats) -> Floats:
        """Columns' products with d [rows, L]."""
        total = d.sum(axis=0)
        inner = (tile.gradient([np.ascontiguousarray(d)], shift)[0] - np.outer(self.rest, total)) / self.scale[:, None]
        return np.concatenate([inner, total[None, :]]) if self.intercept else inner

    def rows(self, tile: Block, shift: Floats) -> Floats:
        """The columns themselves, [rows, S + 1]."""
        inner = (tile.widened(slice(None), shift) - self.rest) / self.scale
        return np.column_stack([inner, np.ones(len(inner))]) if self.intercept else inner

    def hessian(self, tile: Block, shift: Floats, h: Floats) -> Floats:
        """sum_i h_i x_i x_i' over the columns."""
        own = self.slope(tile, shift, h[:, None])[:, 0]
        total, columns = float(h.sum()), self.scale.size
        cross = own[:columns] * self.scale  # of columns that are centred, not scaled
        gram = symmetric(tile.square(h, shift)) - np.outer(self.rest, cross + self.rest * total) - np.outer(cross, self.rest)
        inner = gram / np.outer(self.scale, self.scale)
        if not self.intercept:
            return inner
        return np.block([[inner, own[:columns, None]], [own[None, :columns], np.array([[total]])]])


class Factor(Protocol):
    """A factorisation of H + rho I."""

    def solve(self, right: Floats) -> Floats:
        """Solve for every column of a right-hand side."""


@final
class Cholesky:
    """From the Hessian itself."""

    def __init__(self, hessian: Floats, rho: float) -> None:
        """``hessian`` is overwritten."""
        hessian[np.diag_indices_from(hessian)] += rho
        self._factor = cholesky(hessian, lower=True, overwrite_a=True, check_finite=False)

    def solve(self, right: Floats) -> Floats:
        """Solve for every column of a right-hand side."""
        return np.asarray(cho_solve((self._factor, True), right, check_finite=False))


@final
class Woodbury:
    """From rows A with H = A'A, where they are fewer than columns: (r - A' (A A' + rho I)^-1 A r) / rho."""

    def __init__(self, rows: Floats, rho: float) -> None:
        self._rows, self._rho = rows, rho
        self._inner = Cholesky(rows @ rows.T, rho)

    def solve(self, right: Floats) -> Floats:
        """Solve for every column of a right-hand side."""
        return np.asarray((right - self._rows.T @ self._inner.solve(self._rows @ right)) / self._rho)


@final
@dataclass(frozen=True, slots=True)
class LocalPartial:
    """Local steps from the consensus, and the slope there; unmerged."""

    step: Floats  # [bundles, S + 1, L]; no L where none was asked for
    slope: Floats  # [bundles, S + 1, L]: of minus the loss

    def beside(self, right: object) -> LocalPartial:
        """Bundles one after the other."""
        assert isinstance(right, LocalPartial)
        return LocalPartial(np.concatenate([self.step, right.step]), np.concatenate([self.slope, right.slope]))


@final
@dataclass(frozen=True, slots=True)
class LocalSlope:
    """The slope of every bundle at the models of the request: where its dual starts."""

    frame: Frame

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> LocalPartial:
        slope = self.frame.slope(band.tiles[0], band.shifts[0], step.derivative)
        return LocalPartial(np.empty((1, slope.shape[0], 0)), slope[None])

    def merge(self, left: object, right: object, axis: int) -> LocalPartial:
        assert isinstance(left, LocalPartial) and axis == 0
        return left.beside(right)


@final
@dataclass(frozen=True, slots=True)
class LocalStep:
    """The local step of every bundle from the models of the request; each is told its own dual."""

    frame: Frame
    rho: float
    reference: Floats  # [S + 1]: the model at which the Hessian is taken

    def ask(self, band: Tiles, step: RowStep, loss: Loss | None) -> LocalPartial:
        assert loss is not None and band.own.told is not None
        part = _Part(self.frame, band.tiles[0], band.shifts[0], step, loss)
        dual, slope = band.own.told, part.slope_at_consensus()
        factor = band.own.recall(self._key(loss), lambda: part.factor(self.reference, self.rho))
        down = slope - self.rho * dual
        newton = factor.solve(down)
        found = newton if loss.quadratic else part.shortened(newton, np.sum(down * newton, axis=0), dual, self.rho)
        return LocalPartial(found[None], slope[None])

    def merge(self, left: object, right: object, axis: int) -> LocalPartial:
        assert isinstance(left, LocalPartial) and axis == 0
        return left.beside(right)

    def _key(self, loss: Loss) -> tuple[object, ...]:
        """All that a factorisation follows from, beside the data and the columns asked for."""
        reference = b"" if loss.quadratic else self.reference.tobytes()
        return self.frame.scale.tobytes(), self.frame.rest.tobytes(), self.rho, reference


@final
@dataclass(frozen=True, slots=True)
class _Part:
    """The part of the loss that a bundle has."""

    frame: Frame
    tile: Block
    shift: Floats
    step: RowStep
    loss: Loss

    def slope_at_consensus(self) -> Floats:
        return self.frame.slope(self.tile, self.shift, self.step.derivative)

    def factor(self, reference: Floats, rho: float) -> Factor:
        """Factorise H + rho I, H the Hessian at a reference model."""
        rows, columns = self.tile.shape
        h = self.step.rows.weight * self._curvature(reference)
        if rows < columns:
            return Woodbury(np.sqrt(h)[:, None] * self.frame.rows(self.tile, self.shift), rho)
        return Cholesky(self.frame.hessian(self.tile, self.shift, h), rho)

    def shortened(self, step: Floats, promised: Floats, dual: Floats, rho: float) -> Floats:
        """The Newton step, halved for the models whose local objective does not fall by a share of what its slope promised.

        To fall at all is not enough: a Hessian from elsewhere can be half of what it is here, and then the step leads from
        one side of the minimum to the other, for ever.
        """
        y, weight, eta = self.step.rows.y[:, None], self.step.rows.weight, self.step.eta
        along = self.frame.eta(self.tile, self.shift, step)
        length, short = np.ones(step.shape[1]), np.ones(step.shape[1], dtype=np.bool_)
        before = weight @ self.loss.value(y, eta) + 0.5 * rho * np.sum(dual * dual, axis=0)
        for _ in range(_HALVINGS):
            moved = dual + length * step
            after = weight @ self.loss.value(y, eta + length * along) + 0.5 * rho * np.sum(moved * moved, axis=0)
            short = ~(after <= before * (1.0 + 1e-12) - _SHARE * length * promised)
            if not short.any():
                return length * step
            length[short] *= 0.5
        return np.where(short, 0.0, length) * step

    def _curvature(self, reference: Floats) -> Floats:
        rows = self.step.rows
        eta = np.zeros((rows.y.size, 1)) if rows.offset is None else rows.offset[:, None]
        if not self.loss.quadratic:
            eta = eta + self.frame.eta(self.tile, self.shift, reference[:, None])
        return np.asarray(self.loss.curvature(rows.y, eta[:, 0]))
