"""How results show themselves: on a few lines that say what was found, whatever the size of the data."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distlasso as dl

RNG = np.random.default_rng(11)
N, P = 60, 30
X = RNG.standard_normal((N, P))
Y = X[:, :3] @ [2.0, -1.0, 1.0] + RNG.standard_normal(N)
FEW: dict[str, Any] = {"n_lambdas": 20, "lambda_min_ratio": 0.05}
NAMES = [f"feature {'long ' * 20}{j}" for j in range(P)]

RESULTS: dict[str, tuple[Any, int]] = {  # what makes one, and the lines it may take
    "path": (partial(dl.fit_path, X, Y, **FEW), 1),
    "responses": (partial(dl.fit_path, X, np.column_stack([Y, X[:, 5]]), **FEW), 1),
    "multi-task": (partial(dl.fit_path, X, np.column_stack([Y, X[:, 5]]), multi_task=True, **FEW), 1),
    "cv": (partial(dl.cross_validate, X, Y, l1_ratio=[0.5, 1.0], schedule=[None, dl.MCP()], **FEW), 4),
    "nested": (partial(dl.nested_cross_validate, X, Y, outer=dl.KFold(N // 2), folds=2, **FEW), 23),
    "stability": (partial(dl.stability_selection, X, Y, n_halves=10, **FEW), 3),
    "debiased": (partial(dl.debiased, dl.Dataset.from_arrays(X, Y, feature_names=NAMES), **FEW), 24),
    "dataset": (partial(dl.Dataset.from_arrays, X, Y, feature_names=NAMES), 1),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_shows_itself_on_a_few_lines(name: str) -> None:
    make, most = RESULTS[name]
    shown = repr(make())
    assert len(shown.splitlines()) <= most and max(map(len, shown.splitlines())) < 220
    assert len(shown) < 3000 and "array(" not in shown


def test_a_path_says_how_large_it_is_what_it_proves_and_whether_it_is_whole(tmp_path: Path) -> None:
    path = dl.fit_path(X, Y, **FEW)
    assert f"squared, 60 x 30, 20 lambdas {path.lambdas[0]:.4g} to {path.lambdas[-1]:.4g}" in repr(path)
    assert f"{path.n_active[-1]} active at the last, largest gap {path.gap.max():.1e}, complete)" in repr(path)
    short = dl.fit_path(X, Y, max_active=2, **FEW)
    assert repr(short).endswith("incomplete: max_active=2 was passed)")
    short.save(tmp_path / "model")
    assert repr(dl.load(tmp_path / "model")) == repr(short)


def test_a_path_that_is_not_proved_says_so() -> None:
    with pytest.warns(dl.CertificateWarning):
        path = dl.fit_path(X, Y, tol=1e-300, **FEW)
    assert f"{int((~path.converged).sum())} above tol=1e-300" in repr(path)


def test_folds_that_end_a_path_say_why() -> None:
    cv = dl.cross_validate(X, Y, folds=3, max_active=4, **FEW)
    assert not cv.path.complete and cv.path.ended == "max_active=4 was passed"


def test_a_cross_validation_says_which_model_was_chosen_by_what() -> None:
    cv = dl.cross_validate(X, Y, rule="1se", folds=5, **FEW)
    k = cv.best
    assert repr(cv).startswith("CrossValidation(5 fold(s), rule '1se' on 'mse')")
    assert f"lambda {cv.lambda_:.4g}, mse {cv.mean[k]:.4g} ± {cv.se[k]:.4g}, {cv.path.n_active[k]} active" in repr(cv)
    one = dl.cross_validate(X, Y, folds=dl.HoldOut(), **FEW)
    assert "±" not in repr(one)


def test_a_nested_one_shows_what_every_outer_fold_chose() -> None:
    found = dl.nested_cross_validate(X, Y, outer=3, folds=3, **FEW)
    first, _, *rows = repr(found).splitlines()
    assert f"mse {found.mean:.4g} ± {found.se:.4g}" in first
    assert [row.split()[:3] for row in rows] == [
        [str(k), f"{found.scores[k]:.4g}", f"{found.lambdas[k]:.4g}"] for k in range(3)
    ]  # fmt: skip


def test_intervals_are_a_table_that_ends_after_twenty_rows() -> None:
    found = dl.debiased(X, Y, columns=[7, 0], **FEW)
    _, _, header, seven, _ = repr(found).splitlines()
    assert header.split() == ["column", "estimate", "se", "low", "high", "p"]
    wanted = [found.estimate[0], found.se[0], found.low[0], found.high[0]]
    assert seven.split()[:5] == ["7", *(f"{value:.4g}" for value in wanted)]
    assert repr(dl.debiased(X, Y, **FEW)).splitlines()[-1] == "  ... and 10 more"


def test_a_selection_names_what_is_stable() -> None:
    found = dl.stability_selection(X, Y, n_halves=20, **FEW)
    assert found.names and f"stable: {', '.join(found.names)}" in repr(found)
