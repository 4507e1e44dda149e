"""``Intervals``: estimates with standard errors, confidence intervals and p-values, and what they are valid for.

All are normal approximations: estimate +- z se, and two-sided p-values of "the coefficient is 0". Read next: ``debias.py`` and
``wald.py``, which make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from distlasso.data.dataset import Dataset
from distlasso.errors import InputError
from distlasso.path.options import number
from distlasso.path.result import Path
from distlasso.path.shown import brief, table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


_WIDEST = 40  # characters of a name that are shown


@final
@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Coefficients of some columns, with their uncertainty.

    Attributes
    ----------
    columns : int64 [q]
        Which, in the order asked for.
    names : list of str
        Their names, or their numbers as text.
    estimate, se : float64 [q]
        On the original scale of the columns.
    level : float
        Of the intervals.
    method : str
        What was computed, and what it is valid for.
    lam : float
        Lambda of the model that was started from.
    variance : float
        Noise variance of squared loss; 1 for losses that imply it.
    path : Path
        The fit that was started from.
    """

    columns: Ints
    names: list[str]
    estimate: Floats
    se: Floats
    level: float
    method: str
    lam: float
    variance: float
    path: Path

    def __repr__(self) -> str:
        p_value, low, high = self.p_value, self.low, self.high
        names = [name if len(name) <= _WIDEST else f"{name[: _WIDEST - 3]}..." for name in self.names]

        def row(k: int) -> list[str]:
            return [names[k], *(brief(own[k]) for own in (self.estimate, self.se, low, high)), f"{p_value[k]:.2g}"]

        header = ("column", "estimate", "se", "low", "high", "p")
        first = f"Intervals({self.columns.size} column(s), level {self.level:g}, lambda {brief(self.lam)})"
        return "\n".join([first, f"  {self.method}", *table(header, self.columns.size, row)])

    @property
    def low(self) -> Floats:
        """Lower ends, [q]."""
        return np.asarray(self.estimate - self._reach)

    @property
    def high(self) -> Floats:
        """Upper ends, [q]."""
        return np.asarray(self.estimate + self._reach)

    @property
    def p_value(self) -> Floats:
        """Two-sided, of the coefficient being 0, one at a time, [q]."""
        return np.asarray(2.0 * ndtr(-np.abs(self.estimate) / self.se))

    @property
    def adjusted(self) -> Floats:
        """The same, adjusted for there being q of them (Holm 1979), [q]."""
        p, order = self.p_value, np.argsort(self.p_value, kind="stable")
        out = np.empty_like(p)
        out[order] = np.minimum(np.maximum.accumulate((p.size - np.arange(p.size)) * p[order]), 1.0)
        return out

    @property
    def _reach(self) -> Floats:
        return np.asarray(ndtri(0.5 + 0.5 * self.level) * self.se)

    def summary(self) -> dict[str, Any]:
        """Everything as plain values."""
        values = {name: getattr(self, name).tolist() for name in ("estimate", "se", "low", "high", "p_value")}
        plain: dict[str, Any] = {"method": self.method, "lambda": self.lam, "variance": self.variance, "level": self.level}
        return plain | {"columns": self.names} | values


def check_level(level: Any) -> float:
    """A confidence level in (0, 1), or what is wrong with it."""
    return number("level", level, lambda v: 0.0 < v < 1.0, "in (0, 1), such as 0.95")


def names_of(dataset: Dataset, columns: Ints) -> list[str]:
    """Names of columns, or their numbers."""
    known = dataset.feature_names
    return [str(j) if known is None else known[j] for j in columns]


def chosen_columns(dataset: Dataset, columns: Any, most: int) -> Ints:
    """Column numbers from numbers, names or a mask; all where nothing is given and there are at most ``most``.

    Raises
    ------
    InputError
        If a column is not there or named twice.
    """
    p, known = dataset.shape[1], dataset.feature_names
    if columns is None:
        if p > most:
            raise InputError(f"columns= is needed: all {p} would be one regression each (without it, at most {most} columns)")
        return np.arange(p)
    items = np.atleast_1d(np.asarray(columns))
    if items.dtype.kind == "U":
        missing = [name for name in items if known is None or name not in known]
        if missing:
            raise InputError(f"column {str(missing[0])!r} is not among the {p} feature names")
        items = np.array([known.index(name) for name in items]) if known else items
    if items.dtype == np.bool_ and items.shape == (p,):
        items = np.flatnonzero(items)
    if items.ndim != 1 or items.size == 0 or items.dtype.kind not in "iu":
        raise InputError(f"columns={columns!r} are not column numbers, names or a mask of {p}")
    bad = items[(items < 0) | (items >= p)]
    if bad.size:
        raise InputError(f"column {bad[0]} is not in the data: it has columns 0 to {p - 1}")
    if np.unique(items).size < items.size:
        raise InputError(f"columns={columns!r} name a column twice")
    return items.astype(np.int64)
