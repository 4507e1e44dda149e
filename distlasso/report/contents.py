"""What a report says of a model, as plain values for the page: nothing here knows HTML.

Read next: ``page.py``, ``../path/result.py``.
"""

from __future__ import annotations

import math
import platform
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import distlasso
from distlasso.errors import InputError

if TYPE_CHECKING:
    from distlasso.path.cross_validation import CrossValidation
    from distlasso.path.result import Path

Values = dict[str, Any]

_LINES = 200  # coefficients that are drawn; of more, the largest
_ROWS = 5000  # of a table
_OUTPUTS = 20
_DIGITS = 8


def contents(path: Path, cv: CrossValidation | None, title: str, lam: float | None) -> Values:
    """Everything that the page shows.

    Parameters
    ----------
    path : Path
        What was fitted.
    cv : CrossValidation, optional
        How one of its solutions was chosen.
    title : str
        Name of the model.
    lam : float, optional
        Whose model the table shows, the nearest of the path; by default the chosen one, or the last.
    """
    k = chosen(path, cv, lam)
    count = min(len(path.outputs), _OUTPUTS)
    outputs = [_output(path.output(j), k) for j in range(count)]
    return {
        "title": title, "facts": _facts(path, cv), "certificate": _certificate(path), "outputs": outputs,
        "more_outputs": len(path.outputs) - count, "chosen": {"index": k, "why": _why(path, cv, lam, k)},
        "scores": None if cv is None else _scores(cv), "history": _history(path), "cost": _cost(path),
        "again": {"python": _python(path, cv), "command": _command(path, cv), "missing": _MISSING},
        "versions": f"distlasso {distlasso.__version__}, numpy {np.__version__}, Python {platform.python_version()}",
    }  # fmt: skip


def chosen(path: Path, cv: CrossValidation | None, lam: float | None) -> int:
    """Index of the lambda whose model is shown.

    Raises
    ------
    InputError
        If ``lam`` is not a positive number.
    """
    if lam is not None:
        if not (math.isfinite(lam) and lam > 0):
            raise InputError(f"lambda {lam:g} is not a positive number")
        return int(np.argmin(np.abs(np.log(path.lambdas) - math.log(lam))))
    return cv.best if cv is not None else path.lambdas.size - 1


def names_of(path: Path, columns: NDArray[Any]) -> list[str]:
    """Names of some columns."""
    return [path.feature_names[j] if path.feature_names else f"column {j}" for j in columns.tolist()]


def _output(path: Path, k: int) -> Values:
    """Path and chosen model of one response."""
    coef = path.coef.tocsc()
    largest = np.zeros(coef.shape[1])
    used = np.unique(path.coef.indices)
    largest[used] = [float(np.abs(coef.data[coef.indptr[j] : coef.indptr[j + 1]]).max(initial=0.0)) for j in used]
    drawn = used[np.argsort(-largest[used], kind="stable")][:_LINES]
    values = coef[:, drawn].toarray()
    return {
        "lambdas": _short(path.lambdas), "active": path.n_active.tolist(), "gap": _short(path.gap),
        "explained": _short(path.deviance_ratio),
        "lines": [{"name": name, "values": _short(column)} for name, column in zip(names_of(path, drawn), values.T, strict=True)],
        "hidden": int(used.size - drawn.size), "table": _table(path, k), "rows": int(path.n_active[k]),
        "intercept": float(path.intercept[k]),
    }  # fmt: skip


def _table(path: Path, k: int) -> list[list[Any]]:
    """Name, coefficient, and the lambda at which it came in, of the chosen model; the largest first."""
    row = path.coef[[k]]
    order = np.argsort(-np.abs(row.data), kind="stable")[:_ROWS]
    columns = row.indices[order]
    coef = path.coef.tocsc()
    first = [int(coef.indices[coef.indptr[j] : coef.indptr[j + 1]].min()) for j in columns]
    return [
        [name, value, lam]
        for name, value, lam in zip(names_of(path, columns), _short(row.data[order]), _short(path.lambdas[first]), strict=True)
    ]


def _facts(path: Path, cv: CrossValidation | None) -> list[list[str]]:
    """What was fitted, as pairs of words."""
    several = len(path.outputs)
    facts = [
        ["loss", path.loss], ["columns", f"{path.outputs[0].shape[1]:,}"], ["constant columns, left out", f"{path.dropped.size:,}"],
        ["lambdas", f"{path.lambdas.size:,}, from {path.lambdas[0]:.6g} to {path.lambdas[-1]:.6g}"],
        ["l1_ratio", f"{path.l1_ratio:g}"], ["standardised", "yes" if path.standardize else "no"], ["solver", path.solver],
    ]  # fmt: skip
    if path.n_rows is not None:
        weighted = "" if path.weight == path.n_rows else f", of total weight {path.weight:,.6g}"
        facts.insert(1, ["rows", f"{path.n_rows:,}{weighted}"])
    if several > 1:
        facts.insert(1, ["responses", f"{several:,}"])
    facts += [[name, value] for name, value in (("prior", path.prior), ("schedule", path.schedule)) if value]
    if path.imputation is not None:
        facts.append(["missing values", "counted as the mean of their column"])
    if not path.complete:
        facts.append(["ended early", "at a limit or an interruption: this is the certified prefix of what was asked for"])
    if cv is not None:
        facts.append(["chosen by", f"{cv.scores.shape[1]}-fold cross-validation of {cv.score}, rule {cv.rule}, among "
                                   f"{len(cv.candidates)} candidate{'s' if len(cv.candidates) > 1 else ''}"])  # fmt: skip
    return facts


def _certificate(path: Path) -> Values:
    """What is proved."""
    return {
        "largest": float(np.max(path.gap)), "tol": path.tol, "from": path.certificate,
        "proved": int(np.count_nonzero(path.converged)), "of": int(np.size(path.converged)),
    }  # fmt: skip


def _why(path: Path, cv: CrossValidation | None, lam: float | None, k: int) -> str:
    """Why this model is shown."""
    here = f"lambda {path.lambdas[k]:.6g}"
    if lam is not None:
        return f"{here}, the nearest to {lam:g}"
    return f"{here}, chosen by rule {cv.rule}" if cv is not None else f"{here}, the last of the path"


def _scores(cv: CrossValidation) -> Values:
    """Held-out scores of the chosen candidate."""
    return {
        "name": cv.score, "lambdas": _short(cv.lambdas), "mean": _short(cv.mean), "se": _short(cv.se),
        "min": cv.best_min, "one_se": cv.best_1se, "folds": int(cv.scores.shape[1]),
    }  # fmt: skip


def _history(path: Path) -> Values:
    """What the schedule did, as rows of lambda, stage, feature, event and reason."""
    records = path.history[path.history["stage"] > 0] if path.schedule else path.history[:0]
    shown = records[:_ROWS]
    names = names_of(path, shown["feature"])
    lambdas = [_short(path.lambdas[[k]])[0] if k >= 0 else None for k in shown["lambda"].tolist()]
    rows = [
        [lam, int(one["stage"]), name, str(one["event"]), str(one["why"])]
        for lam, name, one in zip(lambdas, names, shown, strict=True)
    ]
    return {"rows": rows, "count": int(records.size)}


def _cost(path: Path) -> list[list[str]]:
    """What the fit took."""
    return [
        ["passes over the data", f"{path.passes:,}"], ["rounds", f"{path.rounds:,}"],
        ["blocks read", _bytes(path.bytes_read)], ["moved to and from bundles", _bytes(path.bytes_moved)],
        ["wall time", f"{path.seconds:,.2f} s"], ["peak memory of the coordinator", _bytes(path.peak_bytes)],
    ]  # fmt: skip


_MISSING = (
    "A model does not know where its data is, nor its penalty factors, bounds, weights and folds: where they were given, "
    "give them again."
)


def _python(path: Path, cv: CrossValidation | None) -> str:
    """The call that made the path, as far as the model knows it."""
    options = _options(path, cv)
    if path.schedule:
        options["schedule"] = f"dl.{path.schedule}" if path.schedule[:1].isupper() else "..."
    if cv is not None:
        options |= {"folds": str(cv.scores.shape[1]), "score": repr(cv.score), "rule": repr(cv.rule)}
        options |= {} if cv.max_features is None else {"max_features": str(cv.max_features)}
    call = "fit_path" if cv is None else "cross_validate"
    text = ", ".join(f"{name}={value}" for name, value in options.items())
    return f'import distlasso as dl\n\nfitted = dl.{call}(dl.open_dataset("DATA.zarr"), {text})'


def _options(path: Path, cv: CrossValidation | None) -> dict[str, str]:
    options = {"loss": repr(path.loss), "l1_ratio": f"{path.l1_ratio:g}", "standardize": str(path.standardize)}
    if path.fit_intercept is not None:
        options["fit_intercept"] = str(path.fit_intercept)
    if path.lambdas.size > 1:
        options |= {"n_lambdas": str(path.lambdas.size), "lambda_min_ratio": f"{path.lambdas[-1] / path.lambdas[0]:.6g}"}
    else:
        options["lambdas"] = f"[{path.lambdas[0]:.17g}]"
    return options | {"tol": f"{path.tol:g}"}


def _command(path: Path, cv: CrossValidation | None) -> str:
    """The same on the command line; empty where that cannot say it."""
    if path.prior or path.schedule or path.loss not in ("squared", "logistic", "poisson", "huber"):
        return ""
    parts = [f"distlasso {'fit' if cv is None else 'cv'} DATA.zarr --out MODEL --loss {path.loss} --l1-ratio {path.l1_ratio:g}"]
    parts += ["" if path.standardize else "--no-standardize", "--no-intercept" if path.fit_intercept is False else ""]
    if path.lambdas.size > 1:
        parts.append(f"--n-lambdas {path.lambdas.size} --lambda-min-ratio {path.lambdas[-1] / path.lambdas[0]:.6g}")
    else:
        parts.append(f"--lambdas {path.lambdas[0]:.17g}")
    parts.append(f"--tol {path.tol:g}")
    if cv is not None:
        parts.append(f"--folds {cv.scores.shape[1]} --score {cv.score} --rule {cv.rule}")
    return " ".join(part for part in parts if part)


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _short(values: Any) -> list[Any]:
    """Numbers to the digits that a reader can use; what is not finite becomes None, as JSON has no name for it."""
    return [float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None for value in np.asarray(values).tolist()]
