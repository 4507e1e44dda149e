"""The columns of a fit as the coordinator sees them: centring and scaling as algebra on their statistics.

Dense tiles subtract a fixed shift while they are in cache, because naive algebra loses the answer on columns whose
mean is far from 0 (relative error of a Gram entry: machine epsilon times (mean/sd)^2). The small remainder
``mean - shift`` is handled here. Sparse columns are never shifted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.missing import Code, Imputation
from distlasso.data.statistics import Statistics
from distlasso.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NEGLIGIBLE = 8.0  # mean/sd up to which float64 tiles need no shift: costs two digits at most
_SPARSE_LIMIT = 1e4  # mean/sd beyond which an unshifted column has lost half its digits


@dataclass(frozen=True, slots=True)
class Space:
    """Centred columns and target, all sums divided by the total weight W."""

    shift: Floats | None  # [p]; None is zero
    centre: Floats  # [p]: the mean, or 0 without intercept
    curvature: Floats  # [p]: (1/W) x_j' W x_j, centred if there is an intercept
    sd: Floats  # [p]
    constant: NDArray[np.bool_]  # [p]
    g0: Floats  # [p]: (1/W) X' W y
    y_centre: float
    yy: float  # (1/W) y' W y
    weight: float  # W
    chain: int  # of additions behind the sums, the longest: see ``../data/statistics.py``
    intercept: bool
    imputation: Imputation | None = None  # None: no value is missing

    @property
    def d0(self) -> float:
        """Half the null deviance per weight: what gaps are relative to."""
        return 0.5 * self.yy

    def imputed(self, columns: Ints) -> Imputation | None:
        """What stands for the missing values of some columns."""
        return None if self.imputation is None else self.imputation.take(columns)

    def centred(self, columns: Ints, gathered: Any) -> Floats:
        """Gathered columns, imputed and less their centre, float64 [n, S]."""
        values = gathered.toarray() if sp.issparse(gathered) else gathered
        imputation = self.imputed(columns)
        filled = np.asarray(values, np.float64) if imputation is None else imputation.apply(values)
        return np.asarray(filled - self.centre[columns])

    @property
    def remainder(self) -> Floats:
        """Mean of the shifted columns."""
        return self.centre if self.shift is None else self.centre - self.shift

    def shifted_intercept(self, columns: Ints, coef: Floats) -> Floats:
        """Intercept, on the shifted columns, that makes the weighted residuals sum to zero."""
        return np.asarray(self.y_centre - self.remainder[columns] @ coef)


def centre(
    statistics: Statistics, *, intercept: bool, sparse: bool, narrow: bool, missing_value: Code | None = None
) -> Space:
    """Derive the space of a fit from feature statistics.

    Parameters
    ----------
    statistics : Statistics
        Weighted statistics of all columns and of the target.
    intercept : bool
        Whether columns and target are centred.
    sparse, narrow : bool
        Sparse tiles cannot be shifted; tiles narrower than float64 are widened in cache, where a shift is free.
    missing_value : int or NaN, optional
        Stored value that means missing; the mean takes its place.

    Raises
    ------
    InputError
        If a sparse column has a mean beyond 1e4 standard deviations.
    """
    s = statistics
    sd = s.sd
    constant = sd <= 1e-12 * s.max_abs
    varying = ~constant
    far = np.zeros(sd.size)
    np.divide(np.abs(s.mean), sd, out=far, where=varying)
    shift: Floats | None = None
    if intercept and not sparse and (narrow or bool((far > _NEGLIGIBLE).any())):
        shift = s.mean
    if intercept and sparse and bool((far > _SPARSE_LIMIT).any()):
        worst = int(np.argmax(far))
        raise InputError(
            f"sparse column {worst} has mean/sd = {far[worst]:.1e}, beyond 1e4: store the data dense"
        )
    imputation = None if missing_value is None else Imputation(missing_value, s.mean)
    variance = s.m2 / s.weight
    if intercept:
        return Space(shift, s.mean, variance, sd, constant, s.cross_y / s.weight,
                     s.y_mean, s.y_m2 / s.weight, s.weight, s.chain, True, imputation)  # fmt: skip
    return Space(
        shift,
        np.zeros_like(sd),
        variance + s.mean**2,
        sd,
        constant,
        s.cross_y / s.weight + s.mean * s.y_mean,
        0.0,
        s.y_m2 / s.weight + s.y_mean**2,
        s.weight,
        s.chain,
        False,
        imputation,
    )
