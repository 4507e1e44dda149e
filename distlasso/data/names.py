"""Names of columns: where data frames keep them, and whether those of new data are those of a model.

Read next: ``dataset.py``, which holds them; ``../path/result.py``, which compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from distlasso.errors import InputError


def column_names(X: Any) -> list[str] | None:
    """Names of the columns of a data frame, by its protocol; None where there are none, or some are not text."""
    if not hasattr(X, "columns") or not hasattr(X, "to_numpy") or not hasattr(X, "dtypes"):
        return None
    names = list(X.columns)
    return [str(name) for name in names] if all(isinstance(name, str) for name in names) else None


def check_names(given: Sequence[str] | None, expected: Sequence[str] | None) -> None:
    """Refuse data whose columns are not those of a model, in their order; who has no names is believed.

    Raises
    ------
    InputError
        With the first column that differs.
    """
    if given is None or expected is None or list(given) == list(expected):
        return
    pairs = enumerate(zip_longest(given, expected))
    place, (have, want) = next((j, pair) for j, pair in pairs if pair[0] != pair[1])
    found = f"ends before column {place}" if have is None else f"has {have!r} as column {place}"
    wanted = f"has only {len(expected)} columns" if want is None else f"expects {want!r} there"
    which = "the same columns" if sorted(given) == sorted(expected) else "the columns it was fitted on,"
    raise InputError(f"the data {found}, the model {wanted}: give it {which} in the order of its feature_names")
