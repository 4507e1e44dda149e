"""Whether the workers can hold what a fit is sure to need, before it starts.

A lower bound: what one thread holds at the least while it answers for a tile. Caches are not in it, since they give way.
Read next: ``cluster.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distlasso.data.dataset import Dataset
from distlasso.errors import ResourceError
from distlasso.runtime.local import RowSpace
from distlasso.runtime.plan import Plan
from distlasso.runtime.wire import Member

_PAUSED = 0.8  # of its limit, where Dask has a worker begin no further task
_COPIES = 2  # of a tile, as stored and decoded; of an answer, while two are merged
_ROW_BYTES = 24


def check_room(dataset: Dataset, plan: Plan, rows: Sequence[RowSpace], members: Mapping[str, Member]) -> None:
    """Refuse a fit that cannot fit.

    Raises
    ------
    ResourceError
        If a worker has less memory than its threads need for one tile each.
    """
    share = 1.0
    for bounds in (dataset.row_bounds, dataset.col_bounds):
        share *= int((bounds[1:] - bounds[:-1]).max()) / int(bounds[-1])
    tile, own = int(dataset.nbytes * share), _ROW_BYTES * len(rows) * dataset.shape[0] // max(len(members), 1)
    for worker, member in members.items():
        need = member.threads * _COPIES * (tile + plan.answer) + own
        if member.limit and member.used + need > _PAUSED * member.limit:
            raise ResourceError(
                f"worker {worker} has a limit of {member.limit / 1e6:,.0f} MB, of which Dask lets tasks use "
                f"{_PAUSED * member.limit / 1e6:,.0f}; it holds {member.used / 1e6:,.0f} already, and its {member.threads} "
                f"threads need at least {need / 1e6:,.0f} for tiles of {tile / 1e6:,.1f} MB and answers of "
                f"{plan.answer / 1e6:,.1f}: give workers more memory or fewer threads, or ingest with smaller chunks"
            )
