"""Several responses at once: each has the path that it would have alone, and the data is read once for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl
from distlasso.coordinator.exchange import Exchange
from distlasso.coordinator.lockstep import Lockstep
from distlasso.events import BatchVerified, FitStarted, ignore
from distlasso.losses import LOSSES
from distlasso.queries import Moments

SHAPES = [(400, 30), (70, 250)]


def problem(n: int = 400, p: int = 30, q: int = 3, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * (rng.random((n, p)) < 0.5)
    Y = 2 + X[:, :6] @ rng.standard_normal((6, q)) * np.geomspace(0.3, 5, q) + rng.standard_normal((n, q))
    return X, Y


def same_bits(several: dl.Path, j: int, alone: dl.Path) -> None:
    one = several.output(j)
    assert (one.coef != alone.coef).nnz == 0
    np.testing.assert_array_equal(one.intercept, alone.intercept)
    np.testing.assert_array_equal(one.gap, alone.gap)
    np.testing.assert_array_equal(one.deviance_ratio, alone.deviance_ratio)
    assert one.null_deviance == alone.null_deviance


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, sp.csc_array])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_response_has_the_bits_that_it_has_alone(shape: tuple[int, int], form: Any) -> None:
    """At the same lambdas, in every form of the problem."""
    X, Y = problem(*shape)
    weight = np.random.default_rng(1).uniform(0.5, 2, shape[0])
    factors = np.ones(shape[1])
    factors[2] = 0.0
    options: dict[str, Any] = {"sample_weight": weight, "penalty_factors": factors}
    several = dl.fit_path(form(X), Y, n_lambdas=25, **options)
    assert several.converged.all() and several.converged.shape == (25, 3)
    for j in range(3):
        same_bits(several, j, dl.fit_path(form(X), Y[:, j], lambdas=several.lambdas, **options))


def test_the_grid_begins_where_the_first_response_becomes_active() -> None:
    """The largest lambda is the largest of the responses' own."""
    X, Y = problem()
    own = [dl.fit_path(X, Y[:, j], n_lambdas=5).lambdas[0] for j in range(3)]
    assert dl.fit_path(X, Y, n_lambdas=5).lambdas[0] == pytest.approx(max(own), rel=1e-12)


class Counting:
    """A reader that counts how often each tile is read."""

    def __init__(self, reader: Any) -> None:
        self.reader, self.reads = reader, {}

    def read(self, i: int, j: int) -> Any:
        self.reads[i, j] = self.reads.get((i, j), 0) + 1
        return self.reader.read(i, j)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_pass_serves_all_responses(shape: tuple[int, int]) -> None:
    """Blocks are read as often as the slowest response alone needs, not once a response."""
    X, Y = problem(*shape, q=5)
    dataset = dl.Dataset.from_arrays(X, Y, row_chunks=4)
    counting = Counting(dataset.reader)
    path = dl.fit_path(replace(dataset, reader=counting), runtime="serial", n_lambdas=30)
    assert set(counting.reads.values()) == {path.rounds}
    alone = [dl.fit_path(X, Y[:, j], lambdas=path.lambdas, runtime="serial") for j in range(5)]
    assert path.rounds <= max(one.rounds for one in alone) + 2
    assert path.bytes_read == path.rounds * dataset.nbytes


@pytest.mark.parametrize("loss", ["logistic", "poisson", "huber"])
def test_other_losses_take_several_responses_too(loss: str) -> None:
    """Each with strong columns of its own, gathered once."""
    X, Y = problem()
    Y = {"logistic": (Y > 2) * 1.0, "poisson": np.floor(np.exp(np.clip(Y / 4, -2, 2))), "huber": Y}[loss]
    several = dl.fit_path(X, Y, loss=loss, n_lambdas=8, lambda_min_ratio=0.05)
    assert several.converged.all()
    for j in range(3):
        same_bits(several, j, dl.fit_path(X, Y[:, j], loss=loss, lambdas=several.lambdas))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_dask_runtime_gives_the_bits_of_serial(shape: tuple[int, int], cluster: dl.Cluster, tmp_path: Path) -> None:
    """From a store that knows nothing of the responses."""
    X, Y = problem(*shape)
    store = dl.ingest((X, None), tmp_path / "d.zarr", chunks=(max(shape[0] // 4, 1), shape[1]))
    there = dl.fit_path(store, Y, runtime=cluster, n_lambdas=15)
    local = dl.fit_path(X, Y, runtime=cluster, n_lambdas=15)
    here = dl.fit_path(store, Y, runtime="serial", n_lambdas=15)
    for j in range(3):
        same_bits(there, j, here.output(j))
    np.testing.assert_allclose(local.predict(X), here.predict(X), atol=1e-3)


def test_more_responses_than_share_a_sweep_go_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same bits."""
    X, Y = problem(70, 250, q=5)
    whole = dl.fit_path(X, Y, n_lambdas=10)
    monkeypatch.setattr("distlasso.path.fit.at_once", lambda shape: 2)
    grouped = dl.fit_path(X, Y, n_lambdas=10)
    for j in range(5):
        same_bits(grouped, j, whole.output(j))
    assert grouped.passes > whole.passes


def test_predictions_have_an_axis_for_the_responses() -> None:
    """[n, k, q] for the path, [n, q] at one lambda."""
    X, Y = problem()
    path = dl.fit_path(X, Y, n_lambdas=7)
    whole, one = path.predict(X), path.predict(X, lam=float(path.lambdas[3]))
    assert whole.shape == (400, 7, 3) and one.shape == (400, 3)
    np.testing.assert_allclose(whole[:, 3], one, atol=1e-12)
    for j in range(3):
        np.testing.assert_allclose(path.output(j).predict(X), whole[:, :, j], atol=1e-12)
    assert path.n_active.shape == (7, 3) and path.n_active[0].min() == 0
    with pytest.raises(dl.InputError, match="no response 3"):
        path.output(3)


def test_a_path_of_several_responses_survives_saving(tmp_path: Path) -> None:
    """With all its arrays."""
    X, Y = problem()
    path = dl.fit_path(X, Y, n_lambdas=7)
    path.save(tmp_path / "m")
    back = dl.load(tmp_path / "m")
    for j in range(3):
        same_bits(back, j, path.output(j))
    np.testing.assert_array_equal(back.null_deviance, path.null_deviance)
    assert back.summary() == path.summary()
    with pytest.raises(dl.InputError, match=r"output\(j\)"):
        back.plot()


def test_a_constant_response_is_its_mean_and_named() -> None:
    """The others are fitted."""
    X, Y = problem()
    Y[:, 1] = 4.0
    with pytest.warns(dl.CertificateWarning, match=r"columns \[1\] of y"):
        path = dl.fit_path(X, Y, n_lambdas=5)
    np.testing.assert_allclose(path.intercept[:, 1], 4.0)
    assert path.coef[1].nnz == 0 and (path.gap[:, 1] == 0).all() and path.coef[2].nnz > 0
    with pytest.raises(dl.InputError, match="constant target"):
        dl.fit_path(X, np.ones((400, 2)))


def test_a_bad_value_of_y_is_named_by_row_and_column() -> None:
    """Before anything is read."""
    X, Y = problem()
    Y[5, 1] = np.nan
    with pytest.raises(dl.InputError, match="column 1 of y has nan in row 5"):
        dl.fit_path(X, Y)
    with pytest.raises(dl.InputError, match="399 values for 400 rows"):
        dl.fit_path(X, Y[:399])


def test_a_limit_ends_all_responses_together() -> None:
    """As far as the first to meet it."""
    X, Y = problem()
    path = dl.fit_path(X, Y, n_lambdas=50, max_active=10)
    assert not path.complete and path.n_active.max() <= 10
    assert all(coef.shape == (path.lambdas.size, 30) for coef in path.coef)


def test_ctrl_c_returns_what_every_response_has() -> None:
    """The common prefix, marked."""
    X, Y = problem(70, 250)
    seen: list[int] = []

    def interrupt(event: Any) -> None:
        if isinstance(event, BatchVerified):
            seen.append(event.n_accepted)
            if len(seen) == 3:
                raise KeyboardInterrupt

    path = dl.fit_path(X, Y, on_event=interrupt)
    assert 0 < path.lambdas.size < 100 and not path.complete and path.converged.all()


def test_progress_counts_the_lambdas_of_all_responses() -> None:
    """Never backwards, on the calling thread, up to the announced number."""
    X, Y = problem()
    events: list[Any] = []
    dl.fit_path(X, Y, n_lambdas=20, on_event=events.append)
    started = next(event for event in events if isinstance(event, FitStarted))
    done = [event.n_accepted for event in events if isinstance(event, BatchVerified)]
    assert started.n_lambdas == done[-1] == 60 and done == sorted(done)


class Echo:
    """A runtime that answers with the row space it was asked about, and counts exchanges."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, asks: Any) -> list[list[object]]:
        self.sizes.append(len(asks))
        return [[ask.rows] for ask in asks]

    def bytes_read(self) -> int:
        return 0

    def bytes_moved(self) -> int:
        return 0


def lockstep(count: int) -> tuple[Lockstep, Echo]:
    echo = Echo()
    return Lockstep(Exchange(echo, LOSSES["squared"], None, ignore), count), echo


def test_fits_meet_until_the_last_has_ended() -> None:
    """The longest decides how many exchanges there are; each gets its own answers."""
    steps, echo = lockstep(3)

    def work(k: int) -> list[int]:
        return [steps.exchanges[k].ask_all([Moments()])[0] for _ in range(k + 1)]

    assert steps.run([lambda k=k: work(k) for k in range(3)]) == [[0], [1, 1], [2, 2, 2]]
    assert echo.sizes == [3, 2, 1]


def test_the_failure_of_one_fit_ends_all() -> None:
    """And is what the caller sees; nobody waits for ever."""
    steps, _ = lockstep(3)

    def work(k: int) -> None:
        steps.exchanges[k].ask_all([Moments()])
        if k == 1:
            raise dl.InputError("fit 1 cannot go on")
        while True:
            steps.exchanges[k].ask_all([Moments()])

    with pytest.raises(dl.InputError, match="fit 1 cannot go on"):
        steps.run([lambda k=k: work(k) for k in range(3)])


def test_the_failure_of_a_sweep_ends_all_fits() -> None:
    """With the runtime's own error."""
    steps, echo = lockstep(2)

    def fail(asks: Any) -> Any:
        raise dl.StoreError("a chunk is damaged")

    echo.run = fail  # type: ignore[method-assign]
    with pytest.raises(dl.StoreError, match="damaged"):
        steps.run([lambda k=k: steps.exchanges[k].ask_all([Moments()]) for k in range(2)])
