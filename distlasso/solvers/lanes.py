"""Neighbouring lambdas side by side: each starts from the path so far, followed on, and is solved on a thread of its own.

A start two steps ahead costs an epoch or two of the twenty that a solve takes, and halves the time on two processors.
How many go side by side is fixed, so that the bits do not depend on the processors there are; a thread each they get only
where that pays. Read next: ``block_coordinate.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Semaphore
from typing import TypeVar, final

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import working_set
from distlasso.penalties import AtLambda

Floats = NDArray[np.float64]
T = TypeVar("T")

LANES = 2
WORTH_A_LOOK = 1 << 15  # entries, which every model goes through
_WORTH_A_THREAD = 1 << 20  # entries: at 500 x 2,000, where fewer are held, threads took 30 to 50 % more CPU and no less time


_AT_WORK: list[None] = []  # an entry for each of the fits that go side by side and are at work


@final
class Turns:
    """How many of several fits may be at work at the same time: a semaphore, and those that have it share the processors."""

    def __init__(self, count: int = 1) -> None:
        self._turns = Semaphore(count)

    def acquire(self) -> None:
        """Begin to work, once it is one's turn."""
        self._turns.acquire()
        _AT_WORK.append(None)

    def release(self) -> None:
        """Let another one work."""
        _AT_WORK.pop()
        self._turns.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def side_by_side(jobs: Sequence[Callable[[], T]], entries: int, least: int = _WORTH_A_THREAD) -> list[T]:
    """Run jobs on as many threads as there are processors for each fit at work, and return their results in order.

    ``entries`` is the size of the matrix that each job goes through, ``least`` what is worth a thread. Epochs over a small one
    are short, so the jobs would mostly wait for each other to let go of the interpreter: one after the other takes less then.
    """
    threads = min(len(jobs), (os.cpu_count() or 1) // max(len(_AT_WORK), 1))
    if threads <= 1 or entries < least:
        return [job() for job in jobs]
    with ThreadPoolExecutor(threads) as pool:
        # A context each, which holds the caller's np.errstate.
        return [future.result() for future in [pool.submit(copy_context().run, job) for job in jobs]]


def abreast(work: Callable[[Floats], T], b: Floats, entries: int) -> list[T]:
    """What work finds for models b [S, L]: for the first half of them, and for the second, ``side_by_side``."""
    return halves(lambda own: work(b[:, own]), b.shape[1], entries)


def halves(work: Callable[[slice], T], size: int, entries: int) -> list[T]:
    """What work finds for the first half of a range, and for the second, ``side_by_side``."""
    middle = -(-size // LANES)
    parts = [slice(0, middle), slice(middle, size)]
    return side_by_side([partial(work, own) for own in (parts if middle < size else parts[:1])], entries, WORTH_A_LOOK)


@final
class Trail:
    """The last two solutions of a path, which lead to those that come next."""

    def __init__(self, b: Floats) -> None:
        """``b`` is where the path starts."""
        self._past: list[tuple[AtLambda | None, Floats]] = [(None, b)]

    @property
    def b(self) -> Floats:
        """The last solution."""
        return self._past[-1][1]

    def copy(self) -> Trail:
        """A trail of its own from here on."""
        trail = Trail(self.b)
        trail._past = list(self._past)
        return trail

    def extend(self, columns: int) -> None:
        """Columns have been admitted, without coefficients so far."""
        self._past = [(at, np.concatenate([b, np.zeros(columns)])) for at, b in self._past]

    def add(self, at: AtLambda, b: Floats) -> None:
        """A solution is known."""
        self._past = [*self._past[-1:], (at, b.copy())]

    def spelled(self, batch: Sequence[AtLambda]) -> list[object]:
        """The solutions, and whose problem of a batch has the penalty of which."""
        return [[b, None if at is None else at.lam, [at is not None and own.penalty is at.penalty for own in batch]]
                for at, b in self._past]  # fmt: skip

    def ahead(self, at: AtLambda) -> Floats:
        """Where to start: the path is piecewise linear in lambda (Osborne et al. 2000)."""
        (older, before), (last, b) = self._past[0], self._past[-1]
        if older is None or last is None or not (older.penalty is last.penalty is at.penalty and older.lam > last.lam > at.lam):
            return b
        return follow(before, b, (last.lam - at.lam) / (older.lam - last.lam))


def follow(older: Floats, last: Floats, share: float) -> Floats:
    """Follow the path on from its last two solutions: it is piecewise linear in lambda (Osborne et al. 2000).

    ``share`` is the next step in lambda over the last one. Coefficients that are new or would change sign stay.
    """
    return working_set.follow(np.ascontiguousarray(older), np.ascontiguousarray(last), share)
