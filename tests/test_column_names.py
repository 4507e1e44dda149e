"""Names of columns follow data from frames and files into models, and a model refuses rows of other columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import distlasso as dl
from distlasso.data.names import column_names

rng = np.random.default_rng(0)
NAMES = ["c0", "c1", "c2", "c3"]
X = rng.standard_normal((60, 4)) + np.arange(4)
Y = X @ np.array([3.0, 0.0, -2.0, 1.0]) + 0.1 * rng.standard_normal(60)
FRAME = pd.DataFrame(X, columns=NAMES)


@pytest.fixture(scope="module")
def path() -> dl.Path:
    return dl.fit_path(FRAME, Y, n_lambdas=5)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (NAMES[::-1], "the data has 'c3' as column 0, the model expects 'c0' there: give it the same columns"),
        (["c0", "c1", "x", "c3"], "the data has 'x' as column 2, the model expects 'c2' there: give it the columns it was fitted"),
        (NAMES[:3], "the data ends before column 3, the model expects 'c3' there"),
        ([*NAMES, "c4"], "the data has 'c4' as column 4, the model has only 4 columns"),
    ],
)
def test_rows_of_other_columns_are_refused_by_the_first_that_differs(
    columns: list[str], message: str, path: dl.Path, tmp_path: Path
) -> None:
    frame = FRAME.reindex(columns=columns, fill_value=1.0)
    store = dl.ingest((frame, Y), tmp_path / "other.zarr")
    for rows in (frame, store):
        for model in (path, dl.cross_validate(FRAME, Y, folds=3, n_lambdas=5)):
            with pytest.raises(dl.InputError) as refused:
                model.predict(rows)
            assert str(refused.value).startswith(message)


def test_rows_with_the_same_names_or_without_names_are_predicted(path: dl.Path, tmp_path: Path) -> None:
    store = dl.ingest((FRAME, Y), tmp_path / "same.zarr")
    for rows in (X, FRAME, store, X.tolist(), pd.DataFrame(X), dl.Dataset.from_arrays(X), replace(store, feature_names=None)):
        np.testing.assert_allclose(path.predict(rows), path.predict(X), rtol=1e-12)
    nameless = dl.fit_path(X, Y, n_lambdas=5)
    np.testing.assert_allclose(nameless.predict(FRAME[NAMES[::-1]]), nameless.predict(X[:, ::-1]))


def test_frames_whose_columns_have_several_types_are_predicted_as_they_are_fitted() -> None:
    """NumPy makes objects of booleans beside numbers."""
    mixed = FRAME.assign(flag=np.arange(60) % 2 == 0)
    path = dl.fit_path(mixed, Y, n_lambdas=5)
    np.testing.assert_array_equal(path.predict(mixed), path.predict(mixed.astype(float)))
    with pytest.raises(dl.InputError, match="X is not numeric"):
        path.predict(mixed.assign(flag="yes"))


def test_a_store_with_other_categories_is_refused_though_it_is_as_wide(tmp_path: Path) -> None:
    """Categories A, B, C and then A, C, D: three columns each, of which the last two mean something else."""
    kinds = [pd.DataFrame({"kind": list(levels) * 20, "y": np.arange(60.0) % 7}) for levels in ("ABC", "ACD")]
    train, new = (dl.ingest(kind, tmp_path / f"{k}.zarr", target="y") for k, kind in enumerate(kinds))
    assert train.shape == new.shape
    with pytest.raises(dl.InputError, match="has 'kind=C' as column 1, the model expects 'kind=B'"):
        dl.fit_path(train, n_lambdas=5).predict(new)


def test_refit_and_estimators_refuse_a_dataset_of_other_columns(path: dl.Path) -> None:
    other = dl.Dataset.from_arrays(FRAME[NAMES[::-1]], Y)
    with pytest.raises(dl.InputError, match="'c3' as column 0"):
        dl.refit(path, other, lam=path.lambdas[-1])
    with pytest.raises(dl.InputError, match="'c3' as column 0"):
        dl.Lasso(alpha=0.1).fit(FRAME, Y).predict(other)


def test_names_of_a_frame_are_those_of_the_fit(path: dl.Path, tmp_path: Path) -> None:
    assert path.feature_names == NAMES
    assert dl.cross_validate(FRAME, Y, folds=3, n_lambdas=5).path.feature_names == NAMES
    assert dl.Dataset.from_arrays(FRAME, Y).feature_names == NAMES
    assert dl.Dataset.from_arrays(FRAME, feature_names=list("abcd")).feature_names == list("abcd")
    assert dl.ingest((FRAME, Y), tmp_path / "named.zarr").feature_names == NAMES
    path.save(tmp_path / "model")
    assert dl.load(tmp_path / "model").feature_names == NAMES


def test_intervals_are_for_columns_of_a_frame_by_name() -> None:
    named = dl.debiased(FRAME, Y, columns=["c3"], lam=0.05, n_lambdas=5)
    assert named.names == ["c3"]
    np.testing.assert_allclose(named.estimate, dl.debiased(X, Y, columns=[3], lam=0.05, n_lambdas=5).estimate, rtol=1e-6)


@pytest.mark.parametrize("columns", [[0, 1, 2, 3], ["a", "b", "c", 3], pd.MultiIndex.from_product([["a", "b"], ["c", "d"]])])
def test_names_that_are_not_text_are_none(columns: Any) -> None:
    assert column_names(pd.DataFrame(X, columns=columns)) is None


@pytest.mark.parametrize("given", [X, X.tolist(), None, pd.Series(X[:, 0])])
def test_what_is_no_frame_has_no_names(given: Any) -> None:
    assert column_names(given) is None
