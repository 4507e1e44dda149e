"""``Path``: a fitted regularisation path, with the proof of every solution and what it cost.

Read next: ``fit.py``, which makes it, ``model_store.py``, which keeps it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.data.dataset import Dataset
from distlasso.data.missing import Imputation, spelled
from distlasso.data.names import check_names, column_names
from distlasso.errors import InputError, note
from distlasso.losses import LOSSES
from distlasso.path.again import Again
from distlasso.path.criteria import Fits, criterion
from distlasso.path.history import no_records
from distlasso.path.linear import linear
from distlasso.path.model_store import write_model
from distlasso.path.shown import brief
from distlasso.path.sound import check_path

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A regularisation path, of one response or of several that share the lambdas.

    For q responses, ``coef`` is a tuple of q arrays, ``intercept``, ``gap``, ``deviance_ratio`` and ``converged`` are
    [k, q], and ``null_deviance`` is [q]; ``output(j)`` is the path of one of them. Responses of a multi-task fit share
    their penalty too, so that they have one ``gap``, ``deviance_ratio``, ``converged`` and ``null_deviance``.

    Attributes
    ----------
    lambdas : float64 [k]
        Penalty strengths, descending.
    coef : scipy.sparse.csr_array [k, p]
        Coefficients on the original scale of the features.
    intercept : float64 [k]
        Intercepts.
    gap : float64 [k]
        Duality gap relative to half the null deviance: an upper bound on the relative suboptimality.
    deviance_ratio : float64 [k]
        Fraction of the null deviance explained.
    converged : bool [k]
        ``gap <= tol``.
    certificate : str
        What the gaps were computed from.
    dropped : int64
        Constant columns, left out of problem and certificate; their coefficients are 0.
    feature_names : list of str or None
        Names of the columns.
    passes, rounds : int
        Sweeps over all rows and columns; exchanges with the runtime, sweeps included.
    bytes_read, bytes_moved, peak_bytes : int
        Decoded bytes of blocks visited; bytes of all requests and answers, counted as if every bundle of rows or columns
        were on a node of its own; peak resident memory of this process in bytes.
    seconds : float
        Wall time of the process that ended the fit.
    resumed : int
        Rounds, of all, that a checkpoint answered; bytes are those of all processes that worked on it.
    loss, l1_ratio, standardize, tol, solver
        Options of the fit; ``solver`` says what was chosen and why.
    complete : bool
        Whether every lambda asked for is there.
    ended : str
        Why not, where a limit or an interruption is the reason.
    null_deviance : float
        Half the null deviance per weight, D0: what gaps are relative to.
    imputation : Imputation or None
        What ``predict`` puts where a value is missing, the means of the fit; None where it saw no missing values.
    prior, schedule : str
        The prior and the lambda it implied; the schedule. Empty where there was none.
    stages : int64 [k]
        Fits at each lambda after the first, by the schedule.
    history : record array
        What the schedule did: ``lambda`` (index; -1 before the path), ``stage``, ``feature``, ``event`` ("entered",
        "pruned", "returned") and ``why`` ("path", "excluded", "heavier penalty", "lighter penalty", "other features").
    n_rows, weight : int, float, or None
        Rows of positive weight that were fitted, and their total weight; None in models of a version that did not keep them.
    fit_intercept : bool or None
        Option of the fit; None likewise.
    again : Again
        Fits the same data at another lambda; it keeps that data in memory, and is not saved.
    """

    lambdas: Floats
    coef: Any  # csr_array, or a tuple of them
    intercept: Floats
    gap: Floats
    deviance_ratio: Floats
    converged: NDArray[np.bool_]
    certificate: str
    dropped: Ints
    feature_names: list[str] | None
    passes: int
    rounds: int
    bytes_read: int
    bytes_moved: int
    seconds: float
    peak_bytes: int
    loss: str
    l1_ratio: float
    standardize: bool
    tol: float
    solver: str
    complete: bool
    null_deviance: Any  # float, or float64 [q]
    imputation: Imputation | None = None
    prior: str = ""
    schedule: str = ""
    stages: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    history: NDArray[np.void] = field(default_factory=no_records)
    n_rows: int | None = None
    weight: float | None = None
    fit_intercept: bool | None = None
    again: Again = field(default_factory=Again, repr=False)
    resumed: int = 0
    ended: str = ""

    def __repr__(self) -> str:
        data = f"{'n' if self.n_rows is None else self.n_rows} x {self.outputs[0].shape[1]}"
        loss = self.loss if len(self.outputs) == 1 else f"{self.loss}, {len(self.outputs)} responses"
        active = sorted(set(np.ravel(self.n_active[-1]).tolist()))
        last = str(active[0]) if len(active) == 1 else f"{active[0]} to {active[-1]}"
        end = "complete" if self.complete else f"incomplete: {self.ended}" if self.ended else "incomplete"
        above = "" if self.converged.all() else f", {np.count_nonzero(~self.converged)} above tol={self.tol:g}"
        return (
            f"Path({loss}, {data}, {self.lambdas.size} lambdas {brief(self.lambdas[0])} to {brief(self.lambdas[-1])}, "
            f"{last} active at the last, largest gap {self.gap.max():.1e}{above}, {end})"
        )

    @property
    def outputs(self) -> tuple[sp.csr_array, ...]:
        """Coefficients of every response, also where it is one."""
        return self.coef if isinstance(self.coef, tuple) else (self.coef,)

    @property
    def n_active(self) -> Ints:
        """Nonzero coefficients at each lambda, int64 [k] ([k, q]); under multi-task, features with any."""
        counts = np.array([np.diff(coef.indptr) for coef in self.outputs], dtype=np.int64).T
        return counts if self.gap.ndim == 2 else np.max(counts, axis=1)

    def output(self, j: int) -> Path:
        """Return the path of response ``j`` alone.

        Raises
        ------
        InputError
            If there is no such response.
        """
        if not 0 <= j < len(self.outputs):
            raise InputError(f"there is no response {j}: the path has {len(self.outputs)}")
        if not isinstance(self.coef, tuple):
            return self
        alone = replace(self, coef=self.coef[j], intercept=self.intercept[:, j])
        if self.gap.ndim == 1:  # multi-task: what is proved is proved of all together, and so is what is explained
            return replace(alone, n_rows=None, weight=None)
        gap, converged, ratio = self.gap[:, j], self.converged[:, j], self.deviance_ratio[:, j]
        return replace(
            alone, gap=gap, converged=converged, deviance_ratio=ratio, null_deviance=float(self.null_deviance[j])
        )

    def at(self, lam: float) -> tuple[Floats, Any]:
        """Coefficients float64 [p] and intercept at ``lam``, linearly interpolated between grid points.

        For q responses they are [p, q] and [q].

        Raises
        ------
        InputError
            If ``lam`` is not a number in the range of the path.
        """
        lams = self.lambdas
        if not np.isfinite(lam) or not lams[-1] * (1 - _CLOSE) <= lam <= lams[0] * (1 + _CLOSE):
            raise InputError(f"lam={lam:g} is outside the path [{lams[-1]:g}, {lams[0]:g}]: refit with it in `lambdas`")
        right = min(int(np.searchsorted(-lams, -lam)), lams.size - 1)
        left = max(right - 1, 0)
        share = 1.0 if lams[left] == lams[right] else min(max((lams[left] - lam) / (lams[left] - lams[right]), 0.0), 1.0)
        ends = [coef[[left, right]].toarray() for coef in self.outputs]
        coef = np.array([(1.0 - share) * end[0] + share * end[1] for end in ends]).T
        level = (1.0 - share) * self.intercept[left] + share * self.intercept[right]
        return (coef, level) if isinstance(self.coef, tuple) else (coef[:, 0], float(level))

    def nearest(self, lam: float) -> int:
        """Index of the lambda of the path that is nearest to ``lam``, of equals the largest.

        Raises
        ------
        InputError
            If ``lam`` is not a number.
        """
        if not np.isfinite(lam):
            raise InputError(f"lam={lam} is not a number: no lambda of the path is near it")
        return int(np.argmin(np.abs(self.lambdas - lam)))

    def has(self, lam: float) -> bool:
        """Whether ``lam`` is a lambda of the path, to nine digits."""
        near = self.lambdas[self.nearest(lam)]
        return bool(abs(near - lam) <= _CLOSE * near)

    def predict(self, X: Any, *, lam: float | None = None, type: str = "link", exact: bool = False) -> Floats:
        """Predict rows; missing values become the means of the rows of the fit.

        In arrays that is what the fit's ``missing_value`` or NaN marks, in a Dataset what its own does. A model of data
        without missing values takes none. Where both the model and the rows have names of columns they must be the same.

        Parameters
        ----------
        X : array, sparse matrix, data frame or Dataset, n x p
            Rows to predict.
        lam : float, optional
            One lambda; by default all of the path. Between grid points coefficients are interpolated linearly, a guess that
            nothing certifies; a note says so.
        type : {"link", "response", "class"}
            Linear predictor; mean of the target (probability of class 1, expected count); class 0 or 1, for logistic loss.
        exact : bool
            Whether to fit the data of the path again between grid points, from the solutions beside ``lam``.

        Returns
        -------
        float64 [n] for one lambda, [n, k] for the whole path; [n, q] and [n, k, q] for q responses.
        """
        types = ("link", "response", "class") if self.loss == "logistic" else ("link", "response")
        if type not in types:
            raise InputError(f"type={type!r} is not known for {self.loss} loss: use one of {', '.join(types)}")
        check_names(X.feature_names if isinstance(X, Dataset) else column_names(X), self.feature_names)
        if lam is None:
            coef = np.stack([own.toarray().T for own in self.outputs], axis=2)  # [p, k, q]
            intercept = self.intercept.reshape(coef.shape[1:])
        else:
            one, intercept = self.at(lam)
            if not self.has(lam) and exact:
                one, intercept = self.again(lam, self).at(lam)
            elif not self.has(lam):
                note(f"lam={lam:g} is between grid points: coefficients are interpolated, exact=True fits them")
            coef = one.reshape(one.shape[0], 1, -1)
        eta = linear(X, np.ascontiguousarray(coef.reshape(coef.shape[0], -1)), self.imputation) + np.ravel(intercept)
        if isinstance(X, Dataset) and X.offset is not None:
            eta = eta + X.offset[:, None]
        eta = eta.reshape(-1, *coef.shape[1:])[:, slice(None) if lam is None else 0]
        eta = eta if isinstance(self.coef, tuple) else eta[..., 0]
        if type == "class":
            return np.asarray(eta > 0, dtype=np.float64)
        return eta if type == "link" else LOSSES[self.loss].mean(eta)

    def criterion(self, name: str = "bic", *, gamma: float = 1.0, variance: float | None = None) -> Floats:
        """An information criterion at every lambda, from what the fit has kept; smaller is better.

        The formulas, and what counts as n and as degrees of freedom, are in ``path/criteria.py``. With ``l1_ratio`` below 1
        the count of nonzero coefficients overstates the degrees of freedom; under a schedule it leaves out the search for
        the support.

        Parameters
        ----------
        name : {"aic", "bic", "ebic", "gcv"}
            Which. With more columns than rows use "ebic", or state the ``variance``: log RSS falls without end.
        gamma : float
            Of EBIC, in [0, 1]: how much more a model of a certain size costs where there are more such models.
        variance : float, optional
            Noise variance of squared loss; by default it is unknown, and estimated anew at each lambda.

        Returns
        -------
        float64 [k]; inf where there are as many parameters as rows.

        Raises
        ------
        InputError
            For Huber loss or ridge, several responses, or a model that does not know its number of rows.

        Examples
        --------
        >>> import numpy as np, distlasso as dl
        >>> X = np.random.default_rng(0).standard_normal((100, 5))
        >>> path = dl.fit_path(X, X @ [3.0, 0, 0, -2.0, 0] + X[::-1, 1])
        >>> path.n_active[path.select("bic")].item()
        2
        """
        if isinstance(self.coef, tuple):
            raise InputError(f"the path has {len(self.coef)} responses: take one of them, path.output(j).criterion(...)")
        if self.n_rows is None or self.weight is None or self.fit_intercept is None:
            raise InputError(
                "the path does not know how many rows were fitted: it was saved by an earlier version, or is one response of a "
                "multi-task fit; fit it again"
            )
        if self.l1_ratio == 0.0:
            raise InputError("l1_ratio=0 leaves no coefficient at zero, and nonzero coefficients count nothing: use cross_validate")
        if not self.null_deviance > 0:
            raise InputError("constant target: there is nothing to choose")
        mean_loss = self.null_deviance * (1.0 - self.deviance_ratio)
        columns = self.coef.shape[1] - self.dropped.size
        fits = Fits(self.loss, mean_loss, self.n_active, self.n_rows, self.weight, columns, self.fit_intercept)
        return criterion(fits, name, gamma=gamma, variance=variance)

    def select(self, name: str = "bic", *, gamma: float = 1.0, variance: float | None = None) -> int:
        """Index of the lambda with the smallest criterion, of equals the largest lambda; see ``criterion``."""
        values = self.criterion(name, gamma=gamma, variance=variance)
        if np.isinf(values).all():
            raise InputError(f"every model of the path has as many parameters as the {self.n_rows} rows: fit larger lambdas")
        return int(np.argmin(values))

    def save(self, directory: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the path to a directory, atomically: it has its final name only when it is whole.

        Raises
        ------
        StoreError
            If the directory exists and ``overwrite`` is false, or cannot be written.
        """
        write_model(directory, *self.stored(), overwrite=overwrite)

    def stored(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The path as plain values and as arrays; ``restored`` makes a path of them."""
        coef = sp.csr_array(sp.vstack(self.outputs, format="csr"))
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {"coef_data": coef.data, "coef_indices": coef.indices, "coef_indptr": coef.indptr}
        if self.imputation is not None:
            arrays["fill"] = self.imputation.fill
        values = {name: getattr(self, name) for name in (*_SCALARS, *_LATER, "resumed", "ended")}
        values |= {"shape": list(coef.shape), "feature_names": self.feature_names}
        values["null_deviance"] = np.asarray(self.null_deviance).tolist()
        values["outputs"] = len(self.outputs) if isinstance(self.coef, tuple) else None
        values["missing_value"] = None if self.imputation is None else spelled(self.imputation.code)
        return values, arrays

    def summary(self) -> dict[str, Any]:
        """Sizes, costs and the worst gap, as plain values."""
        return {
            "lambdas": int(self.lambdas.size), "lambda_max": float(self.lambdas[0]), "lambda_min": float(self.lambdas[-1]),
            "active": self.n_active[-1].tolist(), "deviance_ratio": self.deviance_ratio[-1].tolist(),
            "largest_gap": float(self.gap.max()), "converged": bool(self.converged.all()), "complete": self.complete,
            "certificate": self.certificate,
            "dropped": int(self.dropped.size), "passes": self.passes, "rounds": self.rounds, "resumed": self.resumed,
            "bytes_read": self.bytes_read, "bytes_moved": self.bytes_moved,
            "seconds": self.seconds, "peak_bytes": self.peak_bytes, "solver": self.solver,
        }  # fmt: skip

    def plot(self, file: str | os.PathLike[str] | None = None) -> Any:
        """Draw coefficients against lambda; return the matplotlib figure, saved to ``file`` if given.

        Of several responses, one: ``path.output(j).plot()``.
        """
        if isinstance(self.coef, tuple):
            raise InputError(f"the path has {len(self.coef)} responses: plot one of them, path.output(j).plot()")
        from distlasso.plots import plot_path

        return plot_path(self, file)

    def report(self, file: str | os.PathLike[str], *, lam: float | None = None, overwrite: bool = False) -> None:
        """Write a report, one HTML file that needs nothing else; it lists the model of ``lam``, by default the last.

        Raises
        ------
        InputError
            If ``lam`` is not a positive number.
        StoreError
            If the file exists and ``overwrite`` is false, or cannot be written.
        """
        from distlasso.report.page import write_report

        write_report(file, self, title=os.path.splitext(os.path.basename(file))[0], lam=lam, overwrite=overwrite)


_CLOSE = 1e-9  # relative distance at which two lambdas are the same

_ARRAYS = ("lambdas", "intercept", "gap", "deviance_ratio", "converged", "dropped", "stages", "history")
_SCALARS = (
    "certificate", "passes", "rounds", "bytes_read", "bytes_moved", "seconds", "peak_bytes", "loss", "l1_ratio",
    "standardize", "tol", "solver", "complete", "null_deviance", "prior", "schedule",
)  # fmt: skip
_LATER = ("n_rows", "weight", "fit_intercept")  # which models of earlier versions do not have


def restored(values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Path:
    """The path that was stored as these values and arrays.

    Raises
    ------
    KeyError, ValueError
        If they are not those of a path.
    """
    check_path(values, arrays)
    parts = (arrays["coef_data"], arrays["coef_indices"], arrays["coef_indptr"])
    coef: Any = sp.csr_array(parts, shape=values["shape"])
    code = values.get("missing_value")
    imputation = None if code is None else Imputation(float("nan") if code == "NaN" else code, arrays["fill"])
    scalars: dict[str, Any] = {name: values[name] for name in _SCALARS}
    scalars |= {name: values.get(name) for name in _LATER}
    scalars |= {"resumed": values.get("resumed", 0), "ended": values.get("ended", "")}
    outputs = values.get("outputs")
    if outputs is not None:
        length = coef.shape[0] // outputs
        coef = tuple(sp.csr_array(coef[j * length : (j + 1) * length]) for j in range(outputs))
    if isinstance(scalars["null_deviance"], list):
        scalars["null_deviance"] = np.array(scalars["null_deviance"])
    scalars |= {name: arrays[name] for name in _ARRAYS}
    return Path(coef=coef, feature_names=values["feature_names"], imputation=imputation, **scalars)
