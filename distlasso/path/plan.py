"""What a fit will cost, from the shape of the data alone, before it starts: form, passes and memory.

The memory is an upper bound on what the coordinator holds beside the data, term by term; ``inspect`` prints it and a fit
announces it. Read next: ``coordinator/form.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distlasso.coordinator.active_set import MAX_BATCH
from distlasso.coordinator.form import Form, choose
from distlasso.data.dataset import Dataset
from distlasso.solvers.newton import MAX_FACTOR

_STRONG_PER_ROW = 2  # strong columns a row that prototypes never passed
_COPIES = 4  # of the strong columns: held, working set, being extended, in transit
_FLOAT = 8
_AT_ONCE = 32
_BATCH_BYTES = 4 << 30  # of gradients and residuals of all responses that share a sweep


@dataclass(frozen=True, slots=True)
class Projection:
    """The projected cost of a path on a dataset."""

    form: Form
    passes: tuple[int, int]
    coordinator_bytes: int
    tile_bytes: int

    def summary(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "form": self.form.reason,
            "projected_passes": f"{self.passes[0]} to {self.passes[1]}",
            "projected_coordinator_bytes": self.coordinator_bytes,
            "largest_tile_bytes": self.tile_bytes,
        }


def at_once(shape: tuple[int, int]) -> int:
    """Responses that share a sweep: as many as have room for their batches beside each other."""
    return max(1, min(_AT_ONCE, _BATCH_BYTES // _batch(shape)))


def project(dataset: Dataset, responses: int = 1) -> Projection:
    """Project the cost of a path of a hundred lambdas, for each of some responses."""
    n, p = dataset.shape
    sparse = dataset.encoding != "dense"
    form = choose(n, p, sparse=sparse, nnz=dataset.nnz)
    rows, columns = dataset.row_bounds, dataset.col_bounds
    share = (int((rows[1:] - rows[:-1]).max()) / n) * (int((columns[1:] - columns[:-1]).max()) / p)
    tile = int(dataset.nbytes * min(1.0, share * (4 if sparse else 1)))
    beside = min(responses, at_once((n, p)))
    held = _gram(p) if form.kind == "gram" else _residual(dataset, sparse)
    passes = (1, 3) if form.kind == "gram" else (4, 16)
    statistics = 0 if dataset.statistics is not None else 1
    together = beside * (_batch((n, p)) + held) + 6 * _FLOAT * (n + p) * responses
    return Projection(form, (passes[0] + statistics, passes[1] + statistics), together, tile)


def _batch(shape: tuple[int, int]) -> int:
    """Gradients and residuals of a batch of one response."""
    n, p = shape
    return MAX_BATCH * _FLOAT * (8 * p + 3 * n)


def _gram(p: int) -> int:
    """The Gram, its partial sums on the merge tree, a working set's copy and the factor."""
    return 12 * _FLOAT * p * p


def _residual(dataset: Dataset, sparse: bool) -> int:
    n, p = dataset.shape
    strong = min(p, _STRONG_PER_ROW * n, 2 * MAX_FACTOR)
    factor = 12 * min(strong, MAX_FACTOR) ** 2
    if sparse:
        return _COPIES * 12 * dataset.nnz + factor + 2 * _FLOAT * min(strong, MAX_FACTOR) ** 2
    return _COPIES * n * strong * dataset.dtype.itemsize + factor
