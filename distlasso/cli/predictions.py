"""Predictions as a file: ``.npy``, or ``.csv`` with a column for every lambda.

Read next: ``models.py``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distlasso.errors import InputError, StoreError
from distlasso.whole import whole_file

_ROWS = 10_000  # of text made at once


def check_suffix(out: str) -> None:
    """Refuse a name that says neither form."""
    if Path(out).suffix not in (".npy", ".csv"):
        raise InputError(f"--out {out}: predictions are written as .npy or .csv")


def write_predictions(out: str, predictions: NDArray[np.float64], lambdas: Sequence[float] | None) -> None:
    """Write predictions [n], or [n, k] at the lambdas of a path; numbers in text are those that were predicted, to the bit.

    Raises
    ------
    InputError
        For a table of several responses.
    StoreError
        If the file cannot be written.
    """
    try:
        if Path(out).suffix == ".npy":
            with whole_file(Path(out)) as wip, wip.open("wb") as file:
                np.save(file, predictions, allow_pickle=False)
        else:
            _write_table(out, predictions, lambdas)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror or error}") from error


def _write_table(out: str, predictions: NDArray[np.float64], lambdas: Sequence[float] | None) -> None:
    if predictions.ndim != (1 if lambdas is None else 2):
        raise InputError(f"--out {out}: predictions of several responses are written as .npy")
    header = ["prediction"] if lambdas is None else [f"lambda={lam!r}" for lam in lambdas]
    rows = predictions.reshape(-1, len(header))
    with whole_file(Path(out)) as wip, wip.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for first in range(0, len(rows), _ROWS):
            writer.writerows(rows[first : first + _ROWS].tolist())
