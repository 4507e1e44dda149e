"""What a job would cost, before it is queued.

The passes and the memory are the planner's; the time is that of reading the data so often, at the speed of the latest
jobs here. Read next: ``../path/plan.py``.
"""

from __future__ import annotations

from distlasso.path.plan import project
from distlasso.service.schemas import PlanView
from distlasso.service.spec import CvJob, FitJob, IngestJob, Spec
from distlasso.service.store import Store
from distlasso.service.work import Work, arguments

_LOOKED_AT = 20  # jobs that speak for the speed
_GUESS = 0.5e9  # bytes a second of one machine, where no job has run yet


def plan(work: Work, spec: Spec) -> PlanView:
    """Project the cost of a job."""
    if isinstance(spec, IngestJob):
        size = work.roots.resolve(spec.source).stat().st_size
        return PlanView(form=None, passes=None, bytes_per_pass=size, coordinator_bytes=None, largest_tile_bytes=None, seconds=None,
                        basis="ingest reads its source once or twice; its memory is what the option says")  # fmt: skip
    dataset = work.dataset(spec.dataset)
    speed, basis = _speed(work.store)
    if not isinstance(spec, FitJob | CvJob):
        return PlanView(form=None, passes=[1, 1], bytes_per_pass=dataset.nbytes, coordinator_bytes=None, largest_tile_bytes=None,
                        seconds=[dataset.nbytes / speed] * 2, basis=basis)  # fmt: skip
    loss, solver = spec.options.loss, spec.options.solver
    by_rounds = loss != "squared" or solver not in ("auto", "bcd")
    fits = 1 if isinstance(spec, FitJob) else 1 + (arguments(spec).get("folds") or 10)
    found = project(dataset, fits, by_rounds=by_rounds)
    low, high = found.passes
    return PlanView(
        form=found.form.reason, passes=[low, high], bytes_per_pass=dataset.nbytes, coordinator_bytes=found.coordinator_bytes,
        largest_tile_bytes=found.tile_bytes, seconds=[low * dataset.nbytes / speed, high * dataset.nbytes / speed], basis=basis,
    )  # fmt: skip


def _speed(store: Store) -> tuple[float, str]:
    """Bytes a second, and what says so."""
    done = store.jobs.page(state="succeeded", before=None, limit=_LOOKED_AT)
    pairs = [(job.progress.get("bytes_read", 0), job.progress.get("pass_seconds", 0.0)) for job in done]
    read, seconds = (sum(values) for values in zip(*pairs, strict=True)) if pairs else (0, 0.0)
    if read and seconds:
        return read / seconds, f"reading alone, at {read / seconds / 1e9:.2f} GB/s as in the last {len(done)} jobs"
    return _GUESS, f"reading alone, at {_GUESS / 1e9:.1f} GB/s: a guess, no job has run here yet"
