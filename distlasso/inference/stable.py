"""``StabilitySelection``: how often every column was selected on half the rows, and what may be said of those often selected.

For half-samples that come in complementary pairs, the expected number of stable columns that a half-sample selects no more
often than a column drawn at random (with probability theta = q / p, q the mean number it selects) is at most

    q^2 / ((2 threshold - 1) p)         whatever the selection       (Shah & Samworth 2013, theorem 1)
    C(threshold, B) q^2 / p             B pairs, simultaneous selection of unimodal distribution (theorem 2)

The first is the bound of Meinshausen & Buehlmann (2010, theorem 1) on falsely selected columns, which asks for exchangeable
noise columns instead. Read next: ``stability.py``, which makes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.errors import InputError
from distlasso.path.course import Fitted
from distlasso.path.result import Path
from distlasso.path.shown import brief, listed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BOUNDS = ("worst", "unimodal")


@final
@dataclass(frozen=True, slots=True, eq=False)
class StabilitySelection:
    """Selection probabilities along a path, and the stable set.

    A *region* is all lambdas down to one of them. A column is stable if its probability reaches the threshold somewhere in
    the region, and the region ends before the bound on false selections passes ``max_false``.

    Attributes
    ----------
    path : Path
        The fit to all rows at the same lambdas; its passes and seconds are those of everything.
    probabilities : csr_array [k, p]
        Share of the half-samples on which the column is selected, at each lambda.
    q : float64 [k]
        Mean number of columns that a half-sample selects at this lambda or a larger one.
    gaps : float64 [k, halves]
        Duality gaps of the fits to the half-samples.
    n_halves : int
        Half-samples, two for each complementary pair.
    threshold, max_false, bound
        As asked for.
    """

    path: Path
    probabilities: sp.csr_array
    q: Floats
    gaps: Floats
    n_halves: int
    threshold: float
    max_false: float | None
    bound: str

    def __repr__(self) -> str:
        names, region = self.names, self.region()
        false = brief(float(self.expected_false()[region - 1])) if region else "0"
        limit = "no limit" if self.max_false is None else f"at most {self.max_false:g} asked for"
        return (
            f"StabilitySelection({len(names)} stable of {self.n_columns} columns, threshold {self.threshold:g}, {self.n_halves} "
            f"halves)\n"
            f"  stable: {listed(names) or 'none'}\n"
            f"  expected false selections <= {false} ({self.bound} bound, {limit}), {region} of {self.q.size} lambdas"
        )

    @property
    def lambdas(self) -> Floats:
        """Lambdas, [k]."""
        return self.path.lambdas

    @property
    def n_columns(self) -> int:
        """Columns that vary, and so could have been selected."""
        return int(self.probabilities.shape[1] - self.path.dropped.size)

    @property
    def stable(self) -> Ints:
        """The stable set, ascending."""
        return self.stable_set()

    @property
    def names(self) -> list[str]:
        """Names of the stable columns, or their numbers as text."""
        known = self.path.feature_names
        return [str(j) if known is None else known[j] for j in self.stable]

    def stable_set(self, threshold: float | None = None, *, max_false: float | None = None, bound: str | None = None) -> Ints:
        """The stable set under another threshold, limit or bound, ascending; nothing is fitted again."""
        level = self.threshold if threshold is None else check_threshold(threshold)
        peak = self.peak(self.region(level, max_false=max_false, bound=bound))
        return np.flatnonzero(peak >= level - 1e-12).astype(np.int64)

    def peak(self, region: int) -> Floats:
        """Largest probability of every column over the first ``region`` lambdas, [p]."""
        if region == 0:
            return np.zeros(self.probabilities.shape[1])
        return np.asarray(self.probabilities[:region].max(axis=0).toarray()).ravel()

    def region(self, threshold: float | None = None, *, max_false: float | None = None, bound: str | None = None) -> int:
        """How many lambdas, from the largest on, keep the bound on false selections; all where there is no limit."""
        limit = self.max_false if max_false is None else check_limit(max_false)
        if limit is None:
            return int(self.q.size)
        beyond = self.expected_false(threshold, bound=bound) > limit
        return int(np.argmax(beyond)) if beyond.any() else int(self.q.size)

    def expected_false(self, threshold: float | None = None, *, bound: str | None = None) -> Floats:
        """Bound on the expected number of false selections, if the region ended at each lambda, [k]."""
        level = self.threshold if threshold is None else check_threshold(threshold)
        kind = check_bound(self.bound if bound is None else bound)
        pairs, p = self.n_halves // 2, self.n_columns
        level = math.ceil(2 * pairs * level - 1e-9) / (2 * pairs)  # what shares of so many half-samples can be
        factor = np.full(self.q.size, 1.0 / (2.0 * level - 1.0))
        if kind == "unimodal":
            factor = np.minimum(factor, [unimodal(level, pairs, q / p) for q in self.q])
        return np.asarray(np.minimum(factor * self.q, p) * self.q / p if p else np.zeros(self.q.size))

    def summary(self) -> dict[str, Any]:
        """The stable set and its bound, as plain values."""
        region = self.region()
        false = float(self.expected_false()[region - 1]) if region else 0.0
        return {
            "stable": self.names, "threshold": self.threshold, "max_false": self.max_false, "bound": self.bound,
            "expected_false": false, "halves": self.n_halves, "region": region,
            "lambda": float(self.lambdas[region - 1]) if region else None, "largest_half_gap": float(self.gaps.max()),
        } | {name: self.path.summary()[name] for name in ("lambdas", "passes", "rounds", "seconds", "solver")}  # fmt: skip


class Tally:
    """How often every column was selected; solutions are counted and let go."""

    def __init__(self, p: int) -> None:
        self._p = p
        self.counts: Any = None  # csr_array [k, p]
        self.sizes = np.empty(0)  # [k]: columns selected at a lambda or before, over all halves
        self.gaps: list[Floats] = []

    @property
    def length(self) -> int:
        """Lambdas that every half has reached."""
        return min(gap.size for gap in self.gaps)

    def add(self, fitted: Fitted) -> None:
        """Count one half."""
        coef = sp.csr_array(sp.vstack(fitted.solutions.coef, format="csr"))
        k = coef.shape[0]
        row = np.repeat(np.arange(k), np.diff(coef.indptr))
        first = np.full(self._p, k)
        np.minimum.at(first, coef.indices, row)
        sizes = np.cumsum(np.bincount(first, minlength=k + 1)[:k]).astype(np.float64)
        ones = sp.csr_array((np.ones(coef.nnz), coef.indices, coef.indptr), shape=coef.shape)
        if self.counts is None:
            self.counts, self.sizes = ones, sizes
        else:
            length = min(k, self.sizes.size)
            self.counts, self.sizes = self.counts[:length] + ones[:length], self.sizes[:length] + sizes[:length]
        self.gaps.append(np.array(fitted.solutions.gap))


def unimodal(threshold: float, pairs: int, theta: float) -> float:
    """C(threshold, B) of Shah & Samworth (2013), theorem 2; infinite where the theorem does not reach.

    It is for theta <= 1/sqrt(3), and for thresholds that are multiples of 1/(2B), from 1/2 + 1/B on.
    """
    least = min(0.5 + theta**2, 0.5 + 0.5 / pairs + 0.75 * theta**2)
    if theta > 1.0 / math.sqrt(3.0) or threshold <= least or threshold < 0.5 + 1.0 / pairs - 1e-12:
        return math.inf
    if threshold <= 0.75:
        return 1.0 / (2.0 * (2.0 * threshold - 1.0 - 0.5 / pairs))
    return 4.0 * (1.0 - threshold + 0.5 / pairs) / (1.0 + 1.0 / pairs)


def check_threshold(threshold: Any) -> float:
    """A threshold in (0.5, 1], or what is wrong with it."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | np.number) or not 0.5 < threshold <= 1.0:
        raise InputError(f"threshold={threshold!r} is not in (0.5, 1]: the bounds hold above one half only")
    return float(threshold)


def check_limit(max_false: Any) -> float | None:
    """A limit of false selections, or what is wrong with it."""
    if max_false is None:
        return None
    if isinstance(max_false, bool) or not isinstance(max_false, int | float | np.number) or not 0 < max_false < np.inf:
        raise InputError(f"max_false={max_false!r} is not a positive number of columns")
    return float(max_false)


def check_bound(bound: Any) -> str:
    """The name of a bound, or what is wrong with it."""
    if bound not in BOUNDS:
        raise InputError(f"bound={bound!r} is not known: use one of {', '.join(BOUNDS)}")
    return str(bound)
