"""Bytes that requests and answers carry, counted as if every bundle were on a node of its own.

So the figure does not depend on the runtime or the number of workers; whoever merges answers before they travel sends
less. Read next: ``local.py``.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from distlasso.queries import Ask

_NUMBER = 8


def asked(ask: Ask, bundles: int) -> int:
    """Bytes of a request: the same to every bundle, but for what each is told apart."""
    apart = carried(ask.request.told) + carried(ask.derivative)
    return bundles * carried(replace(ask.request, told=None)) + apart


def carried(value: Any) -> int:
    """Bytes of all numbers within a value: arrays, sparse matrices, and records of them."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, int | float):
        return _NUMBER
    if sp.issparse(value):
        return int(value.data.nbytes + value.indices.nbytes + value.indptr.nbytes)
    if isinstance(value, list | tuple):
        return sum(carried(part) for part in value)
    if is_dataclass(value):
        return sum(carried(getattr(value, field.name)) for field in fields(value))
    return 0
