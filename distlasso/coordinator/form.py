"""Which form the restricted problem takes, decided from the shape of the data and the stated memory alone.

- *full Gram*: p up to some thousands and rows at least as many: one pass answers every lambda.
- *residual*: the strong columns themselves fit on the coordinator: rows are few, or the data is sparse.
- *blocks*: neither fits into the stated memory: blocks of the strong set, each with its own Gram.

Read next: ``solvers/quadratic.py`` (the forms), ``drive.py`` (who fills them).
"""

from __future__ import annotations

from dataclasses import dataclass

FULL_GRAM_COLUMNS = 4096
_UNION = 2048
_PER_REFIT = 16


@dataclass(frozen=True, slots=True)
class Blocks:
    """Sizes of the block form, planned from the stated memory."""

    width: int  # columns of a block
    held: int  # Grams that may be kept
    batch: int  # lambdas solved together


@dataclass(frozen=True, slots=True)
class Form:
    """A decision and its reason."""

    kind: str  # "gram", "residual" or "blocks"
    what: str
    because: str
    blocks: Blocks | None = None

    @property
    def reason(self) -> str:
        """What was decided, and why."""
        return f"{self.what}, because {self.because}"


def choose(n: int, p: int, *, sparse: bool, nnz: int) -> Form:
    """Choose the form for n rows, p columns and nnz stored entries."""
    if p <= FULL_GRAM_COLUMNS and n >= p and (not sparse or p <= 1024 or nnz >= 16 * p * p):
        return Form("gram", f"full Gram of all {p} columns, once", f"p <= {FULL_GRAM_COLUMNS} and n >= p")
    if sparse:
        return Form("residual", "residual form on the strong columns as CSC", "the data is sparse")
    return Form("residual", "residual form on the strong columns", f"n = {n} rows fit beside them")


def takes_union(columns: int, refits: int) -> bool:
    """Whether refits on frozen supports take one Gram of all columns that appear in any of them.

    It costs as much as going through these columns once for each of them, and a refit goes through its own a few dozen
    times; beyond the limit there is no room for it beside those of other folds.
    """
    return columns <= min(_UNION, _PER_REFIT * refits)
