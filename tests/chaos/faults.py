"""What is done to a fit, and when: a plan drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

INGEST = "ingest"
PHASES = (
    INGEST, "opening", "statistics", "pass", "round over strong columns", "ADMM round", "cross-validation", "between rounds",
)  # fmt: skip

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


# While a store is written there is nothing but the coordinator and its disk.
_WHILE_INGESTING = ("coordinator killed", "disk full")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done."""

    kind: str
    phase: str  # in which it is to be done
    round: int  # of the undisturbed fit: done once so many rounds have been asked
    later: float  # seconds after that
    lasts: float  # seconds, for those that pass


def draw_plan(rng: random.Random, rounds: Sequence[str], opening: float, mean: float, *, ingests: bool) -> list[Fault]:
    """Faults of a fit, ``mean`` of them on average, as many in each phase it goes through.

    ``rounds`` are the phases of its rounds when nobody disturbs it, and ``opening`` its seconds before the first.
    """
    count = max(1, round(rng.gauss(mean, mean / 4)))
    places: dict[str, list[int]] = {"opening": [0], "between rounds": list(range(1, len(rounds) + 1))}
    if ingests:
        places[INGEST] = [0]
    for number, phase in enumerate(rounds, start=1):
        places.setdefault(phase, []).append(number)
    plan = []
    for _ in range(count):
        phase = rng.choice(list(places))
        kinds = {kind: weight for kind, weight in WEIGHTS.items() if phase != INGEST or kind in _WHILE_INGESTING}
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        later = rng.uniform(0.0, opening if phase == "opening" else 0.02)
        plan.append(Fault(kind, phase, rng.choice(places[phase]), later, rng.uniform(0.2, 1.5)))
    return sorted(plan, key=lambda fault: (fault.round, PHASES.index(fault.phase), fault.later))
