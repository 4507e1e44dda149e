"""Feature statistics that merge: weighted means, variances and products with the target.

Everything is kept about the mean and merged by the formula of Chan, Golub & LeVeque (1983), so that columns whose mean
is a million standard deviations from 0 lose nothing. A missing value stands for the mean of the others, so it adds nothing
to a deviation; only which weight was present decides how means merge. Read next: ``coordinator/space.py``, which reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels.sparse import RUN

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Statistics:
    """Weighted statistics of some rows and columns; rows of weight 0 are as if absent.

    Attributes
    ----------
    weight : float
        ``W = sum_i w_i``.
    mean, m2, max_abs, cross_y : float64 [p]
        Mean; ``sum_i w_i (x_ij - mean_j)^2``; ``max_i |x_ij|``; ``sum_i w_i (x_ij - mean_j) (y_i - y_mean)``, all over
        the rows where column j has a value; with the mean in their place, missing ones would add 0 to either sum.
    present, present_y : float64 [p]
        Weight of the rows where the column has a value, and the mean of the target over them.
    y_mean, y_m2 : float
        The same of the target less its offset.
    n_rows : int
        Rows of positive weight.
    nnz : int
        Stored entries.
    chain : int
        Roundings, one after the other, that the longest way of a row into a sum has gone through: what bounds its error.
    """

    weight: float
    mean: Floats
    m2: Floats
    max_abs: Floats
    cross_y: Floats
    present: Floats
    present_y: Floats
    y_mean: float
    y_m2: float
    n_rows: int
    nnz: int
    chain: int

    @property
    def sd(self) -> Floats:
        """Population standard deviation over all rows, missing values being the mean, float64 [p]."""
        return np.asarray(np.sqrt(self.m2 / self.weight))

    def scaled(self, factor: float) -> Statistics:
        """Statistics under all weights multiplied by a factor."""
        return Statistics(
            self.weight * factor, self.mean, self.m2 * factor, self.max_abs, self.cross_y * factor,
            self.present * factor, self.present_y, self.y_mean, self.y_m2 * factor, self.n_rows, self.nnz, self.chain + 1,
        )  # fmt: skip

    def filled(self, fill: Floats) -> Statistics:
        """Statistics if what is missing were ``fill`` [p] instead of the mean of these rows."""
        there, away = self.present, self.weight - self.present
        mean = (there * self.mean + away * fill) / self.weight
        m2 = self.m2 + there * (self.mean - mean) ** 2 + away * (fill - mean) ** 2
        cross = self.cross_y + there * (self.present_y - self.y_mean) * (self.mean - fill)
        whole = np.full_like(there, self.weight)
        means = np.full_like(there, self.y_mean)
        return replace(self, mean=mean, m2=m2, cross_y=cross, present=whole, present_y=means, chain=self.chain + MERGED)


MERGED = 4  # roundings of a merge, one after the other
ARRAYS = ("mean", "m2", "max_abs", "cross_y", "present", "present_y")
SCALARS = tuple(field.name for field in fields(Statistics) if field.name not in ARRAYS)


def merge(a: Statistics, b: Statistics) -> Statistics:
    """Statistics of two sets of rows together."""
    if a.weight == 0.0 or b.weight == 0.0:
        full = b if a.weight == 0.0 else a
        return replace(full, nnz=a.nnz + b.nnz)
    weight = a.weight + b.weight
    y_share, y_step = b.weight / weight, b.y_mean - a.y_mean
    present = a.present + b.present
    share = np.divide(b.present, present, out=np.zeros_like(present), where=present > 0)
    between = a.present * share
    with np.errstate(invalid="ignore"):  # infinite means are found by who asked
        step, present_step = b.mean - a.mean, b.present_y - a.present_y
        return Statistics(
            weight=weight,
            mean=a.mean + step * share,
            m2=a.m2 + b.m2 + step * step * between,
            max_abs=np.maximum(a.max_abs, b.max_abs),
            cross_y=a.cross_y + b.cross_y + step * (present_step * between),
            present=present,
            present_y=a.present_y + present_step * share,
            y_mean=a.y_mean + y_step * y_share,
            y_m2=a.y_m2 + b.y_m2 + y_step * y_step * (a.weight * y_share),
            n_rows=a.n_rows + b.n_rows,
            nnz=a.nnz + b.nnz,
            chain=max(a.chain, b.chain) + MERGED,
        )


def hstack(parts: Sequence[Statistics]) -> Statistics:
    """Statistics of the same rows over neighbouring ranges of columns."""
    first = parts[0]
    if len(parts) == 1:
        return first
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return Statistics(
        weight=first.weight, y_mean=first.y_mean, y_m2=first.y_m2, n_rows=first.n_rows,
        nnz=sum(part.nnz for part in parts), chain=max(part.chain for part in parts), **columns,
    )  # fmt: skip


def of_target(weight: Floats, y: Floats) -> tuple[float, float, float, Floats]:
    """W, weighted mean and sum of squares about it, and the deviations of some rows' target."""
    total = float(weight.sum())
    if total == 0.0:
        return 0.0, 0.0, 0.0, np.zeros_like(y)
    mean = _inner(weight, y) / total
    mean += _inner(weight, y - mean) / total
    deviation = y - mean
    return total, mean, _inner(weight, deviation * deviation), deviation


def _inner(a: Floats, b: Floats) -> float:
    """sum_i a_i b_i, a run of rows at a time: BLAS may sum up whatever it is given in one chain."""
    return sum(float(a[first : first + RUN] @ b[first : first + RUN]) for first in range(0, a.size, RUN))
