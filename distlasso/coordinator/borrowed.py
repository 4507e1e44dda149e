"""Hessians of fits that go side by side: where several ask for nearly the same one, the first one's serves all.

A Hessian shapes steps and nothing else, and those of ten folds differ by less than it changes from one lambda to the next.
Fits mark what they may share (``Hessian.near``); who computes it depends on the questions of the round alone. Read next:
``lockstep.py``, which asks; ``rounds.py``, which marks.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import final

from distlasso.queries import Ask, Hessian, Query

Place = tuple[int, int]  # a request, and one of its queries


@final
@dataclass(frozen=True, slots=True)
class Borrowed:
    """Requests less what others among them ask too."""

    asks: list[Ask]
    _own: list[list[int]]  # queries that are left of each request
    _from: dict[Place, Place]

    def complete(self, answers: Sequence[Sequence[object]]) -> list[list[object]]:
        """Answers to the requests as they were."""
        given = {(i, q): found for i, (own, answer) in enumerate(zip(self._own, answers, strict=True))
                 for q, found in zip(own, answer, strict=True)}  # fmt: skip
        lent = given | {place: given[source] for place, source in self._from.items()}
        sizes = [len(own) + sum(place[0] == i for place in self._from) for i, own in enumerate(self._own)]
        return [[lent[i, q] for q in range(size)] for i, size in enumerate(sizes)]


def borrow(asks: Sequence[Ask]) -> Borrowed:
    """Leave every Hessian that may be shared to the first request that asks for it."""
    first: dict[Hashable, Place] = {}
    own: list[list[int]] = []
    source: dict[Place, Place] = {}
    for i, ask in enumerate(asks):
        own.append([])
        for q, query in enumerate(ask.request.queries):
            key = _key(ask, query)
            lender = (i, q) if key is None else first.setdefault(key, (i, q))
            if lender == (i, q):
                own[i].append(q)
            else:
                source[i, q] = lender
    if not source:
        return Borrowed(list(asks), own, source)
    left = [replace(ask, request=replace(ask.request, queries=tuple(ask.request.queries[q] for q in kept)))
            for ask, kept in zip(asks, own, strict=True)]  # fmt: skip
    return Borrowed(left, own, source)


def _key(ask: Ask, query: Query) -> Hashable:
    if not isinstance(query, Hessian) or query.near is None or ask.request.columns is None:
        return None
    within = None if query.within is None else query.within.tobytes()
    return query.near, ask.request.columns.tobytes(), within
