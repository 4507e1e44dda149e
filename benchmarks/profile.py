"""Where the time of a fit goes: the functions that the processor is in, kernels and products of matrices included.

`python -m benchmarks profile W1 W6` fits every workload on one thread under cProfile, whose clock is the processor's, and lists the
functions that take the most by themselves. Kernels appear as the Python function that calls them, products as the method of a
block: both are compiled code whose inside is bound by what the README says.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import distlasso as dl
from benchmarks.peers.own import LAYOUTS
from benchmarks.table import cpu_name, today, write_section
from benchmarks.workloads import FULL, Problem, create, load

SHOWN = 12
LEAST_SHARE = 0.01


class Inline(Executor):
    """Runs everything in the calling thread."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args, **options))
        except Exception as error:
            done.set_exception(error)
        return done


def profiled(problem: Problem) -> tuple[pstats.Stats, int]:
    """Return the profile of one fit on one thread, and its passes."""
    profile = cProfile.Profile(time.process_time)
    options = {"loss": problem.loss, "lambdas": problem.lambdas, "standardize": False, "runtime": "serial"}
    own = [module for name, module in sys.modules.items() if name.startswith("distlasso")]
    with ExitStack() as stack:
        for module in [module for module in own if hasattr(module, "ThreadPoolExecutor")]:
            stack.enter_context(patch.object(module, "ThreadPoolExecutor", Inline))  # only the calling thread is seen
        path = profile.runcall(dl.fit_path, problem.X, problem.y, **options)
    return pstats.Stats(profile), path.passes


def section(name: str, stats: pstats.Stats, passes: int) -> str:
    """Return the table of one workload."""
    found = {where: own[2] for where, own in stats.stats.items()}  # type: ignore[attr-defined]
    total = sum(found.values())
    lines = [f"### {name}: {total:.1f} CPU s on one thread, {passes} passes", "", "| share | seconds | function |", "|---|---|---|"]
    for (file, line, function), seconds in sorted(found.items(), key=lambda item: -item[1])[:SHOWN]:
        if seconds > LEAST_SHARE * total:
            share = round(100 * seconds / total)
            lines.append(f"| {share} % {'█' * max(1, share // 4)} | {seconds:.2f} | {_place(file, line)} `{function}` |")
    return "\n".join(lines)


def _place(file: str, line: int) -> str:
    """Return a file below the package it belongs to."""
    parts = Path(file).parts
    for package in ("distlasso", "numpy", "scipy"):
        if package in parts:
            at = len(parts) - 1 - parts[::-1].index(package)
            return "/".join(parts[at:])
    return "built in" if line == 0 else Path(file).name


def main(given: Sequence[str] | None = None) -> int:
    """Run `python -m benchmarks profile`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks profile", description=__doc__)
    parser.add_argument("workloads", nargs="+", choices=sorted(FULL), metavar="WORKLOAD", help=", ".join(sorted(FULL)))
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the data is written meanwhile (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="file in which the section of each workload is replaced")
    options = parser.parse_args(given)
    for name in options.workloads:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="profile-") as scratch:
            full, tiny = Path(scratch) / "full", Path(scratch) / "tiny"
            create(name, options.scale, options.seed, full)
            create(name, "small", options.seed + 1, tiny)
            profiled(load(tiny, LAYOUTS[name]))  # kernels are loaded or compiled
            report = section(name, *profiled(load(full, LAYOUTS[name])))
        report += f"\n\n{today()}, {cpu_name()}, scale {options.scale}, seed {options.seed}."
        print(report, flush=True)
        if options.out:
            write_section(options.out, name, report)
    return 0
