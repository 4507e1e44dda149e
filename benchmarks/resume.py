"""Checkpoints: fits that are killed at random moments and go on, and what keeping a checkpoint costs a fit that is not killed.

`python -m benchmarks resume` runs fits in processes of their own (forks of one that has compiled everything), kills each with
SIGKILL at a moment drawn from a seed, runs the same again, and compares lambdas, coefficients, intercepts and gaps bit by bit
with those of a process that nobody killed.
`--store` fits a store, such as the demo's, in turn with and without a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import numpy as np

import distlasso as dl
from distlasso.events import CheckpointWritten, Event, Resumed

KINDS: dict[str, dict[str, Any]] = {
    "squared, Gram": {},
    "squared, residual": {"rows": 1500, "lambda_min_ratio": 0.02},
    "logistic, rounds": {"loss": "logistic", "n_lambdas": 50},
    "squared, admm": {"solver": "admm", "n_lambdas": 50},
    "squared, 5 folds": {"folds": 5, "rows": 1500, "n_lambdas": 50},
}
SHAPE = {"small": (4000, 200), "full": (30_000, 600)}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks resume", description=__doc__)
    parser.add_argument("--scale", choices=SHAPE, default="small")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", help="measure what a checkpoint costs a fit of this store, and kill nothing")
    parser.add_argument("--rounds", type=int, default=7, help="of that measurement")
    options = parser.parse_args(arguments)
    return cost(options.store, options.rounds) if options.store else kill(SHAPE[options.scale], options.kills, options.seed)


@cache
def data(kind: str, shape: tuple[int, int]) -> tuple[Any, Any]:
    """Data of one of the fits, made once: another process would make it with other bits, as BLAS has threads there."""
    rng, options = np.random.default_rng(0), KINDS[kind]
    rows, columns = (options["rows"], 8 * shape[1]) if "rows" in options else shape
    X = rng.standard_normal((rows, columns))
    eta = X[:, :30] @ rng.standard_normal(30) + 5.0 * rng.standard_normal(rows)
    return X, np.asarray(eta > 0, dtype=np.float64) if "loss" in options else eta


def run(kind: str, shape: tuple[int, int], **more: Any) -> dl.Path:
    """Run one of the fits."""
    options: dict[str, Any] = {name: value for name, value in KINDS[kind].items() if name != "rows"}
    call: Any = dl.cross_validate if "folds" in options else dl.fit_path
    found = call(*data(kind, shape), **options, **more)
    return found.path if "folds" in options else found  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Child:
    """A fit in a process of its own, and what it says."""

    process: int
    said: TextIO

    def ended(self) -> list[dict[str, Any]]:
        """What it said until it ended or was killed."""
        with self.said:
            lines = self.said.read().splitlines()
        os.waitpid(self.process, 0)
        return [json.loads(line) for line in lines]


def begin(kind: str, shape: tuple[int, int], folder: Path, out: Path) -> Child:
    """Start a fit with a checkpoint, which writes down when what happened."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return Child(process, open(reader))
    try:
        with open(writer, "w") as said:

            def say(what: str, **rest: Any) -> None:
                print(json.dumps({"what": what, "at": time.perf_counter(), **rest}), file=said, flush=True)

            def listen(event: Event) -> None:
                if isinstance(event, Resumed):
                    say("resumed", rounds=event.rounds, again=event.again)
                elif isinstance(event, CheckpointWritten):
                    say("written", round=event.round)

            say("started")
            path = run(kind, shape, checkpoint=folder, on_event=listen)
            say("ended", rounds=path.rounds)
            path.save(out)
    finally:
        os._exit(0)


def kill(shape: tuple[int, int], kills: int, seed: int) -> int:
    """Kill and resume; returns 1 if any bit differs."""
    chosen, wrong = random.Random(seed), 0
    print("| fit | killed at | rounds kept | of | rounds done again | answers computed again | s to get there | bits |")
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    with TemporaryDirectory() as folder:
        quiet: dict[str, tuple[float, dl.Path]] = {}
        for number in range(kills):
            kind = list(KINDS)[number % len(KINDS)]
            place = Path(folder) / str(number)
            if kind not in quiet:
                run(kind, shape)  # compiles
                said = begin(kind, shape, place / "quiet", place / "model").ended()
                quiet[kind] = (said[-1]["at"] - said[0]["at"], dl.load(place / "model"))
            seconds, expected = quiet[kind]
            killed = begin(kind, shape, place / "c", place / "killed")
            moment = chosen.uniform(0.0, seconds)
            time.sleep(moment)
            os.kill(killed.process, signal.SIGKILL)
            before = killed.ended()
            after = begin(kind, shape, place / "c", place / "resumed").ended()
            same = identical(dl.load(place / "resumed"), expected)
            wrong += not same
            print(line(kind, moment / seconds, before, after, same), flush=True)
    print(f"\n{kills - wrong} of {kills} to the bit")
    return int(wrong > 0)


def line(kind: str, share: float, before: list[dict[str, Any]], after: list[dict[str, Any]], same: bool) -> str:
    """A row of the table."""
    done = max((event["round"] for event in before if event["what"] == "written"), default=0)
    fresh = {"rounds": 0, "again": 0, "at": after[0]["at"]}
    resumed = next((event for event in after if event["what"] == "resumed"), fresh)
    first = next((event for event in after if event["what"] in ("written", "ended")), after[-1])
    again = done - resumed["rounds"] + (resumed["rounds"] < after[-1]["rounds"])  # and what was in flight when it died
    cells = [kind, f"{share:.0%}", resumed["rounds"], after[-1]["rounds"], again, resumed["again"],
             f"{first['at'] - resumed['at']:.2f}", "same" if same else "DIFFER"]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def identical(a: dl.Path, b: dl.Path) -> bool:
    """Whether two paths agree in every bit."""
    pairs = [(a.lambdas, b.lambdas), (a.intercept, b.intercept), (a.gap, b.gap), (a.coef.toarray(), b.coef.toarray())]
    return all(one.tobytes() == other.tobytes() for one, other in pairs)


def cost(store: str, rounds: int) -> int:
    """Fit in turn with and without a checkpoint, in this process."""
    dataset = dl.open_dataset(store)
    wall: dict[str, list[float]] = {"without": [], "with": []}
    cpu: dict[str, list[float]] = {"without": [], "with": []}
    written: list[float] = []
    kept = 0
    for number in range(rounds + 1):
        for name in ("without", "with") if number % 2 else ("with", "without"):
            with TemporaryDirectory() as folder:
                events: list[Event] = []
                own = {"checkpoint": folder, "on_event": events.append} if name == "with" else {}
                started, worked = time.perf_counter(), time.process_time()
                path = dl.fit_path(dataset, standardize=False, lambda_min_ratio=1e-2, **own)
                if number:  # the first one compiles
                    wall[name].append(time.perf_counter() - started)
                    cpu[name].append(time.process_time() - worked)
                    written += [sum(event.seconds for event in events if isinstance(event, CheckpointWritten))] * bool(own)
                size = sum(file.stat().st_size for file in Path(folder).iterdir())
                kept = max(kept, size)
    print(f"{path.rounds} rounds, {path.passes} passes, a checkpoint of {kept / 1e6:.2f} MB; medians of {rounds} in turn")
    for name, values in (("wall", wall), ("processor", cpu)):
        a, b = (statistics.median(values[which]) for which in ("without", "with"))
        pairs = sorted(later / earlier for earlier, later in zip(values["without"], values["with"], strict=True))
        low, middle, high = (pairs[round(share * (rounds - 1))] for share in (0.25, 0.5, 0.75))
        print(f"{name}: {a:.3f} s without, {b:.3f} s with; ratio of neighbours {middle:.3f} (middle half {low:.3f} to {high:.3f})")
    share = statistics.median(written) / statistics.median(wall["with"])
    print(f"digests and writing: {statistics.median(written):.4f} s, {share:.2%} of the fit")
    return 0
