"""Workers that die, freeze, leave, join and do not fit; schedulers that die; fits beside each other: the bits stay the same."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.config
import distributed
import numpy as np
import pytest

import distlasso as dl
from distlasso import events
from distlasso.runtime import worker as worker_module
from tests.chaos.farm import Farm

OPTIONS: dict[str, Any] = {"n_lambdas": 12, "lambda_min_ratio": 0.05, "loss": "logistic"}
SMALL_PATIENCE = {"distlasso.round-floor": "500ms", "distlasso.workers": "20s"}

pytestmark = pytest.mark.xdist_group("farm")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dl.Dataset:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 20))
    y = X[:, :5] @ rng.standard_normal(5) + rng.standard_normal(600) > 0
    return dl.ingest((X, y * 1.0), tmp_path_factory.mktemp("data") / "d.zarr", chunks=(50, 20))


@pytest.fixture(scope="module")
def quiet(store: dl.Dataset) -> dl.Path:
    """What nobody disturbed."""
    return dl.fit_path(store, runtime="serial", **OPTIONS)


@pytest.fixture
def farm() -> Iterator[Farm]:
    with Farm(3) as running, dask.config.set(SMALL_PATIENCE):
        yield running


def same_bits(a: dl.Path, b: dl.Path) -> None:
    np.testing.assert_array_equal(a.lambdas, b.lambdas)
    assert (a.coef != b.coef).nnz == 0
    np.testing.assert_array_equal(a.intercept, b.intercept)
    np.testing.assert_array_equal(a.gap, b.gap)


class Disturbing:
    """Listens to a fit, keeps what it hears, and does something once after some passes."""

    def __init__(self, act: Callable[[], None], after: int = 2) -> None:
        self.act, self.after, self.heard, self.acted = act, after, list[events.Event](), False

    def __call__(self, event: events.Event) -> None:
        self.heard.append(event)
        if isinstance(event, events.PassFinished) and event.number >= self.after and not self.acted:
            self.acted = True
            self.act()

    def of(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]


def test_two_of_three_workers_die_and_one_joins(store: dl.Dataset, quiet: dl.Path, farm: Farm) -> None:
    def act() -> None:
        for process in farm.workers[:2]:
            farm.kill(process)
        farm.start_worker()

    seen = Disturbing(act)
    with dl.Cluster(address=farm.address) as cluster:
        same_bits(dl.fit_path(store, runtime=cluster, on_event=seen, **OPTIONS), quiet)
    lost = seen.of(events.WorkerLost)
    assert len(lost) == 2 and not any(event.expected for event in lost)


def test_a_frozen_worker_is_gone_round_and_its_late_answers_are_ignored(store: dl.Dataset, quiet: dl.Path, farm: Farm) -> None:
    seen = Disturbing(lambda: farm.freeze(farm.workers[0]))
    with dl.Cluster(address=farm.address) as cluster:
        same_bits(dl.fit_path(store, runtime=cluster, on_event=seen, **OPTIONS), quiet)
        late = seen.of(events.RoundResubmitted)
        assert late and len({event.worker for event in late}) == 1
        farm.thaw(farm.workers[0])
        same_bits(dl.fit_path(store, runtime=cluster, **OPTIONS), quiet)


def test_workers_are_retired_in_mid_fit(store: dl.Dataset, quiet: dl.Path, farm: Farm) -> None:
    with dl.Cluster(address=farm.address) as cluster:
        client = cluster.client
        seen = Disturbing(lambda: client.retire_workers(sorted(client.scheduler_info()["workers"])[:2]))
        same_bits(dl.fit_path(store, runtime=cluster, on_event=seen, **OPTIONS), quiet)
    assert [event.expected for event in seen.of(events.WorkerLost)] == [True, True]


def test_another_scheduler_takes_over(store: dl.Dataset, quiet: dl.Path, farm: Farm) -> None:
    def act() -> None:
        farm.kill(farm.scheduler)
        farm.scheduler.join()
        farm.start_scheduler()
        for _ in range(2):
            farm.start_worker()

    seen = Disturbing(act)
    with distributed.Client(farm.address, set_as_default=False) as client:
        same_bits(dl.fit_path(store, client=client, on_event=seen, **OPTIONS), quiet)
    assert len(seen.of(events.SchedulerLost)) == len(seen.of(events.SchedulerFound)) >= 1


def die_over_first_rows() -> None:
    """In a worker: whoever answers for the first bundle kills the process."""
    from distlasso.runtime import worker

    inner = worker.answer_bundle

    def answer(part: Any, *rest: Any) -> Any:
        if part.bundle.index == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(part, *rest)

    worker.answer_bundle = answer


def test_a_bundle_that_kills_its_workers_is_named_and_the_cluster_lives(store: dl.Dataset) -> None:
    with Farm(0) as farm, dask.config.set(SMALL_PATIENCE):
        farm.prepare = die_over_first_rows
        for _ in range(5):
            farm.start_worker()
        farm.wait_for(5)
        heard: list[events.Event] = []
        with dl.Cluster(address=farm.address) as cluster:
            with pytest.raises(dl.SchedulerError, match=rf"rows 0 to 50, columns 0 to 20 of {store.path} killed 3 workers"):
                dl.fit_path(store, runtime=cluster, on_event=heard.append, **OPTIONS)
            assert len(cluster.client.scheduler_info()["workers"]) == 2
        assert [e for e in heard if isinstance(e, events.BlockQuarantined)] == [events.BlockQuarantined((0, 50), (0, 20), 3)]


def pretend_to_be_older() -> None:
    worker_module.versions.__globals__["distlasso"].__version__ = "0.0.1"


def pretend_another_codec() -> None:
    from importlib import metadata

    found = metadata.version
    metadata.version = lambda name: "0.1" if name == "numcodecs" else found(name)


@pytest.mark.parametrize(("pretend", "what"), [(pretend_to_be_older, "distlasso 0.0.1"), (pretend_another_codec, "numcodecs 0.1")])
def test_a_worker_with_other_versions_is_refused_by_name(store: dl.Dataset, pretend: Any, what: str) -> None:
    with Farm(1) as farm:
        farm.prepare = pretend
        farm.start_worker()
        farm.wait_for(2)
        with dl.Cluster(address=farm.address) as cluster, pytest.raises(dl.SchedulerError, match=rf"worker tcp\S+ has {what}"):
            dl.fit_path(store, runtime=cluster, **OPTIONS)


def test_a_worker_with_other_versions_that_joins_later_is_not_used(store: dl.Dataset, quiet: dl.Path, farm: Farm) -> None:
    def act() -> None:
        farm.prepare = pretend_to_be_older
        farm.start_worker()
        farm.wait_for(4)
        time.sleep(1.5)  # workers are looked at every second

    seen = Disturbing(act)
    with dl.Cluster(address=farm.address) as cluster:
        same_bits(dl.fit_path(store, runtime=cluster, on_event=seen, **OPTIONS), quiet)
    (refused,) = seen.of(events.WorkerRefused)
    assert "distlasso 0.0.1" in refused.reason


def test_fits_beside_each_other_have_the_bits_that_they_have_alone(store: dl.Dataset, quiet: dl.Path, farm: Farm) -> None:
    """Neither waits for the other to end."""
    ended: dict[str, float] = {}
    began: dict[str, float] = {}
    paths: dict[str, dl.Path] = {}
    other = {**OPTIONS, "solver": "admm", "tol": 1e-4}

    def fit(name: str, options: dict[str, Any]) -> None:
        began[name] = time.monotonic()
        with dl.Cluster(address=farm.address) as cluster:
            paths[name] = dl.fit_path(store, runtime=cluster, **options)
        ended[name] = time.monotonic()

    threads = [threading.Thread(target=fit, args=job) for job in (("a", OPTIONS), ("b", other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same_bits(paths["a"], quiet)
    same_bits(paths["b"], dl.fit_path(store, runtime="serial", **other))
    assert max(began.values()) < min(ended.values())


def test_fits_beside_each_other_share_the_workers_fairly(store: dl.Dataset, farm: Farm) -> None:
    """Equal work that begins together is done together: when one has ended, the other is beyond the middle."""
    order: list[str] = []
    ready = threading.Barrier(2)

    def fit(name: str) -> None:
        def listen(event: events.Event) -> None:
            if isinstance(event, events.ConsensusRound):
                if name not in order:
                    ready.wait(60)
                order.append(name)

        with dl.Cluster(address=farm.address) as cluster:
            dl.fit_path(store, runtime=cluster, on_event=listen, solver="admm", n_lambdas=60, lambda_min_ratio=0.01)

    threads = [threading.Thread(target=fit, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rounds = order.count("a")
    assert rounds == order.count("b") >= 20
    first, second = ("a", "b") if order[-1] == "b" else ("b", "a")
    ended = len(order) - order[::-1].index(first)
    assert order[:ended].count(second) > rounds / 2


def test_a_cancelled_fit_frees_its_caches_and_its_tasks(store: dl.Dataset, quiet: dl.Path, farm: Farm) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with distributed.Client(farm.address, set_as_default=False) as client:
        with pytest.raises(KeyboardInterrupt):
            dl.fit_path(store, client=client, on_event=Disturbing(stop, after=1), **OPTIONS)
        for worker, held in client.run(worker_module.held).items():
            assert held == {"tiles": 0, "fits": 0}, worker
        assert not client.run_on_scheduler(lambda dask_scheduler: [key for key in dask_scheduler.tasks if "dl-" in str(key)])
        same_bits(dl.fit_path(store, client=client, **OPTIONS), quiet)


def test_a_cluster_object_is_for_one_fit_at_a_time(store: dl.Dataset, quiet: dl.Path, farm: Farm) -> None:
    raised: list[BaseException] = []

    def intrude() -> None:
        try:
            dl.fit_path(store, runtime=cluster, **OPTIONS)
        except dl.InputError as error:
            raised.append(error)

    def act() -> None:
        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()

    with dl.Cluster(address=farm.address) as cluster:
        same_bits(dl.fit_path(store, runtime=cluster, on_event=Disturbing(act), **OPTIONS), quiet)
    assert "at work on another fit" in str(raised[0])


def test_what_cannot_fit_is_refused_before_it_starts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ds = dl.ingest((rng.standard_normal((40_000, 100)), rng.standard_normal(40_000)), tmp_path / "d.zarr", chunks=(40_000, 100))
    with (
        Farm(1, memory_limit=150_000_000) as farm,
        dl.Cluster(address=farm.address) as cluster,
        pytest.raises(dl.ResourceError, match=r"limit of 150 MB.*tiles of 32.0 MB.*smaller chunks"),
    ):
        dl.fit_path(ds, runtime=cluster)


def test_settings_that_make_faults_costly_are_named_in_one_line() -> None:
    """Once, though Python would warn again after any change of its filters."""
    says = r"retry.count is 3, better 0; .*worker-ttl is 5 minutes.*deploy/distributed.yaml"
    with Farm(1, config={"distributed.scheduler.worker-ttl": "5 minutes", "distributed.comm.retry.count": 3}) as farm:
        with pytest.warns(dl.ClusterWarning, match=says):
            dl.Cluster(address=farm.address).shutdown()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dl.Cluster(address=farm.address).shutdown()


def recurse_too_deep() -> None:
    def deeper(*_: object) -> object:
        return deeper()

    worker_module.answer_bundle = deeper  # type: ignore[assignment]


def test_an_exception_that_cannot_be_sent_whole_ends_the_fit_and_says_where_it_was(store: dl.Dataset) -> None:
    with dl.Cluster(n_workers=1) as cluster:
        cluster.start()
        cluster.client.run(recurse_too_deep)
        with pytest.raises(RecursionError) as raised:
            dl.fit_path(store, runtime=cluster)
    assert "deeper" in "".join(raised.value.__notes__)
