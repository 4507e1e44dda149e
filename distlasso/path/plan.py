"""What a fit will cost, from the shape of the data alone, before it starts: form, passes and memory.

The memory is an upper bound on what a process that does everything itself holds beside the data, term by term; ``inspect``
prints it and a fit announces it. Where a budget is stated and the usual form is beyond it, the strong set is cut into
blocks whose Grams fit. Only the shape and the budget decide, never the machine. Read next: ``coordinator/form.py``.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from distlasso.coordinator.active_set import MAX_BATCH
from distlasso.coordinator.form import Blocks, Form, choose
from distlasso.coordinator.general import BATCH
from distlasso.data.dataset import Dataset, strong_bytes
from distlasso.runtime.local import HELD_AT_ONCE
from distlasso.runtime.plan import MAX_BUNDLES
from distlasso.solvers.newton import MAX_FACTOR

_STRONG_PER_ROW = 2  # strong columns a row that prototypes never passed
_COPIES = 4  # of the strong columns: held, working set, being extended, in transit
_FLOAT = 8
_HESSIANS = 10  # of one block at once: three kept, one interpolated, centred and working copies, the factor
_VECTORS = 24  # of the strong columns for each lambda: coefficients, slopes, steps, bounds, strengths
_WIDTHS = (BATCH, 4, 1)  # lambdas of a batch that a budget may have to put up with
_NARROWEST = 8  # columns of a block
_AT_ONCE = 32
_SMALL = 1 << 20  # values of the data below which a fit is mostly Python
_BATCH_BYTES = 4 << 30  # of gradients and residuals of all responses that share a sweep


@dataclass(frozen=True, slots=True)
class Projection:
    """The projected cost of a path on a dataset."""

    form: Form
    passes: tuple[int, int]
    coordinator_bytes: int
    tile_bytes: int
    room: int | None = None  # bytes of strong columns that bundles keep; None: all of them

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
    n, p = shape
    return max(1, min(_AT_ONCE, _BATCH_BYTES // (MAX_BATCH * _FLOAT * (8 * p + 3 * n))))


def turns(shape: tuple[int, int]) -> int:
    """Fits side by side that are at work at the same time: small ones would only fight over the interpreter."""
    return 1 if shape[0] * shape[1] < _SMALL else os.cpu_count() or 1


def project(
    dataset: Dataset, responses: int = 1, *, by_rounds: bool = False, memory: int | None = None
) -> Projection:
    """Project the cost of a path of a hundred lambdas, for each of some responses.

    Parameters
    ----------
    dataset : Dataset
        The data; only its shape and layout are looked at.
    responses : int
        Columns of y.
    by_rounds : bool
        Whether sums over the strong columns are asked for in rounds: any loss but squared, any solver but ``bcd``.
    memory : int, optional
        Bytes to stay below, if some form does.
    """
    n, p = dataset.shape
    form = choose(n, p, sparse=dataset.encoding != "dense", nnz=dataset.nnz)
    size = _Size(n, p, _nodes(dataset), _bundle_rows(dataset), strong_bytes(dataset))
    beside, fixed = min(responses, at_once((n, p))), size.fixed * responses
    of_rows = 6 * _FLOAT * n if form.kind != "gram" or by_rounds else 0
    each = (BATCH if by_rounds else MAX_BATCH) * (size.per_lambda + of_rows)
    width, room = 0, None
    if form.kind == "gram":
        width = p
        each += size.gram(p) + size.kept * by_rounds
    else:
        each += _residual(dataset)
    total = fixed + beside * each
    if memory is not None and total > memory:
        form, each, room = _blocks(size, (memory - fixed) // beside, f"the usual form may hold {total / 1e6:,.1f} MB, "
                                   f"beyond memory of {memory / 1e6:,.1f} MB")  # fmt: skip
        total, width = fixed + beside * each, form.blocks.width if form.blocks else 0
    first = 0 if dataset.statistics is not None else 1
    passes = (1, 3) if form.kind == "gram" and not by_rounds else (4, 16)
    tile = _tile(dataset) + size.scratch(width, gathered=room is not None)
    return Projection(form, (passes[0] + first, passes[1] + first), total, tile, room)


@dataclass(frozen=True, slots=True)
class _Size:
    """The numbers that all terms are made of."""

    n: int
    p: int
    nodes: int  # of the merge tree that wait at once
    bundle_rows: int
    kept: int  # bytes of the strong columns of all bundles

    @property
    def fixed(self) -> int:
        """What belongs to rows and columns, whatever the form."""
        return 6 * _FLOAT * (self.n + self.p)

    @property
    def per_lambda(self) -> int:
        """What a lambda of a batch adds."""
        return (_VECTORS + 2 * self.nodes) * _FLOAT * self.p

    def gram(self, width: int) -> int:
        """Grams of ``width`` columns: on the merge tree, and at work."""
        return (_HESSIANS + self.nodes) * _FLOAT * width * width

    def scratch(self, width: int, *, gathered: bool) -> int:
        """Half of what a thread adds: row quantities of a bundle, a Gram of ``width`` columns, columns in transit."""
        rows = 4 * _FLOAT * self.bundle_rows * MAX_BATCH
        columns = 2 * self.kept * self.bundle_rows // self.n
        if gathered:
            columns = columns * max(width, 128) // self.p
        return rows + 3 * _FLOAT * width * width + columns


def _blocks(size: _Size, memory: int, because: str) -> tuple[Form, int, int | None]:
    """The block form with the widest batch and blocks that fit; the narrowest of all if none does."""
    narrowest = min(_NARROWEST, size.p)
    batch = next((k for k in _WIDTHS if k * size.per_lambda + 2 * size.gram(narrowest) <= memory), _WIDTHS[-1])
    total = batch * size.per_lambda
    width = math.isqrt(max(memory - total, 0) // 2 * narrowest**2 // size.gram(narrowest))
    width = min(max(width, narrowest), size.p)
    total += size.gram(width)
    room = None if total + size.kept <= memory else max(memory - total, 0) // 2
    total += size.kept if room is None else room
    one = _FLOAT * width * width
    held = min(max(memory - total, 0) // one, -(-size.p // width))
    what = f"blocks of {width} strong columns"
    if room is not None:
        what += f", which are looked up in the data in every round once they are more than {room / 1e6:,.1f} MB"
    return Form("blocks", what, because, Blocks(width, 1 + held, batch)), total + held * one, room


def _nodes(dataset: Dataset) -> int:
    bundles = min(dataset.row_bounds.size - 1, MAX_BUNDLES)
    return 2 + math.ceil(math.log2(bundles))


def _bundle_rows(dataset: Dataset) -> int:
    rows = dataset.row_bounds
    tiles = -(-(rows.size - 1) // MAX_BUNDLES)
    return min(tiles * int((rows[1:] - rows[:-1]).max()), dataset.shape[0])


def _tile(dataset: Dataset) -> int:
    """The largest tile, decoded, and those that are held beside it."""
    n, p = dataset.shape
    sparse = dataset.encoding != "dense"
    rows, columns = dataset.row_bounds, dataset.col_bounds
    band = dataset.nbytes * min(1.0, int((rows[1:] - rows[:-1]).max()) / n * (4 if sparse else 1))
    tile = band * min(1.0, int((columns[1:] - columns[:-1]).max()) / p * (4 if sparse else 1))
    return int(min(band, tile + HELD_AT_ONCE) if not dataset.in_memory else tile)


def _residual(dataset: Dataset) -> int:
    """Strong columns that the coordinator holds, and the factor of their Gram."""
    n, p = dataset.shape
    strong = min(p, _STRONG_PER_ROW * n, 2 * MAX_FACTOR)
    factor = 12 * min(strong, MAX_FACTOR) ** 2
    if dataset.encoding != "dense":
        return _COPIES * 12 * dataset.nnz + factor + 2 * _FLOAT * min(strong, MAX_FACTOR) ** 2
    return _COPIES * n * strong * dataset.dtype.itemsize + factor
