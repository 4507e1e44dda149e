"""Gradients between those that a pass has seen: a batch of neighbouring lambdas needs a pass for a few of them only.

Residuals follow lambda so closely that each is nearly a combination of a few others. Where the gradients of those are known
on all columns, its own is their combination but for what the rest of the residual adds, and that is at most the norm of the
column times the norm of the rest (Cauchy and Schwarz; safe screening: El Ghaoui et al. 2012; Ndiaye et al. 2017). A column
whose bound stays below its penalty says no more about the gap than one that was looked at. Inner products of residuals
need no rows: <r_k, r_l> = <y, r_k> - u_k' b_l, and the gradients u_k of the strong columns are known from the solve.
Read next: ``squared.py``, which proves its solutions by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.space import Space

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_KEPT = 8  # models that the next batch may combine
_RANK = 1e-13  # share of a residual that counts as none


@final
class Spanned:
    """The models that passes have seen last, the null model first: coefficients [S, m], gradients [m, p]."""

    def __init__(self, space: Space, gradient: Floats) -> None:
        """``gradient`` is that of the null model, 0 outside the problem."""
        self._space = space
        self._b, self._gradient = np.zeros((0, 1)), gradient[None, :]

    def gradients(
        self, columns: Ints, b: Floats, u: Floats, slack: float, allowed: Floats, sweep: Callable[[Ints], Floats]
    ) -> tuple[Floats, Floats]:
        """Gradients of models on all columns, and how far each may be off.

        Parameters
        ----------
        columns : int64 [S]
            The strong set; those of earlier calls come first.
        b, u : float64 [S, L]
            Coefficients, and gradients on the strong set.
        slack : float
            Bound on the rounding error of an inner product of residuals.
        allowed : float64 [L]
            Largest radius that is of use.
        sweep : callable
            Gradients [p, m] of some of the models, by a pass.

        Returns
        -------
        gradients : float64 [p, L]
        radius : float64 [L]
            Column j is off by at most radius times the root of its curvature.
        """
        space, m = self._space, self._b.shape[1]
        self._b = np.concatenate([self._b, np.zeros((columns.size - len(self._b), m))])
        all_b, all_u = np.hstack([self._b, b]), np.hstack([self._gradient[:, columns].T, u])
        inner = (space.yy - space.g0[columns] @ all_b)[:, None] - all_u.T @ all_b
        inner = 0.5 * (inner + inner.T)
        chosen = _spanning(inner, m, slack, allowed)
        base = np.concatenate([np.arange(m), m + chosen])
        if chosen.size:
            self._b = np.hstack([self._b, b[:, chosen]])
            self._gradient = np.vstack([self._gradient, sweep(chosen).T])
        share, cross = np.linalg.lstsq(inner[np.ix_(base, base)], inner[base, m:], rcond=_RANK)[0], inner[base, m:]
        rest = np.diag(inner)[m:] - np.einsum("ik,ik->k", share, 2.0 * cross - inner[np.ix_(base, base)] @ share)
        radius = np.sqrt(np.maximum(rest, 0.0) + slack * (1.0 + np.abs(share).sum(axis=0)) ** 2)
        gradients = share.T @ self._gradient
        gradients[chosen], radius[chosen] = self._gradient[m:], 0.0
        keep = np.unique(np.concatenate([[0], np.arange(self._b.shape[1])[-_KEPT:]]))
        self._b, self._gradient = self._b[:, keep], self._gradient[keep]
        return gradients.T, radius


def _spanning(inner: Floats, known: int, slack: float, allowed: Floats) -> Ints:
    """Which models to look at, so that all are close enough to the span of them and of the first ``known``; ascending."""
    rest, open_ = inner.copy(), np.ones(allowed.size, dtype=np.bool_)
    for j in range(known):
        _deflate(rest, j, inner[j, j])
    while open_.any():
        away = np.maximum(np.diag(rest)[known:], 0.0) + slack
        far = np.where(open_ & (away > allowed**2), away / np.maximum(allowed, 1e-300) ** 2, 0.0)
        worst = int(np.argmax(far))
        if far[worst] == 0.0:
            break
        open_[worst] = False
        _deflate(rest, known + worst, inner[known + worst, known + worst])
    return np.flatnonzero(~open_)


def _deflate(rest: Floats, j: int, size: float) -> None:
    """Take what lies along a residual out of all."""
    if rest[j, j] > _RANK * size:
        rest -= np.outer(rest[:, j], rest[j]) / rest[j, j]
