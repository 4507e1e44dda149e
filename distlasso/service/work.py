"""What a job does: one call of a public function, its output staged until the job's success is recorded.

Read next: ``spec.py`` (what a job says), ``runner.py`` (the process it runs in).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

import distlasso as dl
from distlasso.errors import InputError
from distlasso.events import Listener
from distlasso.path.options import parse
from distlasso.service.faults import NotFound
from distlasso.service.files import Files
from distlasso.service.roots import Roots
from distlasso.service.spec import CvJob, FitJob, IngestJob, PredictJob, Prior, Schedule, SharedOptions, Spec
from distlasso.service.store import Publication, Store

_SCHEDULES: dict[str, Any] = {
    "relaxed": dl.Relaxed, "mcp": dl.MCP, "scad": dl.SCAD, "adaptive": dl.Adaptive, "prune-refine": dl.PruneRefine,
    "thresholded": dl.Thresholded,
}  # fmt: skip
OPTIONS = frozenset(SharedOptions.model_fields) | {"prior", "multi_task"}
_PRIORS = {"laplace": dl.Laplace, "gaussian": dl.Gaussian}


@final
@dataclass(frozen=True, slots=True)
class Work:
    """The surroundings of a job."""

    store: Store
    files: Files
    roots: Roots
    runtime: Any = None
    """Of ``fit_path``: a name, or a cluster."""
    listener: Listener | None = None

    def dataset(self, where: str) -> dl.Dataset:
        """The dataset of a name, or of a path below a root."""
        return dl.open_dataset(self.dataset_path(where))

    def dataset_path(self, where: str) -> Path:
        """The store of a name, or of a path below a root.

        Raises
        ------
        NotFound
            If there is neither.
        """
        known = self.store.catalogue.dataset(where)
        if known is not None:
            return Path(known.path)
        if "/" not in where:
            raise NotFound(f"there is no dataset {where!r}: register or ingest it first, or give a path below a root")
        return self.roots.resolve(where)

    def model_path(self, name: str) -> Path:
        """Where a model is.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        known = self.store.catalogue.model(name)
        if known is None:
            raise NotFound(f"there is no model {name!r}: list them at /v1/models")
        return Path(known.path)

    def check(self, spec: Spec) -> None:
        """Look at what a job refers to and at its options, before it is queued.

        Raises
        ------
        InputError, StoreError
            For the first thing that would fail.
        """
        match spec:
            case IngestJob():
                self.roots.resolve(spec.source)
                return
            case PredictJob():
                self.model_path(spec.model)
                self.dataset(spec.dataset)
            case FitJob() | CvJob():
                self.dataset(spec.dataset)
                given = arguments(spec)
                ratios = given.get("l1_ratio", 1.0)
                for ratio in ratios if isinstance(ratios, list) else [ratios]:
                    known = {name: given[name] for name in given if name in OPTIONS}
                    parse(0.0, **known | {"l1_ratio": ratio})

    def do(self, job: str, output: str, spec: Spec) -> tuple[dict[str, Any], Publication]:
        """Do a job; what it leaves behind has its final name only once the publication is carried out."""
        final_name = self.files.output(spec.kind, job)
        match spec:
            case FitJob() | CvJob():
                result, staged = self._fit(job, spec, final_name)
                kind, name = "model", output
            case IngestJob():
                result, staged = self._ingest(spec, final_name)
                kind, name = "dataset", spec.output
            case PredictJob():
                result, staged = self._predict(job, spec, final_name)
                kind, name = "file", output
        return {kind: name, **result}, Publication(kind, name, str(final_name), partial(_rename, staged, final_name))

    def _fit(self, job: str, spec: FitJob | CvJob, final_name: Path) -> tuple[dict[str, Any], Path]:
        staged = self.files.job(job) / "model"
        if final_name.exists():  # an earlier attempt was killed between giving the name and recording it
            return dl.load(final_name).summary(), final_name
        fit: Any = dl.fit_path if isinstance(spec, FitJob) else dl.cross_validate
        fitted = fit(self.dataset(spec.dataset), **arguments(spec), checkpoint=self.files.checkpoint(job), runtime=self.runtime,
                     on_event=self.listener)  # fmt: skip
        fitted.save(staged, overwrite=True)
        return fitted.summary(), staged

    def _ingest(self, spec: IngestJob, final_name: Path) -> tuple[dict[str, Any], Path]:
        if not final_name.exists():
            dl.ingest(self.roots.resolve(spec.source), final_name, **arguments(spec), on_event=self.listener)
        dataset = dl.open_dataset(final_name)
        n, p = dataset.shape
        about = {"rows": n, "columns": p, "encoding": dataset.encoding, "dtype": dataset.dtype.name}
        return about | {"decoded_bytes": dataset.nbytes, "fingerprint": dataset.fingerprint}, final_name

    def _predict(self, job: str, spec: PredictJob, final_name: Path) -> tuple[dict[str, Any], Path]:
        staged = self.files.job(job) / "predictions.npy"
        if final_name.exists():
            predictions, staged = np.load(final_name, mmap_mode="r", allow_pickle=False), final_name
        else:
            model = dl.load(self.model_path(spec.model))
            predictions = model.predict(self.dataset(spec.dataset), lam=spec.options.lam, type=spec.options.type)
            np.save(staged, predictions, allow_pickle=False)
        shape = list(predictions.shape)
        return {"rows": shape[0], "lambdas": 1 if len(shape) == 1 else shape[1], "type": spec.options.type}, staged


def arguments(spec: Spec) -> dict[str, Any]:
    """Options of a job as the public function takes them."""
    given = {name: value for name, value in spec.options if name in spec.options.model_fields_set}
    for name in ("loss", "schedule", "prior"):
        if name in given:
            given[name] = _object(given[name])
    if isinstance(given.get("bounds"), list):
        given["bounds"] = tuple(given["bounds"])
    if isinstance(given.get("chunks"), list):
        given["chunks"] = tuple(given["chunks"])
    return given


def _object(value: Any) -> Any:
    """A loss, schedule or prior as Python knows it."""
    match value:
        case list():
            return [_object(one) for one in value]
        case "none":
            return None
        case Schedule(name=name, parameters=parameters):
            try:
                return _SCHEDULES[name](**parameters)
            except TypeError as error:
                raise InputError(f"schedule {name!r} does not take {', '.join(parameters)}: see its documentation") from error
        case Prior(name=name, scale=scale, sigma=sigma):
            return _PRIORS[name](scale, sigma)
        case str():
            return _SCHEDULES[value]() if value in _SCHEDULES else value
        case None:
            return None
    return dl.Huber(value.delta)


def _rename(staged: Path, final_name: Path) -> None:
    if staged != final_name and not final_name.exists():
        os.replace(staged, final_name)


def discard(files: Files, job: str) -> None:
    """Remove what a job needed only until its result was there."""
    shutil.rmtree(files.checkpoint(job), ignore_errors=True)
