"""What a program is to the comparison: a name, the workloads it can do, and one function that prepares a timed fit.

Next: any of its neighbours, each one program's forms; `worker.py`, which runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import scipy.sparse as sp

from benchmarks.accuracy import single_lambda
from benchmarks.workloads import Problem, Vector

WIDE = {"B1": "F", "B2": "F-float64", "B3": "F-float64"}
"""Dense workloads of few rows, for programs that read floats only."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A path in the original units of X."""

    coef: sp.csr_array  # [k, p]
    intercept: Vector  # [k]
    passes: int | None = None
    """Sweeps over the data as the program counts them; None if it does not."""
    bytes_read: int | None = None
    """Bytes of the data that the sweeps visited."""
    version: str | None = None
    """Of the program, where it is no Python distribution."""


Solve: TypeAlias = Callable[[float], Solution]


class UnavailableError(ImportError):
    """A program that is not installed here; the message is the printed reason."""


@dataclass(frozen=True, slots=True)
class Program:
    """One form of one program."""

    name: str
    peer: str
    """What `--peers` calls it."""
    distribution: str
    """Installed name, for its version."""
    entry: str
    """"module:function": the module is imported and handed to `build`, the function must be there."""
    layouts: dict[str, str]
    """Workloads it is compared on, each with the memory layout of X it is fastest with (`workloads.load`)."""
    tolerances: tuple[float, ...]
    """Loosest first; the loosest that reaches matched accuracy is the one timed."""
    build: Callable[[Any, Problem], Solve]
    """Does what does not belong to the fit (wrapping X, writing a side file); what it returns is timed."""
    threads: int = 2
    """Threads or worker processes that it can use."""
    first: dict[str, float] = field(default_factory=dict)
    """Loosest tolerance worth trying on a full workload: looser ones were seen not to match."""
    single: bool = False
    """Whether it fits one lambda only, and `Solution` has that one alone: the one at half the path."""


def half_way(problem: Problem) -> int:
    """Return the position of the lambda that programs without paths fit."""
    return single_lambda(len(problem.lambdas))
