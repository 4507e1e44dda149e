"""What the rows say at one model: linear predictor and curvature of the loss, for inference about its coefficients.

Read next: ``debias.py`` and ``wald.py``, which ask.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso.held_out import Eta
from distlasso.path.opened import Opened
from distlasso.queries import Models

Floats = NDArray[np.float64]

# Second derivative in eta of a negative log-likelihood, from the mean: exact, where ``Loss.curvature`` may stand in.
CURVATURE: dict[str, Callable[[Floats], Floats]] = {
    "squared": np.ones_like,
    "logistic": lambda mean: mean * (1.0 - mean),
    "poisson": lambda mean: mean,
}


def predictor(data: Opened, coef: sp.csr_array, intercept: float) -> Floats:
    """Linear predictor of the rows of row space 0 under coefficients [1, p], [n]; one pass. Rows of weight 0 are not asked."""
    rows, exchange = data.rows[0], data.exchange
    own = np.sort(coef.indices).astype(np.int64)
    b = coef.toarray()[0][own]
    models = Models(own, np.ascontiguousarray(b[:, None]), np.zeros(1))
    part = exchange.ask(Eta(), models)
    eta = np.full(rows.y.size, intercept) if rows.offset is None else intercept + rows.offset
    eta[rows.weight > 0] += part[:, 0] + (0.0 if exchange.shift is None else exchange.shift[own] @ b)
    return eta


def curvature(data: Opened, eta: Floats) -> Floats:
    """Weight times curvature of every row of row space 0, [n]."""
    loss = data.options.loss
    return np.asarray(data.rows[0].weight * CURVATURE[loss.name](loss.mean(eta)))
