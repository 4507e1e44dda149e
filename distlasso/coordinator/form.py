"""Which form the restricted problem takes, decided from the shape of the data and the stated memory alone.

- *full Gram*: p up to some thousands and rows at least as many: one pass answers every lambda.
- *residual*: the strong columns themselves fit on the coordinator: rows are few, or the data is sparse.

Read next: ``solvers/quadratic.py`` (the forms), ``drive.py`` (who fills them).
"""

from __future__ import annotations

from dataclasses import dataclass

FULL_GRAM_COLUMNS = 4096


@dataclass(frozen=True, slots=True)
class Form:
    """A decision and its reason."""

    kind: str  # "gram" or "residual"
    reason: str


def choose(n: int, p: int, *, sparse: bool, nnz: int) -> Form:
    """Choose the form for n rows, p columns and nnz stored entries."""
    if p <= FULL_GRAM_COLUMNS and n >= p and (not sparse or p <= 1024 or nnz >= 16 * p * p):
        return Form("gram", f"full Gram of all {p} columns, once, because p <= {FULL_GRAM_COLUMNS} and n >= p")
    if sparse:
        return Form("residual", "residual form on the strong columns as CSC, because the data is sparse")
    return Form("residual", f"residual form on the strong columns, because n = {n} rows fit beside them")
