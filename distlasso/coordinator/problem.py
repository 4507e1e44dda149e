"""What the batch loop needs of a problem: admit columns, solve lambdas on the strong set, certify the solutions.

Two kinds exist: ``squared.py``, where complete statistics and exact quadratics do most of the work, and ``general.py``,
for any loss and any solver. Read next: ``drive.py``, which runs the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.exchange import Exchange
from distlasso.coordinator.gathered import Gathered
from distlasso.coordinator.space import Space
from distlasso.penalties import AtLambda, ElasticNet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# What gaps were computed from.
SWEPT = "fresh float64 pass over all rows and columns"
STATISTICS = "complete float64 statistics, rounding bound below tol/10"
SPANNED = "fresh float64 passes over all rows and columns, and bounds between neighbouring lambdas"
CONFINED = "float64 sums over all rows of the columns that may be nonzero"


class Sharing(Protocol):
    """Strong columns of several fits; see ``shared.py``."""

    @property
    def gathered(self) -> Gathered | None:
        """The columns, where the coordinator holds them."""

    def gram(self, size: int) -> Floats | None:
        """The Gram of the first few columns for this fit, where there is one."""

    @property
    def chain(self) -> int:
        """Additions, one after the other, behind the Gram at most."""

    def admit(self, wanted: Ints, have: int) -> Ints:
        """Admit columns, and return what comes behind the first ``have`` of the fit: these, or what anybody has admitted."""


@dataclass(frozen=True, slots=True)
class Task:
    """A path to fit: the problem, and the data behind an exchange."""

    space: Space
    penalty: ElasticNet
    keep: Ints  # columns of the problem: not constant, not excluded
    free: Ints  # of these, the unpenalised ones, with bounds or without, ascending
    exchange: Exchange
    y: Floats  # [n], as the loss wants it
    weight: Floats  # [n], sums to 1
    offset: Floats | None  # [n]; None where it was subtracted from y
    sparse: bool
    by_columns: bool
    tol: float
    chain: int  # of additions behind ``gram`` and what passes sum over rows, the longest
    gram: Floats | None = None  # (1/W) X' w X of ``keep``, centred, where fits of several responses share it
    shared: Sharing | None = None  # the strong columns, where fits that go side by side have them together


@dataclass(frozen=True, slots=True)
class Certified:
    """A batch of solutions with their proof."""

    columns: Ints  # the strong set
    b: Floats  # [|S|, L]; [|S|, L, q] where q responses share a penalty
    intercept: Floats  # [L] or [L, q], of the centred columns
    gaps: Floats  # [L], relative to D0
    value: Floats  # [L]: mean loss above its minimum
    strength: Floats  # [p, L]: lambda at which each column would just stay out


@dataclass(frozen=True, slots=True)
class Sums:
    """What squared loss is made of on some columns, centred, over W."""

    gram: Floats  # [m, m]
    g: Floats  # [m]
    yy: float
    chain: int  # of additions behind the Gram, the longest


class Problem(Protocol):
    """A loss and a penalty on a data set."""

    @property
    def d0(self) -> float:
        """Mean loss of the null model, above its minimum."""

    @property
    def most(self) -> int:
        """Lambdas of a batch at most."""

    @property
    def lavish(self) -> bool:
        """Whether columns cost little once admitted."""

    @property
    def null_intercept(self) -> float:
        """Intercept of the null model."""

    @property
    def certificate(self) -> str:
        """What the gaps were computed from."""

    @property
    def columns(self) -> Ints:
        """The strong set, in order of admission."""

    def null_gradient(self) -> Floats:
        """Gradient at the model of offset, intercept and unpenalised columns, [p]; 0 outside the problem."""

    def admit(self, columns: Ints) -> None:
        """Put columns behind the strong set."""

    def begin(self, at: AtLambda, b: Floats, intercept: float) -> None:
        """Where to start one problem of a later batch: b [|S|] on the strong set, intercept of the centred columns."""

    def solve(self, batch: Sequence[AtLambda], sharpness: int) -> None:
        """Solve a batch on the strong set, each ``sharpness`` making it ten times tighter."""

    def certify(self, batch: Sequence[AtLambda]) -> Certified:
        """Verify the batch that was solved last, over all columns that may be nonzero."""

    def value(self, b: Floats, intercept: float) -> float:
        """Mean loss, above its minimum, of coefficients [|S|] on the strong set."""

    def accept(self, certified: Certified, count: int) -> None:
        """Start from the last of ``count`` accepted solutions next time."""

    def sums(self, columns: Ints) -> Sums | None:
        """Sums over all rows of some columns that were admitted; None where the loss is not made of them."""
