"""Which worker is asked about which bundles, as long as nothing goes wrong.

Every bundle has a home, whose caches know it. When workers leave or join, only as many bundles move as have to. No
network here. Read next: ``ledger.py``, for when something goes wrong.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """Neighbouring bundles [first, last) for a worker."""

    worker: str
    first: int
    last: int


def rehome(homes: Sequence[str], threads: Mapping[str, int]) -> list[str]:
    """Homes of bundles by the threads of the workers that are there: a bundle keeps its home as far as that is fair."""
    order, total = sorted(threads), sum(threads.values())
    ends = [len(homes) * before // total for before in itertools.accumulate((threads[worker] for worker in order), initial=0)]
    quota = {worker: b - a for worker, (a, b) in zip(order, itertools.pairwise(ends), strict=True)}
    kept: Counter[str] = Counter()
    stays = []
    for home in homes:
        stays.append(kept[home] < quota.get(home, 0))
        kept[home] += stays[-1]
    fill = iter([worker for worker in order for _ in range(quota[worker] - kept[worker])])
    return [home if stay else next(fill) for home, stay in zip(homes, stays, strict=True)]


def shares(homes: Sequence[str], threads: Mapping[str, int]) -> list[Share]:
    """Runs of neighbours with the same home, each cut for as many threads as its home has."""
    found, first = [], 0
    for home, run in itertools.groupby(homes):
        size = len(list(run))
        parts = min(size, threads.get(home, 1))
        cuts = [first + size * k // parts for k in range(parts + 1)]
        found += [Share(home, a, b) for a, b in itertools.pairwise(cuts)]
        first += size
    return found
