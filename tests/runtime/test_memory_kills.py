"""Workers that their nanny kills for their memory: a task of somebody else costs time only, a block that does it is named.

Real nannies of a real local cluster: a worker that passes its limit is killed, and another one started in its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import numpy as np
import pytest

import distlasso as dl
from distlasso import events

LIMIT = 600_000_000  # of a worker, of which 200 MB are taken once everything is imported
OPTIONS: dict[str, Any] = {"n_lambdas": 12, "lambda_min_ratio": 0.05, "loss": "logistic"}

GREEDY = '''
import pathlib, time
from distlasso.runtime import worker

_answer = getattr(worker.answer_bundle, "inner", worker.answer_bundle)  # Dask may load this twice

def _greedy(part, *rest):
    file = pathlib.Path(FILE)
    if part.bundle.index == 0 and file.exists():
        if file.read_text() == "once":
            file.unlink()
        held = []
        while True:
            held.append(b"x" * 20_000_000)
            time.sleep(0.01)
    return _answer(part, *rest)

_greedy.inner = _answer
worker.answer_bundle = _greedy
'''

pytestmark = pytest.mark.xdist_group("nannies")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dl.Dataset:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 20))
    y = X[:, :5] @ rng.standard_normal(5) + rng.standard_normal(600) > 0
    return dl.ingest((X, y * 1.0), tmp_path_factory.mktemp("data") / "d.zarr", chunks=(50, 20))


@pytest.fixture(scope="module")
def quiet(store: dl.Dataset) -> dl.Path:
    return dl.fit_path(store, runtime="serial", **OPTIONS)


def same_bits(a: dl.Path, b: dl.Path) -> None:
    for one, other in ((a.lambdas, b.lambdas), (a.coef.toarray(), b.coef.toarray()), (a.intercept, b.intercept), (a.gap, b.gap)):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dl.Cluster, Path]]:
    """A cluster, and a file; while it is there, whoever answers for the first block takes memory without end, or once."""
    folder = tmp_path_factory.mktemp("greed")
    script, file = folder / "greedy.py", folder / "greed"
    script.write_text(GREEDY.replace("FILE", repr(str(file))))
    settings = {"distributed.worker.preload": [str(script)], "distlasso.workers": "60s"}
    with dask.config.set(settings), dl.Cluster(n_workers=2, memory_limit=LIMIT) as cluster:
        yield cluster, file


class After:
    """Keeps what it hears, and writes a file after two passes."""

    def __init__(self, file: Path, text: str) -> None:
        self.file, self.text, self.heard = file, text, list[events.Event]()

    def __call__(self, event: events.Event) -> None:
        self.heard.append(event)
        if isinstance(event, events.PassFinished) and event.number == 2:
            self.file.write_text(self.text)

    def of(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]


def test_a_worker_that_is_killed_for_its_memory_changes_nothing(store: dl.Dataset, quiet: dl.Path, greedy: Any) -> None:
    cluster, greed = greedy
    seen = After(greed, "once")
    before = set(cluster.client.run(os.getpid).values())
    same_bits(dl.fit_path(store, runtime=cluster, on_event=seen, **OPTIONS), quiet)
    after = set(cluster.client.run(os.getpid).values())
    assert [event.expected for event in seen.of(events.WorkerLost)] == [False]
    assert len(before) == 2 and len(before & after) == 1
    assert not greed.exists()


def test_a_block_that_its_workers_die_of_is_named_and_the_fit_goes_on_later(
    store: dl.Dataset, quiet: dl.Path, greedy: Any, tmp_path: Path
) -> None:  # fmt: skip
    cluster, greed = greedy
    seen = After(greed, "always")
    fit: dict[str, Any] = {**OPTIONS, "checkpoint": tmp_path / "c"}
    message = rf"rows 0 to 50, columns 0 to 20 of {store.path} killed 3 workers.*the same fit continues there"
    with pytest.raises(dl.ResumableError, match=message):
        dl.fit_path(store, runtime=cluster, on_event=seen, **fit)
    greed.unlink()
    cluster.client.wait_for_workers(1, timeout=60)
    path = dl.fit_path(store, runtime=cluster, **fit)
    assert seen.of(events.BlockQuarantined) == [events.BlockQuarantined((0, 50), (0, 20), 3)]
    same_bits(path, quiet)
    assert 2 <= path.resumed < path.rounds
