"""What is done to a fit, and when: a plan drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

# Kinds of faults, and how often each is drawn.
WEIGHTS = {
    "worker killed": 36.0,
    "worker frozen": 10.0,
    "worker slow": 7.0,
    "connections dropped": 7.0,
    "reads fail": 9.0,
    "worker retired": 6.0,
    "worker joins": 5.0,
    "coordinator killed": 10.0,
    "scheduler killed": 3.0,
    "bit flipped": 3.0,
    "disk full": 3.0,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done."""

    kind: str
    at: float  # seconds after the fit began
    lasts: float  # seconds, for those that pass


def draw_plan(rng: random.Random, seconds: float, mean: float) -> list[Fault]:
    """Faults of a fit that takes so long undisturbed; ``mean`` of them on average."""
    count = max(1, round(rng.gauss(mean, mean / 4)))
    kinds = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)
    # Every fault makes the fit longer, so that later ones find it still at work.
    times = sorted(rng.uniform(0.0, seconds) for _ in kinds)
    return [Fault(kind, at, rng.uniform(0.2, 1.5)) for kind, at in zip(kinds, times, strict=True)]
