"""``/v1/datasets``: register, list, inspect. To ingest one is a job.

Read next: ``../roots.py``.
"""

from __future__ import annotations

from fastapi import APIRouter

import distlasso as dl
from distlasso.service.context import Here
from distlasso.service.faults import NotFound
from distlasso.service.guard import Guarded, needs
from distlasso.service.problems import documented
from distlasso.service.schemas import DatasetDetail, DatasetView, NewDataset
from distlasso.service.spec import Name

_NAMES = 100

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=Guarded, responses=documented(400, 401, 403, 413, 422))


@router.post("", status_code=201, openapi_extra=needs("submit"), responses=documented(404, 409))
def register(new: NewDataset, here: Here) -> DatasetView:
    """Give a store below one of the roots a name."""
    path = here.roots.resolve(new.path)
    dl.open_dataset(path)
    return DatasetView.of(here.store.catalogue.register(new.name, str(path)))


@router.get("", openapi_extra=needs("read"))
def list_datasets(here: Here) -> list[DatasetView]:
    """All datasets by name."""
    return [DatasetView.of(record) for record in here.store.catalogue.datasets()]


@router.get("/{name}", openapi_extra=needs("read"), responses=documented(404, 409))
def inspect(name: Name, here: Here) -> DatasetDetail:
    """A dataset: its shape and encoding, and the first of its feature names."""
    record = here.store.catalogue.dataset(name)
    if record is None:
        raise NotFound(f"there is no dataset {name!r}: list them at /v1/datasets")
    dataset = dl.open_dataset(record.path)
    n, p = dataset.shape
    names = dataset.feature_names
    return DatasetDetail(
        **DatasetView.of(record).model_dump(), rows=n, columns=p, encoding=dataset.encoding, dtype=dataset.dtype.name,
        decoded_bytes=dataset.nbytes, stored_entries=dataset.nnz, target=dataset.y is not None, fold=dataset.fold is not None,
        feature_names=None if names is None else names[:_NAMES],
    )  # fmt: skip
