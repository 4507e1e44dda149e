"""What a schedule did to each feature: when it entered, was pruned, came back, and why.

Read next: ``stages.py``, which writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RECORD = np.dtype(
    [("lambda", np.int64), ("stage", np.int64), ("feature", np.int64), ("event", "U8"), ("why", "U15")]
)  # fmt: skip


def no_records() -> NDArray[np.void]:
    """History of a path without a schedule."""
    return np.empty(0, dtype=RECORD)


@dataclass(slots=True)
class History:
    """Collects records; ``lambda`` is an index of the path, -1 for fits before it."""

    records: list[tuple[int, int, int, str, str]] = field(default_factory=list)
    supports: list[Ints] = field(default_factory=list)  # of the first fits of the path
    frozen: list[tuple[int, Ints, Ints]] = field(default_factory=list)

    def along_path(self, supports: list[Ints]) -> None:
        """First fits of the path."""
        self.supports = supports

    def confined(self, k: int, before: Ints, after: Ints) -> None:
        """One more fit at a lambda, of the support under a gentler penalty."""
        self.frozen.append((k, before, after))

    def _unfold(self) -> None:
        """Records of what was only noted: what entered or left since the lambda before, what a refit left out."""
        for k, support, after in self.frozen:
            self._add(k, 1, np.setdiff1d(support, after), "pruned", "other features")
        before = np.empty(0, dtype=np.int64)
        for k, support in enumerate(self.supports):
            self._add(k, 0, np.setdiff1d(support, before), "entered", "path")
            self._add(k, 0, np.setdiff1d(before, support), "pruned", "path")
            before = support
        self.supports, self.frozen = [], []

    def refitted(self, k: int, stage: int, trail: Trail, support: Ints, charge: Floats) -> Trail:
        """One more fit at a lambda; returns the trail up to it."""
        gone, new = np.setdiff1d(trail.support, support), np.setdiff1d(support, trail.support)
        back = np.isin(new, trail.seen)
        for columns, event in ((gone, "pruned"), (new[~back], "entered"), (new[back], "returned")):
            reasons = [_why(event, *pair) for pair in zip(trail.charge[columns], charge[columns], strict=True)]
            self.records += [(k, stage, int(j), event, why) for j, why in zip(columns, reasons, strict=True)]
        return Trail(support, np.union1d(trail.seen, support), charge)

    def array(self, count: int) -> NDArray[np.void]:
        """Records of the first ``count`` lambdas, in order of lambda and stage."""
        self._unfold()
        kept: Any = np.array([record for record in self.records if record[0] < count], dtype=RECORD)
        found: NDArray[np.void] = kept[np.argsort(kept, order=("lambda", "stage", "feature"), kind="stable")]
        return found

    def _add(self, k: int, stage: int, columns: Ints, event: str, why: str) -> None:
        self.records += [(k, stage, int(j), event, why) for j in columns]


@dataclass(frozen=True, slots=True)
class Trail:
    """One lambda so far."""

    support: Ints
    seen: Ints  # nonzero after any fit
    charge: Floats  # [p]: L1 penalty of the last fit, inf where excluded


def _why(event: str, was: float, now: float) -> str:
    """What changed in favour of an event; other features, if its own penalty did not."""
    if np.isinf(now):
        return "excluded"
    if event == "pruned":
        return "heavier penalty" if now > was else "other features"
    return "lighter penalty" if now < was else "other features"
