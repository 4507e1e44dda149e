"""Newton steps on a support whose signs are held: conjugate gradients under a Cholesky factor that follows the support.

It is in float32 with a small ridge, and where Hessians change it is one of the past: it only preconditions, so that neither its
precision nor its age touches the answer, and a path needs a new one every few lambdas instead of one a step.
Read next: ``block_coordinate.py``, which takes the steps.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import working_set
from distlasso.solvers.factor import Factor, factored
from distlasso.solvers.quadratic import GramForm, Quadratic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_FACTOR = 8192  # columns: a factor of more takes longer than the iterations it saves, and 800 MB
_MANY = 16  # iterations after which a new factor pays for itself
# The same where a Gram is at hand, so that a factor is quick: columns for each iteration, and at least. W2 takes a fifth less.
_PER_ITERATION, _LEAST = 480, 3
SMALL = 256  # below this a factor costs less than one iteration saved
_FLAT = 1e-8  # curvature along a direction, relative to that of its columns, that the rounding of a factor may have brought in
_MAX_ITERATIONS = 60  # where no factor can be had


@final
class Newton:
    """Solves (H + diag l2) step = slope on one support after another."""

    def __init__(self) -> None:
        """Without a factor."""
        self._factor: Factor | None = None
        self._stale = True

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
        if self._stale or support.size <= SMALL or not self._follow(form, support, names, l2):
            self._factor = factored(form, support, names, l2) if support.size <= MAX_FACTOR else None
        scale = form.curvature[support] + l2
        step, rest = np.zeros_like(slope), slope.copy()
        z = self._solve(names, scale, rest)
        direction, rho = z.copy(), float(rest @ z)
        limit = _MAX_ITERATIONS if self._factor is None else _patience(form, support.size)
        for iteration in range(limit):
            self._stale = iteration == limit - 1
            if rho <= 0.0:
                self._stale = rho < 0.0
                break
            image = form.apply(support, direction)
            bend, straight = working_set.bend(direction, image, l2, scale)
            if bend <= _FLAT * straight:
                reach = _reach(b + step, direction)
                if bend <= 0.0 or reach * bend < rho:
                    step += reach * direction
                    break
            if working_set.go(step, rest, direction, image, rho / bend, enough):
                self._stale = False
                break
            z = self._solve(names, scale, rest)
            rho, old = float(rest @ z), rho
            direction = z + (rho / old) * direction
        return step

    def _follow(self, form: Quadratic, support: Ints, names: Ints, l2: Floats) -> bool:
        """Have the factor follow the support where products are at hand; elsewhere it stays as it is."""
        return self._factor is None or not isinstance(form, GramForm) or self._factor.follow(form, support, names, l2)

    def _solve(self, names: Ints, scale: Floats, rest: Floats) -> Floats:
        return rest / scale if self._factor is None else self._factor.solve(names, rest, scale)


def _patience(form: Quadratic, size: int) -> int:
    """Iterations after which a new factor pays for itself."""
    return min(max(size // _PER_ITERATION, _LEAST), _MANY) if isinstance(form, GramForm) else _MANY


def _reach(b: Floats, direction: Floats) -> float:
    """Length at which the first coefficient meets zero: as far as a flat direction (collinear columns) may be followed."""
    shrinks = b * direction < 0
    return float(np.min(-b[shrinks] / direction[shrinks], initial=np.inf)) if shrinks.any() else 0.0
