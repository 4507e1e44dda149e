"""What being watched costs: the same fit on an embedded cluster, watched and not, in turn.

`python -m benchmarks watched STORE` fits a store (the demo leaves one, `distlasso demo --dir demo`: `demo/flights.zarr`) again
and again on one cluster. The scheduler and its dashboard live in the process that coordinates the fit, so that its
processor time has in it all that messages, board and page cost anyone. `--page` keeps the page open in a browser meanwhile.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np

import distlasso as dl
from distlasso.events import Listener


class Unwatched:
    """What stands in for the watch of a fit."""

    def __init__(self, *given: Any) -> None:
        pass

    def beside(self, listener: Listener) -> Listener:
        return listener

    def count(self, *given: Any) -> None:
        pass

    def move(self, client: Any) -> None:
        pass

    def close(self, *, alive: bool) -> None:
        pass


def timed(fit: Callable[[], Any]) -> tuple[float, float]:
    """Processor seconds of this process, and wall seconds."""
    began = time.process_time(), time.perf_counter()
    fit()
    return time.process_time() - began[0], time.perf_counter() - began[1]


@contextmanager
def page(address: str) -> Iterator[None]:
    """A browser that has the page open."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        options = {"executable_path": shutil.which("chromium"), "args": ["--headless", "--no-sandbox", "--disable-gpu"]}
        browser = running.chromium.launch(**options)
        browser.new_page().goto(address)
        yield
        browser.close()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks watched", description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--page", action="store_true", help="keep the page open in chromium")
    options = parser.parse_args(arguments)
    dataset = dl.open_dataset(options.store)
    found: dict[str, list[tuple[float, float]]] = {"unwatched": [], "watched": []}
    with dl.Cluster(n_workers=2) as cluster:

        def fit() -> None:
            dl.fit_path(dataset, standardize=False, lambda_min_ratio=1e-2, runtime=cluster)

        fit()  # caches and compiled code
        address = cluster.dashboard_link.removesuffix("status") + "distlasso"
        with page(address) if options.page else nullcontext():
            for _ in range(options.repeats):
                with mock.patch("distlasso.runtime.cluster.Watch", Unwatched):
                    found["unwatched"].append(timed(fit))
                found["watched"].append(timed(fit))
    for name, times in found.items():
        cpu, wall = np.median(times, axis=0)
        print(f"{name:10} {cpu:.3f} s of processor, {wall:.3f} s of wall (medians of {options.repeats})")
    cpu, wall = (np.array(found["watched"]) - np.array(found["unwatched"])).T
    base = np.median(found["unwatched"], axis=0)
    print(f"watching   {np.median(cpu):+.3f} s of processor, {np.median(cpu) / base[1]:+.1%} of the wall time of a fit")
    return 0
