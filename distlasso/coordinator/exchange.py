"""Asking the runtime: sends requests, counts passes and rounds, announces what was swept.

The only door between the coordinator and the data. Read next: ``problem.py`` (who asks), ``../runtime/local.py`` (who
answers).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.data.missing import Imputation
from distlasso.events import Listener, PassFinished
from distlasso.losses import Loss
from distlasso.queries import Models, Query, Request
from distlasso.runtime.local import Runtime

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Exchange:
    """Asks requests and counts what they cost."""

    runtime: Runtime
    loss: Loss
    shift: Floats | None
    listener: Listener
    passes: int = 0
    rounds: int = 0
    imputation: Imputation | None = None

    def ask(
        self, query: Query, models: Models | None = None, derivative: Floats | None = None, *, sweep: bool = True
    ) -> Any:
        """Ask one query of all bundles; ``sweep`` says whether all columns are visited."""
        (answer,) = self.ask_all((query,), models, derivative=derivative, sweep=sweep)
        return answer

    def ask_all(
        self, queries: Sequence[Query], models: Models | None = None, *, columns: Ints | None = None,
        derivative: Floats | None = None, told: Floats | None = None, sweep: bool = True,
    ) -> list[Any]:  # fmt: skip
        """Ask several queries in one exchange, about all columns or about some; ``told`` has a part for each bundle."""
        started = time.perf_counter()
        shift, imputation = self.shift, self.imputation
        if columns is not None:
            shift = None if shift is None else shift[columns]
            imputation = None if imputation is None else imputation.take(columns)
        request = Request(tuple(queries), models, self.loss, shift, columns, imputation, told)
        answers = self.runtime.run(request, derivative)
        self.rounds += 1
        if sweep and columns is None:
            self.passes += 1
            width = models.coef.shape[1] if models is not None else 0
            seconds = time.perf_counter() - started
            self.listener(PassFinished(self.passes, width, self.runtime.bytes_read(), seconds))
        return answers
