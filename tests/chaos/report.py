"""What came of it, as the table that the README shows."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import nnls

from tests.chaos.faults import PHASES, WEIGHTS


@dataclass
class Ended:
    """One fit."""

    job: str
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind and phase
    errors: list[str] = field(default_factory=list)
    interruptions: int = 0
    rounds: int = 0
    redone: int = 0
    seconds: float = 0.0
    quiet_seconds: float = 0.0
    trouble: str = ""
    stacks: str = ""  # where workers were then

    def count(self, kind: str, phase: str) -> None:
        self.faults[kind, phase] += 1


@dataclass
class Report:
    """All fits."""

    fits: list[Ended] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, ended: Ended) -> None:
        self.fits.append(ended)

    @property
    def n_faults(self) -> int:
        return sum(fit.faults.total() for fit in self.fits)

    @property
    def n_troubles(self) -> int:
        return sum(bool(fit.trouble) for fit in self.fits)

    def of(self, kind: str) -> int:
        return sum(number for fit in self.fits for (own, _), number in fit.faults.items() if own == kind)

    def slowdowns(self) -> dict[str, float]:
        """Seconds that a fault of each kind adds to a fit: nonnegative least squares over all fits."""
        counts = np.array([[sum(n for (own, _), n in fit.faults.items() if own == kind) for kind in WEIGHTS] for fit in self.fits])
        added = np.array([fit.seconds - fit.quiet_seconds for fit in self.fits])
        seconds, _ = nnls(counts.astype(float), np.maximum(added, 0.0))
        return dict(zip(WEIGHTS, seconds.tolist(), strict=True))

    def markdown(self) -> str:
        """As tables."""
        hung = sum(fit.trouble.startswith("hung") for fit in self.fits)
        stopped = [fit for fit in self.fits if fit.errors and not fit.trouble]
        interruptions = sum(fit.interruptions for fit in self.fits)
        redone = [fit.redone / fit.interruptions for fit in self.fits if fit.interruptions and not fit.trouble]
        wrong = sum(fit.trouble == "wrong" for fit in self.fits)
        lines = [
            f"{len(self.fits)} fits with {self.n_faults} faults in {self.seconds / 60:.1f} minutes: {wrong} wrong answers, "
            f"{hung} hangs, {self.n_troubles - hung - wrong} other failures.",
            "",
            f"- {len(self.fits) - len(stopped) - self.n_troubles} fits ended with the bits of the quiet run without being asked "
            f"twice (or were resumed after their coordinator was killed); {len(stopped)} stopped with a clear error first, and had "
            "the same bits when resumed.",
            f"- {interruptions} times a fit went on from its checkpoint; rounds done again each time: "
            f"{statistics.mean(redone):.2f} on average, at most {max(redone):.1f}." if redone else "- No fit was interrupted.",
            "",
            "| fault | " + " | ".join(PHASES) + " | all | seconds added by each |",
            "|---|" + "---|" * (len(PHASES) + 2),
        ]  # fmt: skip
        slowdowns = self.slowdowns() if self.fits else {}
        for kind in WEIGHTS:
            by_phase = [sum(fit.faults[kind, phase] for fit in self.fits) for phase in PHASES]
            numbers = " | ".join(str(number) for number in by_phase)
            lines.append(f"| {kind} | {numbers} | {sum(by_phase)} | {slowdowns.get(kind, 0.0):.2f} |")
        lines += ["", "| fit | times | faults | seconds undisturbed | seconds, median |", "|---|---|---|---|---|"]
        for job in sorted({fit.job for fit in self.fits}):
            own = [fit for fit in self.fits if fit.job == job]
            lines.append(f"| {job} | {len(own)} | {sum(fit.faults.total() for fit in own)} | {own[0].quiet_seconds:.1f} | "
                         f"{statistics.median(fit.seconds for fit in own):.1f} |")  # fmt: skip
        errors = Counter(error.split(":")[0] for fit in self.fits for error in fit.errors)
        if errors:
            lines += ["", "Errors that fits stopped with: " + ", ".join(f"{name} {n}" for name, n in errors.most_common()) + "."]
        troubles = [f"- {fit.job}: {fit.trouble}" for fit in self.fits if fit.trouble]
        return "\n".join(lines + (["", *troubles] if troubles else []))
