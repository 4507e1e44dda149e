"""What is printed: one markdown table a workload, with the machine above it, and the section of a file they go to.

Read `compare.py` first.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import scipy

from benchmarks.accuracy import FRACTIONS, MATCHED
from benchmarks.workloads import Problem

COLUMNS = (
    "program",
    "version",
    "threads",
    "tol",
    "seconds",
    "CPU s",
    "fastest peer / this",
    "matched",
    "excess",
    "worst gap",
    "passes",
    "GB read",
    "peak MB",
    "warm-up s",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One program at one tolerance."""

    name: str
    peer: str
    version: str
    threads: int
    tol: float
    seconds: tuple[float, ...]
    cpu_seconds: float
    warm_seconds: float
    peak_bytes: int
    passes: int | None
    bytes_read: int | None
    excess: float
    gap: float
    single: bool = False
    """Whether it fitted one lambda only."""

    @property
    def median(self) -> float:
        """Median of the timed rounds."""
        return float(np.median(self.seconds))

    @property
    def matched(self) -> bool:
        """Whether the objective is within MATCHED of the best known at all five lambdas."""
        return self.excess <= MATCHED


@dataclass(frozen=True, slots=True)
class Beyond:
    """One program whose fit was ended at the time limit."""

    name: str
    threads: int
    tol: float
    limit: float
    single: bool = False


EXPLANATION = (
    "`seconds`: the whole path on data in memory, compile time excluded (a warm-up on tiny data, first call, in the last "
    "column); `> s` where the fit was ended. `threads`: what the program can use; `CPU s`: processor time of the fit, all its "
    "processes. `excess`: worst relative objective excess over the best objective any program reached, "
    f"`matched` if at most {MATCHED:g}; `worst gap`: duality gap over the null model's loss; both by one routine of this "
    f"package, in float64, at {', '.join(f'{100 * f:.0f}' for f in FRACTIONS)} % of the path. `fastest peer`: the fastest "
    "matched program that is not distlasso and fits the whole path (`one lambda`: that at half the path). `passes` and `GB "
    "read` as the program counts them. `peak MB`: sum of the peak resident sets of its processes, data included."
)


def header(scale: str, seed: int, rounds: int, threads: str, limit: float) -> str:
    """Return when, where and how a table was measured."""
    return (
        f"{today()}, {cpu_name()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}; scale {scale}, seed {seed}, {threads} threads for every program, each fit in its own "
        f"process, programs in turn, {'timed once' if rounds == 1 else f'median of {rounds}'}, a fit ended after {limit:g} s."
    )


def today() -> str:
    """Return the date, as UTC has it."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def cpu_name() -> str:
    """Return the CPU's name where Linux tells it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def render(name: str, problem: Problem, rows: Sequence[Row], beyond: Sequence[Beyond], notes: Sequence[str]) -> str:
    """Return the markdown section of one workload, fastest program first, skipped programs with their reasons below."""
    n, p = problem.X.shape
    ratio = problem.lambdas[-1] / problem.lambdas[0]
    title = f"### {name}: {n:,} x {p:,}, {problem.loss}, {len(problem.lambdas)} lambdas to {ratio:g} lambda_max"
    lines = [title, ""]
    if rows or beyond:
        lines += ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
        lines += [_line(row, _ratio(row, rows, beyond)) for row in sorted(rows, key=lambda row: row.median)]
        lines += [_beyond(one) for one in beyond]
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    return "\n".join(lines)


def _ratio(row: Row, rows: Sequence[Row], beyond: Sequence[Beyond]) -> str:
    """Return the fastest peer's time over this one's at matched accuracy; a bound where peers were ended and none matched."""
    peers = [other.median for other in rows if other.matched and other.peer != "distlasso" and not other.single]
    ended = [one.limit for one in beyond if not one.single]
    if row.single or not row.matched or not (peers or ended):
        return "-"
    return f"{min(peers) / row.median:.2f}" if peers else f"> {min(ended) / row.median:.2f}"


def _line(row: Row, ratio: str) -> str:
    """Return one table line."""
    cells = (
        row.name,
        row.version,
        str(row.threads),
        f"{row.tol:g}",
        f"{row.median:.2f}",
        f"{row.cpu_seconds:.1f}",
        ratio,
        "yes" if row.matched else "no",
        f"{row.excess:.1e}",
        f"{row.gap:.1e}",
        "-" if row.passes is None else str(row.passes),
        "-" if row.bytes_read is None else f"{row.bytes_read / 1e9:.1f}",
        f"{row.peak_bytes / 1e6:,.0f}",
        f"{row.warm_seconds:.1f}",
    )
    return "| " + " | ".join(cells) + " |"


def _beyond(one: Beyond) -> str:
    """Return the line of a program that was ended."""
    known = [one.name, "", str(one.threads), f"{one.tol:g}", f"> {one.limit:g}"]
    return "| " + " | ".join(known + ["-"] * (len(COLUMNS) - len(known))) + " |"


def write_section(file: Path, name: str, report: str) -> None:
    """Replace what stands between the marks of workload `name` in `file`, or append a marked section."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = file.read_text() if file.exists() else ""
    before, found, rest = text.partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    gap = "" if found or not before else "\n"
    file.write_text(f"{before}{gap}{begin}\n{report}\n{end}{after}")
