"""Whether what a model's files hold is a path: every value of its kind, every shape that of the others, no index out of range.

``predict`` and ``report`` follow these arrays without looking again. Read next: ``result.py``, ``model_store.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.data.dataset import sparse_problem
from distlasso.losses import LOSSES
from distlasso.path.history import RECORD

_MOST = 1 << 62


def check_path(values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Look at what a path will be made of.

    Raises
    ------
    KeyError
        If something is missing.
    ValueError
        If something is not as ``Path.stored`` leaves it.
    """
    for kind, names in _KINDS.items():
        for name in names:
            _require(name, kind(values[name] if name not in _LATER else values.get(name, _LATER[name])))
    _require("n_rows", len({values.get(name) is None for name in ("n_rows", "weight", "fit_intercept")}) == 1)  # of one version
    _require("loss", values["loss"] in LOSSES)
    rows, p = _shape(values["shape"])
    q = values.get("outputs")
    _require("outputs", q is None or (_count(q) and q >= 1))
    lambdas = _numbers(arrays, "lambdas")
    k = lambdas.size
    _require("lambdas", lambdas.shape == (k,) and k >= 1 and bool((lambdas >= 0).all() and (np.diff(lambdas) <= 0).all()))
    _require("shape", rows == k * (q or 1))
    _check_coefficients(arrays, rows, p)
    each = (k,) if q is None else (k, q)
    _require("intercept", _numbers(arrays, "intercept").shape == each)
    gap = arrays["gap"]
    _require("gap", gap.shape in ((k,), each) and gap.dtype == np.float64)
    _require("deviance_ratio", arrays["deviance_ratio"].shape == gap.shape and arrays["deviance_ratio"].dtype == np.float64)
    _require("converged", arrays["converged"].shape == gap.shape and arrays["converged"].dtype == np.bool_)
    null = values["null_deviance"]
    many = isinstance(null, list) and len(null) == q and all(map(_number, null))
    _require("null_deviance", many if gap.ndim == 2 else _number(null))
    _require("dropped", _places(arrays["dropped"], 0, p))
    _require("stages", _places(arrays["stages"], 0, _MOST) and arrays["stages"].size in (0, k))
    history = arrays["history"]
    _require("history", history.dtype == RECORD and _places(history["lambda"], -1, k) and _places(history["feature"], 0, p))
    names = values["feature_names"]
    _require("feature_names", names is None or (isinstance(names, list) and len(names) == p and all(map(_text, names))))
    code = values.get("missing_value")
    _require("missing_value", code is None or code == "NaN" or (type(code) is int and abs(code) < _MOST))
    _require("fill", code is None or _numbers(arrays, "fill").shape == (p,))


def check_selection(chosen: Any, k: int) -> None:
    """Look at how one of ``k`` lambdas was chosen.

    Raises
    ------
    KeyError, ValueError
        If something is missing, or not as ``CrossValidation.save`` leaves it.
    """
    if not isinstance(chosen, dict):
        raise ValueError("its selection is none")
    _require("rule", chosen["rule"] in ("min", "1se"))
    _require("score", _text(chosen["score"]))
    _require("max_features", chosen["max_features"] is None or _count(chosen["max_features"]))
    for name in ("best", "best_min", "best_1se"):
        _require(name, _count(chosen[name]) and chosen[name] < k)
    for name, depth in (("mean", 1), ("se", 1), ("scores", 2), ("fold_gaps", 2)):
        given: list[Any] = chosen[name] if isinstance(chosen[name], list) else []
        rows = [row if depth == 2 else [row] for row in given]
        _require(name, len(rows) == k and all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows))
        _require(name, all(one is None or _real(one) for row in rows for one in row))
    _require("scores", len(chosen["scores"][0]) >= 1 and len(chosen["scores"][0]) == len(chosen["fold_gaps"][0]))


def _check_coefficients(arrays: Mapping[str, NDArray[Any]], rows: int, p: int) -> None:
    data, indices, indptr = _numbers(arrays, "coef_data"), arrays["coef_indices"], arrays["coef_indptr"]
    flat = data.ndim == indices.ndim == indptr.ndim == 1 and indices.dtype.kind == indptr.dtype.kind == "i"
    _require("coef", flat and data.size == indices.size and indptr.size == rows + 1)
    problem = sparse_problem(indptr, indices, p)
    if problem:
        raise ValueError(f"its coefficients are not a sound sparse matrix: {problem}")


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    found = arrays[name]
    _require(name, found.dtype == np.float64 and bool(np.isfinite(found).all()))
    return found


def _places(found: NDArray[Any], least: int, end: int) -> bool:
    whole = found.ndim == 1 and found.dtype.kind == "i"
    return whole and bool(((found >= least) & (found < end)).all())


def _shape(given: Any) -> tuple[int, int]:
    _require("shape", isinstance(given, list) and len(given) == 2 and all(map(_count, given)))
    return given[0], given[1]


def _require(name: str, sound: Any) -> None:
    if not sound:
        raise ValueError(f"its {name} is not that of a path")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _real(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < _MOST)


def _number(value: Any) -> bool:
    return _real(value) and math.isfinite(value) and value >= 0


# Not in models of earlier versions.
_LATER: dict[str, Any] = {"n_rows": None, "weight": None, "fit_intercept": None, "resumed": 0, "ended": ""}
_KINDS: dict[Callable[[Any], bool], tuple[str, ...]] = {
    _text: ("certificate", "loss", "solver", "prior", "schedule", "ended"),
    _flag: ("standardize", "complete"),
    _count: ("passes", "rounds", "bytes_read", "bytes_moved", "peak_bytes", "resumed"),
    _number: ("seconds", "l1_ratio", "tol"),
    lambda value: value is None or _count(value): ("n_rows",),
    lambda value: value is None or _number(value): ("weight",),
    lambda value: value is None or _flag(value): ("fit_intercept",),
}
