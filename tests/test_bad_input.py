"""Bad input ends in one line that names the culprit, and never in a number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((50, 8)), rng.standard_normal(50)


def put(value: float, row: int, column: int) -> Any:
    bad = X.copy()
    bad[row, column] = value
    return bad


CASES: list[tuple[str, Any, Any, dict[str, Any], str]] = [
    ("NaN in X", put(np.nan, 17, 3), Y, {}, "row 17, column 3"),
    ("inf in X", put(np.inf, 0, 7), Y, {}, "row 0, column 7"),
    ("NaN in sparse X", sp.csr_array(put(np.nan, 17, 3)), Y, {}, "row 17, column 3"),
    ("inf in CSC X", sp.csc_array(put(-np.inf, 49, 0)), Y, {}, "row 49, column 0"),
    ("NaN in a row of weight 0", put(np.nan, 17, 3), Y, {"sample_weight": np.arange(50) != 17}, "row 17, column 3"),
    ("overflow", X * 1e200, Y, {}, "overflows"),
    ("NaN in y", X, np.where(np.arange(50) == 9, np.nan, Y), {}, "y has nan in row 9"),
    ("text in y", X, np.array(["a"] * 50), {}, "y is not numeric"),
    ("short y", X, Y[:-1], {}, "49 values for 50 rows"),
    ("no y", X, None, {}, "y is missing"),
    ("targets of three dimensions", X, np.ones((*Y.shape, 2, 2)), {}, "shape"),
    ("empty X", X[:0], Y[:0], {}, "empty"),
    ("no columns", X[:, :0], Y, {}, "empty"),
    ("text in X", np.array([["a", "b"]] * 50), Y, {}, "expected real numbers"),
    ("complex X", X.astype(complex), Y, {}, "expected real numbers"),
    ("complex y", X, Y.astype(complex), {}, "y has dtype complex128"),
    ("dates as y", X, np.arange(50).astype("M8[D]"), {}, "expected real numbers"),
    ("text as y", X, np.array(["1.5"] * 50), {}, "y is not numeric: it holds text"),
    ("text among objects", np.array([[1.0, "2"]] * 50, dtype=object), Y, {}, "it holds text"),
    ("a whole number beyond float64", np.array([[10**400]] * 50, dtype=object), Y, {}, "X is not numeric"),
    ("ragged X", [[1, 2], [3]], [1, 2], {}, "X is not numeric"),
    ("masked X", np.ma.masked_array(X, mask=np.arange(400).reshape(50, 8) == 139), Y, {}, "row 17, column 3"),
    ("masked y", X, np.ma.masked_array(Y, mask=np.arange(50) == 9), {}, "y has nan in row 9"),
    ("y beyond squaring", X, Y * 1e200, {}, "overflow float64"),
    ("y beneath squaring", X, Y * 1e-160, {}, "y underflows float64 when squared"),
    ("a column beneath squaring", X * np.where(np.arange(8) == 3, 1e-162, 1.0), Y, {}, "column 3 underflows float64 when squared"),
    ("weights beyond sums", X, Y, {"sample_weight": np.full(50, 1e308)}, "overflow float64"),
    ("three dimensions", X[:, :, None], Y, {}, "expected rows x columns"),
    ("negative weight", X, Y, {"sample_weight": np.where(np.arange(50) == 4, -1.0, 1.0)}, "row 4"),
    ("zero weights", X, Y, {"sample_weight": np.zeros(50)}, "zero in every row"),
    ("short weights", X, Y, {"sample_weight": np.ones(3)}, "3 values for 50 rows"),
    ("NaN offset", X, Y, {"offset": np.full(50, np.nan)}, "offset has nan"),
    ("constant target", X, np.ones(50), {}, "constant target"),
    ("no lambdas", X, Y, {"lambdas": []}, "lambdas is empty"),
    ("negative lambda", X, Y, {"lambdas": [1.0, -0.5]}, r"lambdas\[1\]"),
    ("NaN lambda", X, Y, {"lambdas": [np.nan]}, r"lambdas\[0\]"),
    ("text lambdas", X, Y, {"lambdas": ["a"]}, "lambdas cannot be read"),
    ("no length", X, Y, {"n_lambdas": 0}, "n_lambdas=0"),
    ("ratio", X, Y, {"lambda_min_ratio": 2.0}, "lambda_min_ratio=2"),
    ("l1_ratio", X, Y, {"l1_ratio": 1.5}, "l1_ratio=1.5"),
    ("tol", X, Y, {"tol": 0.0}, "tol=0"),
    ("loss", X, Y, {"loss": "hinge"}, "loss='hinge'"),
    ("solver", X, Y, {"solver": "magic"}, "solver='magic'"),
    ("runtime", X, Y, {"runtime": "cloud"}, "runtime='cloud'"),
    ("factors", X, Y, {"penalty_factors": np.ones(3)}, "penalty_factors has shape"),
    ("negative factor", X, Y, {"penalty_factors": -np.ones(8)}, r"penalty_factors\[0\]"),
    ("bounds", X, Y, {"bounds": (0.5, 1.0)}, "low <= 0 <= high"),
    ("text tol", X, Y, {"tol": "1e-6"}, "tol='1e-6' is not a number"),
    ("text ratio", X, Y, {"l1_ratio": "0.5"}, "l1_ratio='0.5' is not a number"),
    ("NaN length", X, Y, {"n_lambdas": np.nan}, "n_lambdas=nan"),
    ("text length", X, Y, {"n_lambdas": "10"}, "n_lambdas='10'"),
    ("square lambdas", X, Y, {"lambdas": np.ones((2, 2))}, "lambdas has shape"),
    ("text cap", X, Y, {"max_active": "5"}, "max_active='5'"),
    ("text limit", X, Y, {"time_limit": "5"}, "time_limit='5'"),
    ("text factors", X, Y, {"penalty_factors": ["a"] * 8}, "penalty_factors cannot be read"),
    ("one bound", X, Y, {"bounds": 1.0}, "is not a pair"),
    ("short bounds", X, Y, {"bounds": (np.zeros(3), 1.0)}, "the low bounds have shape"),
    ("a list as loss", X, Y, {"loss": [1]}, "is not a loss"),
    ("a number as runtime", X, Y, {"runtime": 5}, "runtime=5"),
    ("a number as solver", X, Y, {"solver": 5}, "solver=5"),
    ("text as flag", X, Y, {"standardize": "yes"}, "standardize='yes'"),
    ("no listener", X, Y, {"on_event": "print"}, "on_event='print'"),
    ("client", X, Y, {"client": "tcp://127.0.0.1:8786"}, "expected a distributed.Client"),
]


@pytest.mark.parametrize(("X", "y", "options", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_bad_input_is_refused_in_one_line(X: Any, y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(dl.InputError, match=message) as caught:
        dl.fit_path(X, y, **options)
    assert "\n" not in str(caught.value)


def unsound(change: Any) -> Any:
    matrix = sp.csr_array(X)
    change(matrix)
    return matrix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.indices.__setitem__(3, 77), "an index is outside"),
        (lambda m: m.indices.__setitem__(3, -2), "an index is outside"),
        (lambda m: m.indptr.__setitem__(3, 9999), "indptr does not rise"),
    ],
)
def test_sparse_indices_that_lead_out_of_the_matrix_are_never_followed(change: Any, message: str, tmp_path: Any) -> None:
    with pytest.raises(dl.InputError, match=message):
        dl.fit_path(unsound(change), Y)
    with pytest.raises(dl.InputError, match=message):
        dl.ingest((unsound(change), Y), tmp_path / "s.zarr")


def test_numbers_of_the_other_byte_order_are_numbers() -> None:
    swapped = dl.fit_path(X.astype(">f8"), Y.astype(">f8"), n_lambdas=5)
    np.testing.assert_array_equal(swapped.coef.toarray(), dl.fit_path(X, Y, n_lambdas=5).coef.toarray())


def test_a_constant_target_with_lambdas_is_the_null_model_and_a_warning() -> None:
    with pytest.warns(dl.CertificateWarning, match="constant target"):
        path = dl.fit_path(X, np.full(50, 3.5), lambdas=[1.0, 0.1])
    assert path.gap.tolist() == [0.0, 0.0]
    assert path.coef.nnz == 0
    np.testing.assert_allclose(path.intercept, 3.5)


def test_a_sparse_column_far_from_zero_is_refused_by_number() -> None:
    far = X.copy()
    far[:, 5] = 1e6 + rng.standard_normal(50)
    with pytest.raises(dl.InputError, match="sparse column 5"):
        dl.fit_path(sp.csr_array(far), Y)


def test_prediction_of_other_columns_is_refused() -> None:
    path = dl.fit_path(X, Y, n_lambdas=5)
    with pytest.raises(dl.InputError, match=r"expects \(n, 8\)"):
        path.predict(X[:, :5])
    with pytest.raises(dl.InputError, match="outside the path"):
        path.predict(X, lam=1e9)


def test_a_damaged_model_is_refused(tmp_path: Any) -> None:
    path = dl.fit_path(X, Y, n_lambdas=5)
    path.save(tmp_path / "m")
    with pytest.raises(dl.StoreError, match="exists already"):
        path.save(tmp_path / "m")
    content = bytearray((tmp_path / "m" / "path.npz").read_bytes())
    for broken in (content[: len(content) // 2], content[:200] + bytes([content[200] ^ 1]) + content[201:], b"PK"):
        (tmp_path / "m" / "path.npz").write_bytes(bytes(broken))
        with pytest.raises(dl.StoreError, match="damaged"):
            dl.load(tmp_path / "m")
    with pytest.raises(dl.StoreError, match="no model"):
        dl.load(tmp_path / "none")


def test_what_is_not_a_model_is_never_overwritten(tmp_path: Any) -> None:
    path = dl.fit_path(X, Y, n_lambdas=5)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    with pytest.raises(dl.StoreError, match="is not a model"):
        path.save(tmp_path / "precious", overwrite=True)
    assert (tmp_path / "precious" / "file").read_text() == "kept"
    path.save(tmp_path / "m")
    path.save(tmp_path / "m", overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m", "precious"]


def test_unpenalised_columns_that_separate_the_classes_are_refused() -> None:
    X = np.random.default_rng(3).standard_normal((80, 5))
    with pytest.raises(dl.InputError, match="no finite optimum"):
        dl.fit_path(X, (X[:, 0] > 0).astype(float), loss="logistic", penalty_factors=[0, 1, 1, 1, 1])


def test_what_underflows_is_refused_wherever_it_comes_from(tmp_path: Path) -> None:
    """A store has statistics of its own, and of several responses each is a target."""
    tiny = X * np.where(np.arange(X.shape[1]) == 3, 1e-162, 1.0)
    with pytest.raises(dl.InputError, match="column 3 underflows float64 when squared"):
        dl.fit_path(dl.ingest((tiny, Y), tmp_path / "column.zarr"))
    with pytest.raises(dl.InputError, match="y underflows float64 when squared"):
        dl.fit_path(dl.ingest((X, Y * 1e-160), tmp_path / "target.zarr"))
    with pytest.raises(dl.InputError, match="y underflows float64 when squared"):
        dl.fit_path(X, np.column_stack([Y, Y * 1e-160]))


PATH = dl.fit_path(X, Y, n_lambdas=5)
CALLS: dict[str, Callable[..., Any]] = {
    "cross_validate": partial(dl.cross_validate, X, Y),
    "nested_cross_validate": partial(dl.nested_cross_validate, X, Y),
    "stability_selection": partial(dl.stability_selection, X, Y),
    "debiased": partial(dl.debiased, X, Y),
    "refit": partial(dl.refit, PATH, X, Y, lam=PATH.lambdas[2]),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_option_that_does_not_exist_is_refused_by_the_function_that_was_called(name: str) -> None:
    for unknown, hint in (("runtim", "did you mean 'runtime'?"), ("qqq", "its options are ")):
        with pytest.raises(TypeError) as caught:
            CALLS[name](**{unknown: 5})
        assert str(caught.value).startswith(f"{name}() got an unexpected keyword argument {unknown!r}: {hint}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "theirs", "ours"), [
    ("cross_validate", "cv", "folds"), ("cross_validate", "alphas", "lambdas"), ("debiased", "cv", "folds"),
    ("nested_cross_validate", "max_feature", "max_features"), ("stability_selection", "weights", "sample_weight"),
])  # fmt: skip
def test_names_of_other_libraries_lead_to_ours(name: str, theirs: str, ours: str) -> None:
    with pytest.raises(TypeError, match=f"did you mean '{ours}'"):
        CALLS[name](**{theirs: 5})


def test_options_that_are_taken_in_no_form_are_not_proposed() -> None:
    with pytest.raises(TypeError, match="its options are") as caught:
        dl.stability_selection(X, Y, qqq=1)
    assert "schedule" not in str(caught.value) and "n_halves" in str(caught.value)
    with pytest.raises(dl.InputError, match="lambdas= is not for refit"):
        CALLS["refit"](lambdas=[1.0])


@pytest.mark.parametrize("schedule", [lambda lam: 3, lambda stage: stage.b, lambda stage: True])
def test_a_schedule_that_returns_no_penalty_says_what_it_should_return(schedule: Any) -> None:
    with pytest.raises(dl.InputError, match=r"gave a value of type \w+, which is no penalty.*stage\.then") as caught:
        dl.fit_path(X, Y, schedule=schedule, n_lambdas=5)
    assert "\n" not in str(caught.value)


def test_a_schedule_of_ones_own_must_begin_with_a_penalty() -> None:
    class Nothing:
        def begin(self, last: Any) -> None:
            return None

        next = begin

    with pytest.raises(dl.InputError, match="of type NoneType, which is no penalty"):
        dl.fit_path(X, Y, schedule=Nothing(), n_lambdas=5)


def test_groups_in_the_place_of_their_number_are_not_spelled_out() -> None:
    with pytest.raises(dl.InputError, match="k=a value of type ndarray of GroupKFold\\(groups, k\\) must be a whole number"):
        dl.GroupKFold(4, np.arange(50))  # type: ignore[arg-type]
