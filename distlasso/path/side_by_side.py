"""Many fits of one dataset, in groups that share every pass and have room beside each other.

Of a group that is done only what its fits came to is kept. Read next: ``course.py`` (one fit),
``../coordinator/lockstep.py`` (how passes are shared).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from distlasso.coordinator.exchange import Exchange
from distlasso.coordinator.lockstep import Lockstep
from distlasso.events import Event
from distlasso.path.course import Course, Fitted
from distlasso.path.opened import Opened
from distlasso.path.plan import at_once, turns
from distlasso.path.progress import Together

Floats = NDArray[np.float64]

_GRAMS = 1 << 30  # bytes of the Grams of a group
_COPIES = 3  # of each: the Gram, a working copy, a factor


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit."""

    rows: int  # the row space it asks about
    course: Callable[[Exchange], Course]  # makes its course, when its turn has come
    lambdas: Callable[[float | None], Floats]  # from the lambda where the first coefficient comes in; None: constant target


def fit_all(data: Opened, fits: Sequence[Fit], together: Together, *, before: int = 0) -> Iterator[tuple[Floats, Fitted]]:
    """Yield the lambdas and solutions of every fit, in order; shift and imputation of the data hold for all of them.

    Progress is announced ``together`` with that of ``before`` fits that are done.
    """
    exchange, size = data.exchange, _together(data)
    for first in range(0, len(fits), size):
        group = fits[first : first + size]
        announce = partial(_announce, together, before + first)
        lockstep = Lockstep(exchange, len(group), at_once=size, turns=turns(data.dataset.shape), announce=announce)
        rows, listener = exchange.rows, exchange.listener
        if len(group) == 1:  # which asks through the exchange itself
            exchange.listener = partial(announce, 0)
        try:
            courses = []
            for fit, own in zip(group, lockstep.exchanges, strict=True):
                own.rows = fit.rows
                courses.append(fit.course(own))
            tops = [top for (top,) in lockstep.run([course.begin for course in courses])]
            grids = [fit.lambdas(top) for fit, top in zip(group, tops, strict=True)]
            works = [partial(course.run, [grid], data.options.limits) for course, grid in zip(courses, grids, strict=True)]
            done = [fitted for (fitted,) in lockstep.run(works)]
        finally:
            exchange.rows, exchange.listener = rows, listener
        yield from zip(grids, done, strict=True)


def _announce(together: Together, before: int, fit: int, event: Event) -> None:
    together.announce(before + fit, event)


def _together(data: Opened) -> int:
    """Fits that share a pass."""
    p, size = data.dataset.shape[1], at_once(data.dataset.shape)
    return max(1, min(size, _GRAMS // (_COPIES * 8 * p * p))) if data.form.kind == "gram" else size
