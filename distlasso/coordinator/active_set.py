"""Batch screening as a pure state machine: which lambdas to solve next, and which columns to admit first.

    (state, event) -> (state, command)

A batch of lambdas is solved on the strong set and verified by one pass. The certified prefix is accepted; columns
that violate optimality anywhere in the batch are admitted; columns that are about to enter are predicted from the
last gradient and its trend over lambdas (the sequential strong rule of Tibshirani et al. 2012, sharpened), so that
a pass certifies many lambdas (batch screening: Qian et al. 2020). Exactness never rests on the prediction: only the
certificate accepts. Read next: ``drive.py``, which executes the commands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MAX_BATCH = 32  # right-hand sides of one pass: beyond this, a pass costs more than it saves
EXPECTED = 0.96  # a column is expected once its predicted strength comes this close to lambda
_UNTOLD = 0.5  # the same far ahead of a gradient without a trend: W4 takes the passes of 0.25 with a third of the columns
_BUDGET = 256  # columns that may always be admitted at once
_GROWTH = 2  # more than that, up to this multiple of those that are strong already: W6 takes 7 passes, and 10 with 1
LAVISH, _LAVISH_GROWTH = 0.8, 4  # the same margin and multiple where columns cost little
_STALLS = 2  # sharper inner solves tried before a lambda is reported as not converged


@dataclass(frozen=True, slots=True)
class Verified:
    """A pass has looked at a batch of solutions over all columns."""

    gaps: Floats  # [L], relative to D0
    strength: Floats  # [p, L]: the lambda at which each column would just stay out, at each solution


@dataclass(frozen=True, slots=True)
class Solve:
    """Admit columns, solve lambdas [start, stop) on the strong set, verify them in one pass."""

    start: int
    stop: int
    admit: Ints
    sharpness: int  # 0, 1, 2: how much tighter than usual the restricted problems are solved


@dataclass(frozen=True, slots=True)
class Finish:
    """Every lambda has been accepted, or the path was cut short."""


Command = Solve | Finish


@dataclass(frozen=True, slots=True)
class State:
    """What the coordinator knows; arrays are never changed in place."""

    # fixed for the whole fit
    lambdas: Floats
    tol: float
    most: int  # lambdas of a batch
    lavish: bool  # whether columns cost little once admitted: too few then costs more than too many
    # changes when columns are admitted
    strong: Mask
    own: int  # how many of them this fit has asked for: columns of fits beside it are no measure of what it needs
    # changes with every batch
    accepted: int = 0
    stop: int = 0
    sharpness: int = 0
    not_converged: frozenset[int] = frozenset()


def begin(
    lambdas: Floats, tol: float, admitted: Mask, strength: Floats, lam_max: float, most: int = MAX_BATCH,
    *, lavish: bool = False,
) -> tuple[State, Command]:  # fmt: skip
    """Plan the first batch from the gradient of the null model.

    Parameters
    ----------
    lambdas : float64 [K]
        Descending.
    tol : float
        Relative gap to reach.
    admitted : bool [p]
        Columns in the strong set from the start (unpenalised ones, or all).
    strength : float64 [p]
        Lambda at which each column would just stay out of the null model.
    lam_max : float
        The largest of them.
    most : int
        Lambdas of a batch at most.
    lavish : bool
        Whether columns cost little once admitted.
    """
    state = State(lambdas, tol, most, lavish, admitted, int(admitted.sum()))
    return _plan(state, strength[:, None], np.array([max(lam_max, lambdas[0])]))


def join(state: State, columns: Ints) -> State:
    """Take notice of columns that were admitted for others."""
    strong = state.strong.copy()
    strong[columns] = True
    return replace(state, strong=strong)


def step(state: State, event: Verified) -> tuple[State, Command]:
    """Accept the certified prefix of a batch and plan the next one."""
    good = event.gaps <= state.tol
    n_good = int(good.size if good.all() else np.argmin(good))
    start = state.accepted
    if n_good > 0:
        state = replace(state, accepted=start + n_good, sharpness=0)
    lams = state.lambdas[start : start + good.size]
    if n_good < good.size:
        open_ = slice(n_good, good.size)
        violators = (event.strength[:, open_] > lams[open_]).any(axis=1) & ~state.strong
        if n_good == 0 and not (event.strength[:, 0] > lams[0])[~state.strong].any():
            if state.sharpness >= _STALLS:
                state = replace(
                    state,
                    accepted=start + 1,
                    sharpness=0,
                    not_converged=state.not_converged | {start},
                )
            else:
                state = replace(state, sharpness=state.sharpness + 1)
        if state.accepted < state.lambdas.size:
            return _plan(state, event.strength, lams, violators, keep_stop=state.stop)
    if state.accepted >= state.lambdas.size:
        return state, Finish()
    return _plan(state, event.strength, lams)


def _plan(
    state: State, strength: Floats, lams: Floats, violators: Mask | None = None, keep_stop: int = 0
) -> tuple[State, Command]:
    """Choose the next batch and whom to admit before it is solved."""
    start = state.accepted
    limit = min(start + state.most, state.lambdas.size)
    margin, growth = (LAVISH, _LAVISH_GROWTH) if state.lavish else (EXPECTED, _GROWTH)
    budget = max(_BUDGET, growth * state.own)
    stop, expected = limit, _expected(strength, lams, state.lambdas[limit - 1], margin) & ~state.strong
    while stop > start + 1 and stop > keep_stop and int(expected.sum()) > budget:
        stop = start + max(1, (stop - start) * 3 // 4)
        expected = _expected(strength, lams, state.lambdas[stop - 1], margin) & ~state.strong
    admit = expected if violators is None else expected | violators
    if state.lavish and 2 * int((state.strong | admit).sum()) > admit.size:
        admit = ~state.strong  # a guess that misses a few costs a second solve, and saves less than half of a look
    state = replace(state, strong=state.strong | admit, own=state.own + int(admit.sum()), stop=stop)
    return state, Solve(start, stop, np.flatnonzero(admit), state.sharpness)


def _expected(strength: Floats, lams: Floats, target: float, margin: float) -> Mask:
    """Columns expected to be needed at ``target``, from the last gradient and its trend over the batch."""
    last = strength[:, -1]
    if lams.size == 1 or lams[-1] >= lams[0]:
        return np.asarray(last >= min(2.0 * target - lams[-1], margin * target) if target > 0.5 * lams[-1]
                          else last >= _UNTOLD * target)  # fmt: skip
    back = int(np.searchsorted(-lams, -1.3 * lams[-1]))
    back = min(back, lams.size - 2)
    slope = (last - strength[:, back]) / (lams[back] - lams[-1])
    predicted = last + np.maximum(slope, 0.0) * (lams[-1] - target)
    return np.asarray(predicted >= margin * target)
