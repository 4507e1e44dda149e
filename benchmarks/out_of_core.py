"""Data that do not fit in memory: what a pass of a path costs beside reading and decoding the same chunks alone.

`python -m benchmarks out-of-core` writes two stores, dense float32 and genotypes as int8, in proportion to 4,000,000 x 2,000
(32 GB) and 100,000 x 200,000 (20 GB), reads all chunks of each as the fit does but does nothing with them, fits a path in a
process of its own, and reads them once more. The share is the time of reading alone over that of a pass. The peak is that of
the fitting process, beside what the fit planned to hold and what the process holds before it begins. With `--cold` the system is
told before every pass, and before reading alone, to forget what it holds of the chunks, so that they come from the disk as they
would from stores larger than memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import distlasso as dl
from benchmarks import processes
from benchmarks.table import cpu_name, today
from benchmarks.workloads import genotypes
from distlasso.data.store import create_array

CHUNK_BYTES = 16 << 20
SIGNALS, NEIGHBOUR = 50, 0.5
THREADS = 2


@dataclass(frozen=True, slots=True)
class Case:
    """One store at full size, and the path on it."""

    name: str
    rows: int
    columns: int
    dtype: str
    n_lambdas: int
    ratio: float

    def at(self, scale: float) -> tuple[int, int]:
        """Rows and columns in proportion: fewer rows."""
        return max(200, round(self.rows * scale)), self.columns if scale > 1e-3 else max(200, self.columns // 100)


CASES = (
    Case("dense", 4_000_000, 2_000, "float32", 100, 1e-2),
    Case("genotypes", 100_000, 200_000, "int8", 50, 0.2),
)


def write(case: Case, folder: Path, shape: tuple[int, int], seed: int) -> None:
    """Write a store chunk by chunk, laid out as ingest does; the target is that of SIGNALS columns and as much noise."""
    (n, p), rng = shape, np.random.default_rng(seed)
    by_rows = case.dtype == "float32"
    step = max(1, CHUNK_BYTES // (np.dtype(case.dtype).itemsize * (p if by_rows else n)))
    group = zarr.create_group(folder)
    chunks = (min(step, n), p) if by_rows else (n, min(step, p))
    X = create_array(group, "X", shape, chunks, case.dtype, by_columns=not by_rows)
    b = np.zeros(p)
    b[rng.choice(p, SIGNALS, replace=False)] = rng.choice([-1.0, 1.0], SIGNALS)
    signal = np.zeros(n)
    for start in range(0, n if by_rows else p, step):
        if by_rows:
            part = _correlated(rng, min(step, n - start), p)
            X[start : start + step], signal[start : start + step] = part, part @ b
        else:
            codes = genotypes(rng, n, min(step, p - start))
            X[:, start : start + step] = codes
            signal += codes @ b[start : start + step]
    y = signal + rng.standard_normal(n) * signal.std()
    group.create_array("y", shape=(n,), chunks=(n,), dtype="float64")[:] = y


def _correlated(rng: np.random.Generator, n: int, p: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return float32 [n, p], neighbours correlated."""
    Z = rng.standard_normal((n, p + 1), dtype=np.float32)
    return np.asarray(Z[:, 1:] + np.float32(NEIGHBOUR) * Z[:, :-1])


def forget(store: Path) -> None:
    """Have the system's page cache let go of a store."""
    os.sync()
    for file in store.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def read_alone(store: Path, *, cold: bool = False, by_zarr: bool = False) -> float:
    """Return the seconds in which all tiles are read and decoded, on as many threads as a pass has."""
    if cold:
        forget(store)
    dataset, array = dl.open_dataset(store), zarr.open_group(store, mode="r")["X"]
    rows, columns = dataset.row_bounds, dataset.col_bounds
    places = [(i, j) for i in range(rows.size - 1) for j in range(columns.size - 1)]

    def read(i: int, j: int) -> int:
        if by_zarr:
            return int(array[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].nbytes)  # type: ignore[union-attr, index]
        return dataset.tile(i, j).nbytes

    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda place: read(*place), places):
            pass
    return time.perf_counter() - started


def fit(store: Path, n_lambdas: int, ratio: float, memory: int, cold: bool = False) -> dict[str, Any]:
    """Fit in this process; return the passes, one by one, and the memory."""
    from distlasso.events import Event, FitStarted, PassFinished
    from distlasso.runtime.local import Local

    passes: list[tuple[int, float]] = []
    planned: list[int] = []
    lost, run = [0.0], Local.run

    def run_cold(self: Local, asks: Sequence[Any]) -> list[list[object]]:
        started = time.perf_counter()
        if any(ask.sweep for ask in asks):
            forget(store)
        lost[0] = time.perf_counter() - started
        return run(self, asks)

    if cold:
        Local.run = run_cold  # type: ignore[method-assign]

    def listen(event: Event) -> None:
        if isinstance(event, PassFinished):
            passes.append((event.n_models, event.seconds - lost[0]))
        elif isinstance(event, FitStarted):
            planned.append(event.planned_bytes)

    options = {"n_lambdas": n_lambdas, "lambda_min_ratio": ratio, "standardize": False, "memory": memory}
    X = np.random.default_rng(0).standard_normal((200, 20))
    dl.fit_path(X, X[:, 0], n_lambdas=3)  # whatever is loaded at the first fit is no part of this one
    before = processes.resident_bytes()
    processes.reset_peaks()
    path = dl.fit_path(dl.open_dataset(store), on_event=listen, **options)
    return {
        "passes": passes, "planned": planned[-1], "before": before, "peak": processes.peak_bytes(), "seconds": path.seconds,
        "gap": float(path.gap.max()), "active": int(path.n_active[-1]), "form": path.solver,
    }  # fmt: skip


def measured(case: Case, store: Path, memory: int, *, cold: bool) -> list[str]:
    """Return the lines about one store."""
    first, by_zarr = read_alone(store, cold=cold), read_alone(store, cold=cold, by_zarr=True)
    call = f"fit(Path({str(store)!r}), {case.n_lambdas}, {case.ratio}, {memory}, {cold})"
    code = f"import json\nfrom pathlib import Path\nfrom benchmarks.out_of_core import fit\nprint(json.dumps({call}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    alone = (first + read_alone(store, cold=cold)) / 2
    dataset = dl.open_dataset(store)
    n, p = dataset.shape
    models = np.array([m for m, _ in found["passes"]])
    seconds = np.array([s for _, s in found["passes"]])
    mean = float(seconds.mean())
    lines = [
        f"### {case.name}: {n:,} x {p:,} {case.dtype}, {dataset.nbytes / 1e9:.1f} GB in {dataset.row_bounds.size - 1} x "
        f"{dataset.col_bounds.size - 1} chunks, memory={memory / 1e6:,.0f} MB", "",
        f"Path of {case.n_lambdas} lambdas to {case.ratio:g} lambda_max in {found['seconds']:.1f} s: {len(models)} passes, "
        f"{found['active']:,} active, largest gap {found['gap']:.1e}. {found['form']}.", "",
        f"Resident: {found['before'] / 1e6:,.0f} MB before the fit, {found['peak'] / 1e6:,.0f} MB at its peak, that is "
        f"{(found['peak'] - found['before']) / 1e6:,.0f} MB more; planned {found['planned'] / 1e6:,.0f} MB.", "",
        "| | seconds | GB/s | share of reading alone |", "|---|---|---|---|",
        _row("reading and decoding alone", alone, dataset.nbytes, alone),
        _row("the same by zarr", by_zarr, dataset.nbytes, alone),
        _row(f"a pass of the path, mean of {len(models)}", mean, dataset.nbytes, alone),
    ]  # fmt: skip
    first_one = np.arange(len(models)) == 0
    kinds = {"the first pass: statistics": first_one, "the pass for the Gram, bound by its products": (models == 0) & ~first_one,
             "passes that verify a batch": models > 0}  # fmt: skip
    lines += [_row(name, float(seconds[own].mean()), dataset.nbytes, alone) for name, own in kinds.items() if own.any()]
    return lines


def _row(name: str, seconds: float, nbytes: int, alone: float) -> str:
    """Return a line of the table."""
    return f"| {name} | {seconds:.2f} | {nbytes / seconds / 1e9:.2f} | {100 * alone / seconds:.0f} % |"


def main(given: Sequence[str] | None = None) -> int:
    """Run `python -m benchmarks out-of-core`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks out-of-core", description=__doc__)
    parser.add_argument("--scale", type=float, default=0.125, help="share of the rows of the full stores (default: 1/8, 6.5 GB)")
    parser.add_argument("--memory", type=int, help="bytes to hold beside tiles (default: 4 GB times scale, 500 MB at least)")
    parser.add_argument("--cold", action="store_true", help="read from the disk, not from the page cache")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the stores are written meanwhile (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="file to write")
    options = parser.parse_args(given)
    memory = options.memory or max(round(4e9 * options.scale), 500_000_000)
    how = f"{today()}, {cpu_name()}, {THREADS} threads, scale {options.scale:g}, seed {options.seed}."
    where = "The stores were in the page cache of the system where it had room, for reading alone as for the passes."
    if options.cold:
        where = "Before every pass, and before reading alone, the system had forgotten the chunks."
    lines = ["# Data that do not fit in memory", "", *(__doc__ or "").strip().splitlines()[2:], "", f"{how} {where}"]
    for case in CASES:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="out-of-core-") as scratch:
            store = Path(scratch) / "X.zarr"
            write(case, store, case.at(options.scale), options.seed)
            lines += ["", *measured(case, store, memory, cold=options.cold)]
            print("\n".join(lines[-12:]), file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0
