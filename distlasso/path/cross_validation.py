"""``CrossValidation``: what folds say of every model of a path, and the model that was chosen.

Saved beside the chosen path, as plain arrays and one JSON manifest. Read next: ``selection.py``, which makes it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.path.model_store import write_model
from distlasso.path.result import Path
from distlasso.path.shown import brief, with_error
from distlasso.path.sound import check_selection

Floats = NDArray[np.float64]

_OF_PATHS = ("active", "deviance_ratio", "lambda_max", "lambda_min")  # parts of a path's summary that mean its ends


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One ``l1_ratio`` under one schedule.

    Attributes
    ----------
    path : Path
        The fit to all rows.
    scores : float64 [k, folds]
        Held-out score of every model and fold.
    mean, se : float64 [k]
        Over folds, weighted by held-out size, and the standard error of that mean; NaN for one fold.
    fold_gaps : float64 [k, folds]
        Duality gaps of the fits to the folds' training rows.
    fold_coef : tuple of csr_array [k, p]
        Their coefficients, one array a fold; not saved.
    fold_intercept : float64 [k, folds]
        Their intercepts; not saved.
    """

    path: Path
    scores: Floats
    mean: Floats
    se: Floats
    fold_gaps: Floats
    fold_coef: tuple[sp.csr_array, ...] = ()
    fold_intercept: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def __repr__(self) -> str:
        under = f", {self.path.schedule}" if self.path.schedule else ""
        return f"Candidate(l1_ratio {self.path.l1_ratio:g}{under}, {self.scores.shape[1]} folds, {self.path!r})"


@final
@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """Candidates, each a path with its held-out scores, and the choice among them.

    Attributes
    ----------
    candidates : tuple of Candidate
        One for each ``l1_ratio`` and schedule, in the order given.
    winner : int
        The chosen candidate.
    best : int
        Index of the chosen lambda on its path.
    best_min, best_1se : int
        What either rule chooses on that path; the same where there is no standard error.
    rule, score : str
        How it was chosen.
    max_features : int or None
        Cap on the features of what could be chosen.
    """

    candidates: tuple[Candidate, ...]
    winner: int
    best: int
    best_min: int
    best_1se: int
    rule: str
    score: str
    max_features: int | None = None

    def __repr__(self) -> str:
        k, count = self.best, len(self.candidates)
        among = "" if count == 1 else f" among {count} candidates: l1_ratio {self.l1_ratio:g}, schedule {self.schedule or 'none'}"
        cap = "" if self.max_features is None else f", at most {self.max_features} features"
        return (
            f"CrossValidation({self.scores.shape[1]} fold(s), rule {self.rule!r} on {self.score!r}{cap})\n"
            f"  chosen{among}: lambda {brief(self.lambda_)}, {self.score} {with_error(self.mean[k], self.se[k])}, "
            f"{self.path.n_active[k]} active\n"
            f"  lambda_min {brief(self.lambda_min)}, lambda_1se {brief(self.lambda_1se)}\n"
            f"  {self.path!r}"
        )

    @property
    def chosen(self) -> Candidate:
        """The candidate of the chosen model."""
        return self.candidates[self.winner]

    @property
    def path(self) -> Path:
        """The chosen candidate's path on all rows; its passes and seconds are those of the whole cross-validation."""
        return self.chosen.path

    @property
    def lambdas(self) -> Floats:
        """Lambdas of the chosen candidate, [k]."""
        return self.path.lambdas

    @property
    def scores(self) -> Floats:
        """Held-out scores of the chosen candidate, [k, folds]."""
        return self.chosen.scores

    @property
    def mean(self) -> Floats:
        """Mean over folds, weighted by held-out size, [k]."""
        return self.chosen.mean

    @property
    def se(self) -> Floats:
        """Standard error of the mean, [k]."""
        return self.chosen.se

    @property
    def n_active(self) -> NDArray[np.int64]:
        """Nonzero coefficients at each lambda, of the fit to all rows, [k]; those of the chosen model are ``n_active[best]``."""
        return self.path.n_active

    @property
    def lambda_min(self) -> float:
        """Lambda of the best mean score, of equals the largest."""
        return float(self.lambdas[self.best_min])

    @property
    def lambda_1se(self) -> float:
        """Largest lambda within one standard error of it."""
        return float(self.lambdas[self.best_1se])

    @property
    def lambda_(self) -> float:
        """The chosen lambda."""
        return float(self.lambdas[self.best])

    @property
    def l1_ratio(self) -> float:
        """The chosen mixing."""
        return self.path.l1_ratio

    @property
    def schedule(self) -> str:
        """The chosen schedule; empty if there is none."""
        return self.path.schedule

    @property
    def coef(self) -> Floats:
        """Coefficients of the chosen model, fitted to all rows, [p]."""
        return np.asarray(self.sparse_coef.toarray()[0])

    @property
    def sparse_coef(self) -> sp.csr_array:
        """The same, csr_array [1, p]."""
        return self.path.coef[[self.best]]

    @property
    def intercept(self) -> float:
        """Intercept of the chosen model."""
        return float(self.path.intercept[self.best])

    def predict(self, X: Any, *, lam: float | None = None, type: str = "link") -> Floats:
        """Predict rows by the chosen model, or by another lambda of its path, [n]; see ``Path.predict``."""
        return self.path.predict(X, lam=self.lambda_ if lam is None else lam, type=type)

    def save(self, directory: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the chosen path with its scores to a directory, atomically; ``load`` reads it.

        Of the other candidates the scores are kept, not the paths.

        Raises
        ------
        StoreError
            If the directory exists and ``overwrite`` is false, or cannot be written.
        """
        write_model(directory, *self.path.stored(), selection=self._selection(), overwrite=overwrite)

    @classmethod
    def restored(cls, path: Path, selection: Mapping[str, Any]) -> CrossValidation:
        """The chosen candidate, as ``save`` wrote it.

        Raises
        ------
        KeyError, ValueError
            If the selection is not that of a cross-validation.
        """
        check_selection(selection, path.lambdas.size)
        names = ("scores", "mean", "se", "fold_gaps")
        table: dict[str, Any] = {name: np.array(selection[name], dtype=np.float64) for name in names}
        rest = {name: selection[name] for name in ("best", "best_min", "best_1se", "rule", "score", "max_features")}
        return cls(candidates=(Candidate(path, **table),), winner=0, **rest)

    def _selection(self) -> dict[str, Any]:
        """Scores and choice as plain values."""
        names = ("rule", "score", "max_features", "best", "best_min", "best_1se")
        chosen = {name: getattr(self, name) for name in names}
        chosen |= {name: getattr(self.chosen, name).tolist() for name in ("mean", "scores", "fold_gaps")}
        chosen["se"] = [None if np.isnan(error) else error for error in self.se.tolist()]
        others = [{"l1_ratio": one.path.l1_ratio, "schedule": one.path.schedule, "lambdas": one.path.lambdas.tolist(),
                   "mean": one.mean.tolist()} for one in self.candidates]  # fmt: skip
        return chosen | {"candidates": others}

    def summary(self) -> dict[str, Any]:
        """The choice, and what it cost."""
        k = self.best
        error = float(self.se[k])
        return {
            "rule": self.rule, "score": self.score, "folds": int(self.scores.shape[1]), "candidates": len(self.candidates),
            "lambda": self.lambda_, "lambda_min": self.lambda_min, "lambda_1se": self.lambda_1se,
            "l1_ratio": self.l1_ratio, "schedule": self.schedule, "active": int(self.path.n_active[k]),
            "deviance_ratio": float(self.path.deviance_ratio[k]),
            "mean_score": float(self.mean[k]), "se_score": None if np.isnan(error) else error,
        } | {name: value for name, value in self.path.summary().items() if name not in _OF_PATHS}  # fmt: skip

    def plot(self, file: str | os.PathLike[str] | None = None) -> Any:
        """Draw scores against lambda; return the matplotlib figure, saved to ``file`` if given."""
        from distlasso.plots import plot_scores

        return plot_scores(self, file)

    def report(self, file: str | os.PathLike[str], *, lam: float | None = None, overwrite: bool = False) -> None:
        """Write a report of the chosen path, its scores and its model; see ``Path.report``."""
        from distlasso.report.page import write_report

        title = os.path.splitext(os.path.basename(file))[0]
        write_report(file, self.path, self, title=title, lam=lam, overwrite=overwrite)
