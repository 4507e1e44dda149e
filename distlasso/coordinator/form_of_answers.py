"""What an answer must look like to be one: classes, shapes and dtypes, before anything compiled follows its numbers.

Read next: ``recorded.py``, which reads answers from a file; ``../queries.py`` (the questions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distlasso.data.pieces import Pieces
from distlasso.data.statistics import ARRAYS, Statistics
from distlasso.held_out import Eta, HeldOut
from distlasso.queries import (
    Ask,
    CellMoments,
    Dual,
    Gather,
    Gradient,
    GradientPartial,
    GramTimes,
    Hessian,
    HessianPartial,
    Look,
    LookPartial,
    Moments,
    Square,
    Value,
)  # fmt: skip
from distlasso.solvers.local_step import LocalPartial, LocalSlope, LocalStep

Shape = tuple[int, ...]


def answers(ask: Ask, found: Sequence[object], shape: tuple[int, int]) -> bool:
    """Whether what was found can be the answer to a request about data of a shape."""
    queries = ask.request.queries
    return len(found) == len(queries) and all(_fits(q, part, ask, shape) for q, part in zip(queries, found, strict=True))


def _fits(query: Any, found: Any, ask: Ask, shape: tuple[int, int]) -> bool:
    request, (n, p) = ask.request, shape
    p = p if request.columns is None else request.columns.size
    models = 0 if request.models is None else request.models.coef.shape[1]
    models = models if ask.derivative is None else ask.derivative.shape[1]
    match query:
        case Gather():
            return type(found) is Pieces and found.shape == (n, query.columns.size)
        case Eta():
            return _is(found, (None, models)) and len(found) <= n
        case LocalSlope() | LocalStep():
            coordinates = query.frame.scale.size + int(query.frame.intercept)
            steps = models if isinstance(query, LocalStep) else 0
            return type(found) is LocalPartial and _is(found.step, (None, coordinates, steps)) and _is(found.slope, (
                len(found.step), coordinates, models))  # fmt: skip
        case Moments() | CellMoments():
            return type(found) is Statistics and all(_is(getattr(found, name), (p,)) for name in ARRAYS)
        case Hessian():
            q = p if query.within is None else query.within.size
            return type(found) is HessianPartial and _is(found.gram, (q, q)) and _is(found.cross, (q,))
        case Look():
            f = query.free.size + 1
            sums = {"value": (models,), "score": (models, f), "information": (models, f, f)}
            return type(found) is LookPartial and all(_is(getattr(found, name), own) for name, own in sums.items())
        case Gradient() | GramTimes():
            sums = {"gradient": (p, models), "total": (models,), "square": (models,)}
            return type(found) is GradientPartial and all(_is(getattr(found, name), own) for name, own in sums.items())
    plain: dict[type[Any], Callable[[], Shape]] = {
        Square: lambda: (p, p), Value: lambda: (models,), Dual: lambda: (models,), HeldOut: lambda: (models,),
    }  # fmt: skip
    return type(query) in plain and _is(found, plain[type(query)]())


def _is(found: Any, shape: tuple[int | None, ...]) -> bool:
    """Whether it is an array of float64 of a shape; None is any length."""
    if not isinstance(found, np.ndarray) or found.dtype != np.float64 or found.ndim != len(shape):
        return False
    return all(expected in (None, size) for expected, size in zip(shape, found.shape, strict=True))
