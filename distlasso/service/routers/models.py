"""``/v1/models``: list, show, explore, download, predict.

Read next: ``../../path/result.py``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response

import distlasso as dl
from distlasso.service.archive import archived
from distlasso.service.context import Here, Service
from distlasso.service.faults import NotFound
from distlasso.service.guard import Guarded, needs
from distlasso.service.problems import ProblemError, documented
from distlasso.service.schemas import ModelDetail, ModelView, PathView, Predictions, Rows
from distlasso.service.spec import Name
from distlasso.service.store import ModelRecord

_KEPT = 4  # models in memory
_MOST_PREDICTIONS = 1_000_000

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=Guarded, responses=documented(400, 401, 403, 413, 422))


@router.get("", openapi_extra=needs("read"))
def list_models(here: Here) -> list[ModelView]:
    """All models, the latest first."""
    return [ModelView.of(record) for record in here.store.catalogue.models()]


@router.get("/{name}", openapi_extra=needs("read"), responses=documented(404, 409))
def show(name: Name, here: Here) -> ModelDetail:
    """A model and its summary."""
    record = _find(here, name)
    return ModelDetail(**ModelView.of(record).model_dump(), summary=_load(record.path).summary())


@router.get("/{name}/path", openapi_extra=needs("read"), responses=documented(404, 409))
def explore(
    name: Name, here: Here, top: Annotated[int, Query(ge=1, le=500, description="How many columns.")] = 40,
    response: Annotated[int, Query(ge=0, le=10_000, description="Which response, where there are several.")] = 0,
) -> PathView:  # fmt: skip
    """A path at every lambda: gaps, active sets, and the columns with the largest coefficients."""
    model = _load(_find(here, name).path)
    cv = model if isinstance(model, dl.CrossValidation) else None
    path = (model if cv is None else cv.path).output(response)
    columns = _largest(path, top)
    names = path.feature_names
    return PathView(
        lambdas=path.lambdas.tolist(), gap=path.gap.tolist(), n_active=path.n_active.tolist(),
        deviance_ratio=path.deviance_ratio.tolist(), columns=columns, coef=path.coef.tocsc()[:, columns].toarray().T.tolist(),
        names=[f"x{column}" if names is None else names[column] for column in columns],
        chosen=None if cv is None else cv.best, mean_score=None if cv is None else cv.mean.tolist(),
        score=None if cv is None else cv.score,
    )  # fmt: skip


@router.get("/{name}/download", openapi_extra=needs("read"), response_class=Response,
            responses={200: {"description": "A zip archive; unpacked, it is what `distlasso.load` reads.",
                             "content": {"application/octet-stream": {}}}, **documented(404)})  # fmt: skip
def download(name: Name, here: Here) -> Response:
    """Download a model."""
    record = _find(here, name)
    return archived(here.work.model_path(record.name), record.name)


@router.post("/{name}/predict", openapi_extra=needs("read"), responses=documented(404, 409))
def predict(name: Name, rows: Rows, here: Here) -> Predictions:
    """Predict rows given as JSON; null is a missing value."""
    model = _load(_find(here, name).path)
    path = model.path if isinstance(model, dl.CrossValidation) else model
    width = path.outputs[0].shape[1]
    for k, row in enumerate(rows.rows):
        if len(row) != width:
            raise ProblemError(422, f"row {k} has {len(row)} values, the model has {width} columns: give one value a column")
    if isinstance(model, dl.Path) and rows.lam is None and len(rows.rows) * path.lambdas.size > _MOST_PREDICTIONS:
        raise ProblemError(422, f"{len(rows.rows)} rows at {path.lambdas.size} lambdas are too many answers: give one lam")
    X = np.array(rows.rows, dtype=np.float64)  # null becomes NaN
    return Predictions(predictions=model.predict(X, lam=rows.lam, type=rows.type).tolist())


@lru_cache(maxsize=_KEPT)
def _load(path: str) -> Any:
    return dl.load(path)  # which never changes once it has its name


def _find(here: Service, name: str) -> ModelRecord:
    record = here.store.catalogue.model(name)
    if record is None:
        raise NotFound(f"there is no model {name!r}: list them at /v1/models")
    return record


def _largest(path: dl.Path, top: int) -> list[int]:
    """The columns whose coefficients are the largest anywhere on the path."""
    size = np.asarray(abs(path.coef).max(axis=0).todense()).ravel()
    order = np.argsort(-size, kind="stable")[:top]
    return [int(column) for column in np.sort(order[size[order] > 0])]
