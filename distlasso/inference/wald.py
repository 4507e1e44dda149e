"""``refit``: maximum likelihood on the support of a model, with the standard errors of textbooks.

These take the support as given. Where the same rows have chosen it they are too small, and the p-values say nothing (Berk, Brown,
Buja, Zhang & Zhao 2013); on rows that had no part in the choice they are valid (sample splitting: Wasserman & Roeder 2009).
For predictions alone ``schedule=dl.Relaxed(0.0)`` refits the whole path. Read next: ``intervals.py``, ``debias.py``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.data.dataset import Dataset
from distlasso.data.names import check_names
from distlasso.errors import InputError
from distlasso.inference.at_model import CURVATURE, curvature, predictor
from distlasso.inference.intervals import Intervals, check_level, names_of
from distlasso.losses import Squared
from distlasso.path.cross_validation import CrossValidation
from distlasso.path.fit import fit_path
from distlasso.path.keywords import check_options
from distlasso.path.opened import Opened, as_dataset, opened, outputs_of, row_spaces, row_weights
from distlasso.path.options import Options, parse
from distlasso.path.result import Path
from distlasso.queries import Gather, Look, Models
from distlasso.runtime.local import RowSpace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SINGULAR = 1e-12
_REFUSED = (  # what says how columns are chosen or penalised, and what the model has settled
    "loss", "l1_ratio", "prior", "penalty_factors", "bounds", "schedule", "multi_task", "lambdas", "n_lambdas", "lambda_min_ratio",
    "standardize", "fit_intercept", "max_active", "time_limit", "init",
)  # fmt: skip


def refit(
    model: Path | CrossValidation,
    data: Any,
    y: Any = None,
    *,
    lam: float | None = None,
    level: float = 0.95,
    sample_weight: Any = None,
    offset: Any = None,
    **options: Any,
) -> Intervals:
    """Fit the columns that a model uses again without penalty, and give Wald intervals. Not valid after selection.

    The intervals are valid if ``data`` had no part in choosing the columns. For columns that are named beforehand ``debiased``
    needs no such split.

    Parameters
    ----------
    model : Path or CrossValidation
        Whose columns.
    data, y, sample_weight, offset
        As in ``fit_path``. Weights are inverse variances for squared loss, counts of rows for the others.
    lam : float, optional
        Where on the path; by default the lambda that a cross-validation has chosen.
    level : float
        Of the intervals.
    **options
        ``runtime``, ``client``, ``tol``, ``memory``, ``on_event`` of ``fit_path``.

    Returns
    -------
    Intervals
        Its ``path`` has the refitted model.

    Raises
    ------
    InputError
        If no column is selected, too few rows are there, or the columns are collinear.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 30))
    >>> y = 2.0 * X[:, 3] + rng.standard_normal(200)
    >>> path = dl.fit_path(X[:100], y[:100])
    >>> found = dl.refit(path, X[100:], y[100:], lam=path.lambdas[20])
    >>> bool(found.low[found.names.index("3")] < 2.0 < found.high[found.names.index("3")])
    True
    """
    check_options(options, refit, refused=_REFUSED)
    for name in _REFUSED:
        if name in options:
            raise InputError(f"{name}= is not for refit: the columns that the model uses are fitted without penalty")
    chosen, support = _support(model, lam)
    check_level(level)
    dataset = as_dataset(data, y, sample_weight, offset)
    if outputs_of(dataset) > 1:
        raise InputError(f"refit is for one response, and y has {outputs_of(dataset)}: do them one by one")
    check_names(dataset.feature_names, chosen.feature_names)
    if dataset.shape[1] != chosen.coef.shape[1]:
        raise InputError(f"the data has {dataset.shape[1]} columns, the model {chosen.coef.shape[1]}")
    weight, total = row_weights(dataset)
    n, parameters = int(np.count_nonzero(weight)), support.size + int(bool(chosen.fit_intercept))
    if parameters >= n:
        raise InputError(f"{n} rows are too few for standard errors of {parameters} parameters: use a larger lam")
    factors = np.full(dataset.shape[1], np.inf)
    factors[support] = 0.0
    common = {"loss": chosen.loss, "fit_intercept": chosen.fit_intercept, **options}
    covariance = _Covariance(parse(time.perf_counter(), **common), support)
    covariance.check(dataset)
    target = np.asarray(dataset.y, dtype=np.float64)[weight > 0]
    if (target == target[0]).all():
        raise InputError(f"y is {target[0]:g} in every row: there is nothing to refit")
    path = fit_path(dataset, penalty_factors=factors, lambdas=[1.0], **common)
    variance = 1.0
    if chosen.loss == "squared":
        variance = 2.0 * total * float(path.null_deviance) * max(1.0 - float(path.deviance_ratio[0]), 0.0) / (n - parameters)
    se = np.sqrt(variance / total * covariance.at(dataset, path))
    method = f"{chosen.loss} loss without penalty on {support.size} columns, Wald; not valid if the same rows chose these columns"
    at = float(_lam(model, lam))
    estimate, names = path.coef.toarray()[0][support], names_of(dataset, support)
    return Intervals(support, names, estimate, se, float(level), method, at, variance, path)


def _lam(model: Path | CrossValidation, lam: float | None) -> float:
    if lam is not None:
        return lam
    if not isinstance(model, CrossValidation):
        raise InputError("lam= is needed: which model of the path? (path.lambdas[path.select('bic')] is one choice)")
    return model.lambda_


def _support(model: Path | CrossValidation, lam: float | None) -> tuple[Path, Ints]:
    """The path, and the columns that its model at a lambda uses."""
    path = model.path if isinstance(model, CrossValidation) else model
    if not isinstance(path, Path):
        raise InputError(f"model={model!r} is not a Path or a CrossValidation")
    if isinstance(path.coef, tuple):
        raise InputError(f"the path has {len(path.coef)} responses: refit one of them, path.output(j)")
    if path.loss not in CURVATURE:
        raise InputError(f"{path.loss} loss is no likelihood of known scale: refit is for {', '.join(CURVATURE)}")
    if path.fit_intercept is None:
        raise InputError("the path does not know whether it has an intercept: it was saved by an earlier version; fit it again")
    coef, _ = path.at(_lam(model, lam))
    support = np.flatnonzero(coef)
    if support.size == 0:
        raise InputError(f"no column is selected at lam={_lam(model, lam):g}: use a smaller lam")
    return path, support


class _Covariance:
    """Inverse information of the coefficients of some columns, the intercept profiled out."""

    def __init__(self, options: Options, columns: Ints) -> None:
        self._options, self._columns = options, columns

    def check(self, dataset: Dataset) -> None:
        """Refuse columns that no fit without penalty can tell apart, before it is tried."""
        weight, total = row_weights(dataset)
        self._inverse(dataset, weight / total)

    def at(self, dataset: Dataset, path: Path) -> Floats:
        """Diagonal of the inverse at the refitted model, for weights that sum to one."""
        options = self._options
        make_rows = partial(row_spaces, loss=options.loss, intercept=options.fit_intercept)
        with opened(dataset, options, make_rows, fits=1) as data:
            data.centred(data.measure([0]))
            h = curvature(data, predictor(data, path.coef, float(path.intercept[0])))
        size = float(h.sum())
        return self._inverse(dataset, h / size) / size

    def _inverse(self, dataset: Dataset, weight: Floats) -> Floats:
        plain = replace(self._options, loss=Squared())
        with opened(dataset, plain, lambda _: [RowSpace(np.zeros(weight.size), weight)], fits=1) as data:
            information = self._information(data)
        scale = np.sqrt(np.diag(information))
        values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
        if values[0] <= _SINGULAR * values[-1]:
            worst = self._columns[int(np.argmax(np.abs(vectors[:, 0])))]
            raise InputError(
                f"the {scale.size} columns are collinear, column {worst} with others: their coefficients cannot be told apart"
            )
        return np.asarray((vectors**2 / values).sum(axis=1) / scale**2)

    def _information(self, data: Opened) -> Floats:
        """Weighted products of the columns, centred if there is an intercept."""
        columns, exchange = self._columns, data.exchange
        (space,) = data.centred(data.measure([0]))
        constant = columns[space.constant[columns]]
        if constant.size:
            raise InputError(f"column {constant[0]} is constant in these rows: it has no coefficient to tell")
        if data.by_columns:  # few rows
            x = space.centred(columns, exchange.ask(Gather(columns), sweep=False).joined())
            return np.asarray(x.T @ (x * data.rows[0].weight[:, None]))
        everything = np.arange(columns.size)
        models = Models(everything, np.zeros((columns.size, 1)), np.zeros(1))
        (found,) = exchange.ask_all([Look(everything)], models, columns=columns, sweep=False)
        products, rest = found.information[0][:-1, :-1], space.remainder[columns]
        return np.asarray(products - np.outer(rest, rest))
