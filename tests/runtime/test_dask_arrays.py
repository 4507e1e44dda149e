"""dask arrays as X: their chunks are the tiles, and stay where they are."""

from __future__ import annotations

import os
import signal
from typing import Any

import dask.array as da
import distributed
import numpy as np
import pytest

import distlasso as dl
from distlasso.events import PassFinished

CHUNKS = {"rows": (100, 40), "columns": (500, 5), "grid": (130, 15), "whole": (500, 40)}


def problem(n: int = 500, p: int = 40) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    return X, 1 + X[:, :5] @ rng.standard_normal(5) + rng.standard_normal(n)


def close(a: dl.Path, b: dl.Path) -> None:
    np.testing.assert_allclose(a.lambdas, b.lambdas, rtol=1e-10)
    np.testing.assert_allclose(a.coef.toarray(), b.coef.toarray(), atol=1e-7)
    np.testing.assert_allclose(a.intercept, b.intercept, atol=1e-7)


@pytest.mark.parametrize(("chunks", "dtype"), [*((cut, np.float64) for cut in CHUNKS), ("rows", np.float32), ("columns", np.int16),
                                               ("grid", np.bool_)])  # fmt: skip
def test_the_path_is_that_of_the_array_itself(chunks: str, dtype: Any, client: Any) -> None:
    """For every way to cut it, whatever its numbers."""
    X, y = problem()
    X = (X > 0 if dtype == np.bool_ else np.round(X * 8)).astype(dtype)
    options: dict[str, Any] = {"n_lambdas": 10, "tol": 1e-13}
    there = dl.fit_path(da.from_array(X, chunks=CHUNKS[chunks]), y, client=client, **options)
    assert there.converged.all()
    close(there, dl.fit_path(X, y, **options))


def test_wide_data_of_many_column_chunks(client: Any) -> None:
    """Where the coordinator holds the strong columns."""
    X, y = problem(80, 300)
    there = dl.fit_path(da.from_array(X, chunks=(80, 30)), y, client=client, n_lambdas=10, tol=1e-13)
    close(there, dl.fit_path(X, y, n_lambdas=10, tol=1e-13))


def test_chunks_are_not_moved(client: Any) -> None:
    """Every chunk is on the worker where it was before, and on no other."""
    X, y = problem()
    array = da.from_array(X, chunks=(50, 40)).persist()
    distributed.wait(array)
    before = client.who_has(array)
    assert len({worker for workers in before.values() for worker in workers}) == 2
    path = dl.fit_path(array, y, client=client, n_lambdas=10)
    assert client.who_has(array) == before
    assert path.bytes_read == path.passes * X.nbytes


@pytest.mark.parametrize("loss", ["logistic", "poisson", "huber"])
def test_other_losses(loss: str, client: Any) -> None:
    """Strong columns are kept beside the chunks."""
    X, y = problem()
    target = {"logistic": y > 1, "poisson": np.floor(np.exp(np.clip(y / 3, -2, 2))), "huber": y}[loss]
    options: dict[str, Any] = {"loss": loss, "n_lambdas": 6, "lambda_min_ratio": 0.05, "tol": 1e-11}
    there = dl.fit_path(da.from_array(X, chunks=(100, 40)), target, client=client, **options)
    np.testing.assert_allclose(there.coef.toarray(), dl.fit_path(X, target, **options).coef.toarray(), atol=1e-4)


def test_the_client_of_the_array_is_found(client: Any) -> None:
    """Nothing has to be said about where to run; rows may be dask arrays too."""
    X, y = problem()
    path = dl.fit_path(da.from_array(X, chunks=(100, 40)), da.from_array(y), n_lambdas=5, tol=1e-12)
    close(path, dl.fit_path(X, y, n_lambdas=5, tol=1e-12))
    assert client.status == "running"


def test_several_responses_share_the_chunks(client: Any) -> None:
    """As they share a store."""
    X, y = problem()
    Y = np.stack([y, -y, y**2], axis=1)
    for multi_task in (False, True):
        options: dict[str, Any] = {"n_lambdas": 5, "tol": 1e-12, "multi_task": multi_task}
        there = dl.fit_path(da.from_array(X, chunks=(100, 40)), Y, client=client, **options)
        np.testing.assert_allclose(there.predict(X), dl.fit_path(X, Y, **options).predict(X), atol=1e-6)


@pytest.mark.parametrize("model", [
    dl.Lasso(alpha=0.1), dl.LogisticRegression(), dl.PoissonRegressor(), dl.HuberLasso(0.1), dl.LassoCV(alphas=10),
    dl.LogisticRegressionCV(Cs=[0.1, 1.0], l1_ratios=[0.5, 1.0], scoring="neg_log_loss"),
])  # fmt: skip
def test_estimators_take_them(model: Any, client: Any) -> None:
    """To fit and to predict."""
    X, y = problem()
    y = np.where(y > 1, "yes", "no") if "Logistic" in type(model).__name__ else np.floor(np.abs(y))
    array = da.from_array(X, chunks=(100, 40))
    here = model.fit(X, y).predict(X)
    there = model.set_params(client=client).fit(array, y)
    if here.dtype.kind == "f":
        np.testing.assert_allclose(there.predict(array), here, rtol=1e-2, atol=1e-2)
    else:
        assert np.mean(there.predict(array) == here) > 0.99
    assert there.n_features_in_ == 40


def test_a_killed_worker_changes_nothing() -> None:
    """Its chunks are computed again from the graph."""
    X, y = problem()
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as own:
        array = da.from_array(X, chunks=(50, 40))
        whole = dl.fit_path(array, y, client=own, n_lambdas=10, loss="huber")
        killed: list[int] = []

        def kill(event: Any) -> None:
            if isinstance(event, PassFinished) and not killed:
                killed.append(next(iter(own.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        path = dl.fit_path(array, y, client=own, n_lambdas=10, loss="huber", on_event=kill)
    assert killed
    np.testing.assert_array_equal(path.coef.toarray(), whole.coef.toarray())
    np.testing.assert_array_equal(path.gap, whole.gap)


def unknown(X: Any) -> Any:
    array = da.from_array(X, chunks=(100, 40))
    return array[array[:, 0] > 0]


BAD: dict[str, tuple[Any, str]] = {
    "unknown sizes": (unknown, "compute_chunk_sizes"),
    "one dimension": (lambda X: da.from_array(X[:, 0]), "two-dimensional"),
    "text": (lambda X: da.from_array(X.astype(str)), "expected real numbers"),
    "failing": (lambda X: da.from_array(X, chunks=(100, 40)).map_blocks(lambda block: block[:, [99]], dtype=float), "chunk 0, 0"),
    "infinite": (lambda X: da.from_array(np.where(X > 3, np.inf, X), chunks=(100, 40)), "NaN or infinite in row"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_named(case: str, client: Any) -> None:
    """With what to do about it."""
    X, y = problem()
    make, message = BAD[case]
    with pytest.raises(dl.InputError, match=message):
        dl.fit_path(make(X), y, client=client)


def test_nothing_is_gathered_behind_ones_back(client: Any) -> None:
    """Where a dask array would have to be, that is refused."""
    X, y = problem()
    array = da.from_array(X, chunks=(100, 40))
    with pytest.raises(dl.InputError, match="leave `runtime` out"):
        dl.fit_path(array, y, runtime="threads")
    with pytest.raises(dl.InputError, match="gathered"):
        dl.Dataset.from_arrays(array, y)


def test_a_value_that_is_wrong_is_named_though_dask_would_ask_another_cluster(client: Any, cluster: dl.Cluster) -> None:
    """The chunks are where the fit is, not where the current client would look for them."""
    X, y = problem()
    X[321, 7] = np.inf
    with client.as_current(), pytest.raises(dl.InputError, match="NaN or infinite in row 321, column 7"):
        dl.fit_path(da.from_array(X, chunks=(100, 40)), y, runtime=cluster)
