"""``/openapi.json`` tells the truth: requests made from it, good and bad, are answered as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from served import Here

import distlasso as dl
from distlasso.service.context import Limits
from distlasso.service.jobs import Failed, Succeeded
from distlasso.service.store import Publication

schemathesis = pytest.importorskip("schemathesis", reason="OpenAPI is tested by schemathesis: pip install schemathesis")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Here:
    """With a job in most states, a dataset and a model; nothing is run."""
    folder = tmp_path_factory.mktemp("openapi")
    here = Here(folder, root, Limits(queue=10_000))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3))
    dl.fit_path(X, X[:, 0], n_lambdas=5).save(folder / "m")
    spec = {"kind": "fit", "dataset": "./wide.zarr"}
    for outcome in ("succeeded", "failed", "running"):
        job = here.store.jobs.submit(spec, owner="me", output=f"m-{outcome}", key=None, most=99)[0].id
        here.store.jobs.claim(most=9)
        if outcome == "succeeded":
            here.store.jobs.apply(job, Succeeded(1, {"a": 1}), Publication("model", "m", str(folder / "m"), lambda: None))
        elif outcome == "failed":
            here.store.jobs.apply(job, Failed(1, "bad"))
        here.known = {**getattr(here, "known", {}), outcome: job}  # type: ignore[attr-defined]
    here.store.catalogue.register("wide", str(root / "wide.zarr"))
    here.service.supervisor._most = 0
    return here


@pytest.fixture(scope="module")
def api(service: Here) -> Any:
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})  # of these, test_api.py
    return schemathesis.openapi.from_asgi("/openapi.json", service.app, config=config)


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_openapi_has(case: Any, service: Here) -> None:
    """Status, media type and shape; bad requests are refused and good ones are not, but for what is not there."""
    if case.operation.path.endswith("/events"):
        case.query = {**(case.query or {}), "follow": "false"}
    if "wait" in (case.query or {}):
        case.query = {**case.query, "wait": 0}
    case.call_and_validate(headers={"Authorization": f"Bearer {service.tokens['admin']}"})


def test_the_description_is_valid_and_names_every_problem(service: Here) -> None:
    """Every guarded operation has its token, its scope, and 401, 403 and 422 as problem+json."""
    described = service.app.openapi()
    for path, methods in described["paths"].items():
        for operation in methods.values():
            if path in ("/healthz", "/readyz"):
                continue
            assert operation["security"] == [{"bearer": []}], path
            for status in ("401", "403", "422"):
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"], (path, status)
    assert "HTTPValidationError" not in described["components"]["schemas"]
