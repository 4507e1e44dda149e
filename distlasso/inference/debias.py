"""``debiased``: confidence intervals for single coefficients of a lasso, by one regression of each column on all others.

With b the lasso, r its residuals, and z_j what a node-wise lasso leaves of column j given the others,

    b_j + z_j' W r / z_j' W H x_j,    se_j = sqrt(phi z_j' W H z_j) / |z_j' W H x_j|

is nearly normal about the true coefficient (Zhang & Zhang 2014; van de Geer, Buehlmann, Ritov & Dezeure 2014; Javanmard &
Montanari 2014). H is the curvature of the loss at b: 1 for squared loss, mu (1 - mu) for logistic, mu for Poisson, whose
node-wise regressions are weighted by it. phi is the noise variance, or 1. A node-wise regression is a squared-loss lasso with
another target, so all of them go side by side: in Gram form they share one Gram. Everything it has to tell follows from
its coefficients g: with s_j = X' W H x_j, z_j' x_j = s_jj - s_j' g, and z_j' W r = u_j - g' u with u = X' W r, one more pass.
Read next: ``nodes.py`` (the node-wise regressions), ``intervals.py``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.data.dataset import Dataset
from distlasso.errors import InputError
from distlasso.inference.at_model import CURVATURE, curvature, predictor
from distlasso.inference.intervals import Intervals, check_level, chosen_columns, names_of
from distlasso.inference.nodes import Design, node_wise
from distlasso.losses import Loss
from distlasso.path.fit import fit_path
from distlasso.path.identity import of_arrays
from distlasso.path.keywords import check_options
from distlasso.path.opened import Kept, as_dataset, opened, outputs_of, row_spaces, row_weights
from distlasso.path.options import Options, number, parse
from distlasso.path.result import Path
from distlasso.path.selection import cross_validate
from distlasso.queries import Gather, Gradient

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST = 200  # columns that are all done where none are named
_REFUSED = ("l1_ratio", "penalty_factors", "bounds", "schedule", "prior", "multi_task", "lambdas", "solver")


def debiased(
    data: Any,
    y: Any = None,
    *,
    columns: Any = None,
    lam: float | None = None,
    node_lam: float | None = None,
    level: float = 0.95,
    noise_variance: float | None = None,
    folds: Any = None,
    rule: str = "min",
    sample_weight: Any = None,
    offset: Any = None,
    random_state: int = 0,
    checkpoint: Any = None,
    **options: Any,
) -> Intervals:
    """Confidence intervals and p-values of chosen coefficients, by the debiased (desparsified) lasso.

    Valid for sparse models whose columns are not too correlated, n large beside (s log p)^2 for s true coefficients; each
    interval on its own, for columns that were chosen without looking at y. Coverage falls short of the level, for signal
    columns more than for noise, as correlation grows: by how much is measured in benchmarks/coverage.md.

    Cost: a cross-validation (or one fit, with ``lam``), three passes, and the node-wise regressions, which share their passes:
    two in Gram form. The chosen columns are held by the coordinator, 8 n q bytes, twice.

    Parameters
    ----------
    data, y, sample_weight, offset
        As in ``fit_path``; one response. Weights are inverse variances for squared loss, counts of rows for the others.
    columns : ints, names or mask, optional
        Which coefficients; by default all, of at most 200.
    lam : float, optional
        Lambda of the lasso; by default cross-validation chooses it by ``folds`` and ``rule``.
    node_lam : float, optional
        Lambda of the node-wise regressions, whose targets and columns have standard deviation 1. By default each column has its
        own, by the rule of Zhang & Zhang (2014, table 1): of all lambdas whose standard error is within 25 % of the best one that
        keeps the bias in bounds, the one with the least bias.
    level : float
        Of the intervals.
    noise_variance : float, optional
        Of squared loss. By default RSS / (n - df) at the lambda of the lasso, df its nonzero coefficients and intercept
        (Reid, Tibshirani & Friedman 2016).
    random_state : int
        Seed of the folds.
    checkpoint : path, optional
        As in ``fit_path``; the lasso, the passes at it and the node-wise regressions have a folder each in it.
    **options
        ``loss`` ("squared", "logistic" or "poisson"), ``n_lambdas``, ``fit_intercept``, ``tol``, ``runtime``, ``client``, ... of
        ``fit_path``; not ``l1_ratio``, ``penalty_factors``, ``bounds``, ``schedule``, ``prior`` or ``lambdas``.

    Returns
    -------
    Intervals

    Raises
    ------
    InputError
        For data or options that cannot be used, columns out of range or constant, or too few rows.

    Examples
    --------
    >>> import numpy as np, distlasso as dl
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 150))
    >>> found = dl.debiased(X, 2.0 * X[:, 3] + rng.standard_normal(100), columns=[3, 7])
    >>> bool(found.low[0] < 2.0 < found.high[0]), bool(found.p_value[0] < 1e-6 < found.p_value[1])
    (True, True)
    """
    check_options(options, debiased, refused=_REFUSED)
    chosen = _checked(options, noise_variance)
    check_level(level)
    for name, value in (("lam", lam), ("node_lam", node_lam)):
        if value is not None:
            number(name, value, lambda v: 0.0 < v < np.inf, "that is positive")
    dataset = as_dataset(data, y, sample_weight, offset)
    if outputs_of(dataset) > 1:
        raise InputError(f"debiased is for one response, and y has {outputs_of(dataset)}: do them one by one")
    which = chosen_columns(dataset, columns, _MOST)
    if dataset.statistics is not None:  # of a store: known before anything is fitted
        _refuse_constant(which, dataset.statistics.sd <= 1e-12 * dataset.statistics.max_abs)
    if lam is None:
        kept = _part(checkpoint, "lasso")
        cv = cross_validate(dataset, folds=folds, rule=rule, random_state=random_state, checkpoint=kept, **options)
        path, k, how = cv.path, cv.best, f"cross-validation, rule {rule!r}"
    else:
        path = fit_path(dataset, **(options | {"lambdas": [lam], "checkpoint": _part(checkpoint, "lasso")}))
        k, how = 0, "lam as given"
    variance, said = _variance(path, k, noise_variance)
    seen = _look(dataset, chosen, path, k, which, _part(checkpoint, "look"))
    nodes = node_wise(dataset, chosen, seen.design, which, node_lam, _part(checkpoint, "nodes"))
    zz, zx = (np.array([getattr(one, name) for one in nodes]) for name in ("zz", "zx"))
    score = seen.slope[which] - np.array([one.coef @ seen.slope[one.columns] for one in nodes])
    estimate = path.coef[[k]].toarray()[0][which] + score / (seen.curvature * zx)
    se = np.sqrt(variance * zz / (row_weights(dataset)[1] * seen.curvature)) / zx
    method = f"debiased lasso ({chosen.loss.name} loss; lambda by {how}{said}); valid one column at a time"
    return Intervals(which, names_of(dataset, which), estimate, se, float(level), method, float(path.lambdas[k]), variance, path)


def _checked(options: dict[str, Any], noise_variance: Any) -> Options:
    """The options of the lasso, without those that its intervals do not know."""
    for name in _REFUSED:
        if options.pop(name, None) is not None:
            raise InputError(f"{name}= is not for debiased: intervals are those of the plain lasso")
    chosen = parse(time.perf_counter(), **options)
    if chosen.loss.name not in CURVATURE:
        raise InputError(f"loss={chosen.loss.name!r} has no debiased lasso here: use one of {', '.join(CURVATURE)}")
    if noise_variance is not None:
        number("noise_variance", noise_variance, lambda v: 0.0 < v < np.inf, "that is positive")
        if not chosen.loss.quadratic:
            raise InputError(f"noise_variance= is for squared loss: {chosen.loss.name} loss implies its own")
    return chosen


def _variance(path: Path, k: int, given: float | None) -> tuple[float, str]:
    """Noise variance, and where it is from."""
    if path.loss != "squared":
        return 1.0, ""
    if given is not None:
        return float(given), "; noise variance as given"
    assert path.n_rows is not None and path.weight is not None
    df = int(path.n_active[k]) + int(bool(path.fit_intercept))
    if df >= path.n_rows:
        raise InputError(f"{path.n_rows} rows are too few for the noise variance of a model with {df} parameters: use a larger lam")
    rss = 2.0 * path.weight * float(path.null_deviance) * max(1.0 - float(path.deviance_ratio[k]), 0.0)
    if not rss > 0:
        raise InputError("the residuals are 0: there is no noise to tell intervals from")
    return rss / (path.n_rows - df), "; noise variance RSS / (n - df)"


def _refuse_constant(which: Ints, constant: NDArray[np.bool_]) -> None:
    if constant[which].any():
        raise InputError(f"column {which[constant[which]][0]} is constant: it has no coefficient to tell")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What passes at the lasso have found."""

    design: Design
    slope: Floats  # [p]: X' W r, weights summing to one
    curvature: float  # mean curvature of the loss


def _part(checkpoint: Any, name: str) -> FilePath | None:
    """Folder of one of the fits in that of all."""
    return None if checkpoint is None else FilePath(checkpoint) / name


def _look(dataset: Dataset, options: Options, path: Path, k: int, which: Ints, checkpoint: Any) -> _Seen:
    """Residuals and curvature at one model of a path, the slopes of all columns, and the values of some."""
    loss: Loss = options.loss
    more = {"call": "debiased", "columns": of_arrays(which), "model": of_arrays(path.coef[[k]], path.intercept[[k]])}
    kept = None if checkpoint is None else Kept(checkpoint, more)
    with opened(dataset, options, partial(row_spaces, loss=loss, intercept=options.fit_intercept), fits=1, kept=kept) as data:
        (space,), rows, exchange = data.centred(data.measure([0])), data.rows[0], data.exchange
        _refuse_constant(which, space.constant)
        eta = predictor(data, path.coef[[k]], float(path.intercept[k]))
        ascending = np.sort(which)
        gathered = exchange.ask(Gather(ascending), sweep=False).joined()
        derivative = rows.weight * loss.residual(rows.y, eta)
        found = exchange.ask(Gradient(), None, np.ascontiguousarray(derivative[:, None]))
        slope = (found.gradient - np.outer(space.remainder, found.total))[:, 0]
        h = curvature(data, eta)
        values = space.centred(ascending, gathered)[:, np.searchsorted(ascending, which)]
    mean = float(h.sum())
    return _Seen(Design(values, h / mean, space.imputation), slope, mean)
