"""What sources are asked for and what they give: options of an ingest, and batches of rows.

Read next: ``sources.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.data.missing import Code, checked
from distlasso.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive rows."""

    X: Any  # dense [n, p] in C order, or csr_array of float64
    y: Floats | None
    weight: Floats | None
    offset: Floats | None
    fold: Floats | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of ``ingest`` wants of a source."""

    target: Any = None
    weight: Any = None
    offset: Any = None
    fold: Any = None
    one_hot: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    dtype: Any = None
    missing: str = "error"
    missing_value: Code | None = None

    def check_sparse(self, what: str) -> None:
        """Refuse a dtype that was asked for in vain: sparse values are stored as float64."""
        if self.dtype is not None and self.dtype != np.float64:
            raise InputError(f"dtype={self.dtype.name} is for dense values, but {what}, stored as float64: leave dtype out")

    def stored_code(self, dtype: np.dtype[Any]) -> Code | None:
        """Value that marks the missing ones among stored values of a dtype; None where none may be missing."""
        if self.missing != "keep":
            return None
        if dtype.kind == "f":
            return float("nan")
        if self.missing_value is None:
            raise InputError(f"missing='keep' with {dtype.name} values needs missing_value: say which of them means missing")
        return checked(self.missing_value, dtype)
