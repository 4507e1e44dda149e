"""``init=``: what a user gives a fit to begin with, as one start a response.

Read next: ``../coordinator/start.py`` (what is done with it).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from distlasso.coordinator.start import Start
from distlasso.errors import InputError
from distlasso.path.result import Path


def starts(init: Any, columns: int, outputs: int) -> list[Start | None]:
    """The start of every response; None where there is none.

    Raises
    ------
    InputError
        If ``init`` is neither a path nor coefficients, or does not fit the data.
    """
    if init is None:
        return [None] * outputs
    init = getattr(init, "path", init)  # of a cross-validation
    if isinstance(init, Path):
        if len(init.outputs) != outputs:
            raise InputError(f"init is a path of {len(init.outputs)} responses, and y has {outputs}: take path.output(j)")
        of = [init.output(j) for j in range(outputs)]
        return [_start(one.lambdas, one.coef, one.intercept, columns) for one in of]
    if outputs != 1:
        raise InputError(f"y has {outputs} responses: give a path of as many as init")
    try:
        coef = sp.csr_array(np.atleast_2d(init.toarray() if sp.issparse(init) else np.asarray(init, dtype=np.float64)))
    except (TypeError, ValueError) as error:
        raise InputError(f"init={type(init).__name__} is neither a Path nor coefficients [p]") from error
    if coef.shape[0] != 1:
        raise InputError(f"init has shape {coef.shape}, expected coefficients [{columns}] or a Path")
    return [_start(np.ones(1), coef, None, columns)]


def _start(lambdas: Any, coef: sp.csr_array, intercept: Any, columns: int) -> Start:
    if coef.shape[1] != columns:
        raise InputError(f"init has {coef.shape[1]} coefficients, and X has {columns} columns: give one a column")
    level = None if intercept is None else np.asarray(intercept, dtype=np.float64)
    if not np.isfinite(coef.data).all() or not (level is None or np.isfinite(level).all()):
        raise InputError("init has coefficients that are NaN or infinite")
    return Start(np.asarray(lambdas, dtype=np.float64), coef, level)
