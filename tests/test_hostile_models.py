"""Models whose files were made to do harm: each loads, predicts and reports as before, or is refused in one line with its path."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distlasso as dl
from tests.hostile import EXAMPLES, changed, refused_within

RNG = np.random.default_rng(0)
X = RNG.standard_normal((80, 6))
Y = X @ [2.0, -1.0, 0.0, 0.0, 0.5, 0.0] + RNG.standard_normal(80)
HOLES = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
SMALL: dict[str, Any] = {"n_lambdas": 5, "runtime": "serial"}
KINDS: dict[str, Callable[[], Any]] = {
    "path": lambda: dl.fit_path(X, Y, schedule=dl.Adaptive(), **SMALL),
    "path of holes": lambda: dl.fit_path(dl.Dataset.from_arrays(HOLES, Y, missing_value=np.nan), **SMALL),
    "path of two responses": lambda: dl.fit_path(X, np.c_[Y, X[:, 3]], **SMALL),
    "path of two tasks": lambda: dl.fit_path(X, np.c_[Y, X[:, 3]], multi_task=True, **SMALL),
    "counts": lambda: dl.fit_path(X, np.rint(np.exp(Y / 4)), loss="poisson", **SMALL),
    "cross-validation": lambda: dl.cross_validate(X, Y, folds=3, **SMALL),
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("honest")
    for kind, fit in KINDS.items():
        fit().save(folder / kind)
    return {kind: folder / kind for kind in KINDS}


def use(model: Path) -> None:
    """All that is done with a model that was loaded."""
    found = dl.load(model)
    path = found if isinstance(found, dl.Path) else found.path
    assert np.isfinite(path.predict(X)).all()
    path.predict(X, lam=float(path.lambdas[-1]), type="response")
    found.summary(), path.n_active
    if isinstance(path.coef, tuple) or path.n_rows is None:
        path.output(1 if isinstance(path.coef, tuple) else 0).predict(X)
    path.save(model.parent / "again", overwrite=True)
    (model.parent / "report.html").unlink(missing_ok=True)
    found.report(model.parent / "report.html")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(what=st.data())
def test_a_model_that_was_changed_is_used_as_before_or_refused_by_name(
    kind: str, what: st.DataObject, honest: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:  # fmt: skip
    model = tmp_path_factory.mktemp("changed") / "model"
    shutil.copytree(honest[kind], model)
    file = model / what.draw(st.sampled_from(sorted(os.listdir(model))))
    file.write_bytes(what.draw(changed(file.read_bytes())))
    with refused_within(64 << 20, named=str(model)):
        use(model)
    shutil.rmtree(model.parent)


def members(model: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(model / "path.npz") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(model: Path, found: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(model / "path.npz", "w", how) as archive:
        for name, content in found.items():
            archive.writestr(name, content)


def array_that_says(shape: tuple[int, ...], dtype: str = "<f8", content: bytes = b"") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue() + content


@pytest.mark.parametrize("shape", [(10**18,), (10**18, 10**18), (10**9,), (0, 10**18), (-8,)])
def test_an_array_that_says_to_be_larger_than_its_bytes_is_refused_before_it_is_allocated(
    shape: tuple[int, ...], honest: dict[str, Path], tmp_path: Path
) -> None:  # fmt: skip
    shutil.copytree(honest["path"], tmp_path / "model")
    write_members(tmp_path / "model", members(tmp_path / "model") | {"lambdas.npy": array_that_says(shape, content=bytes(40))})
    with refused_within(8 << 20, named=str(tmp_path / "model")), pytest.raises(dl.StoreError, match=r"lambdas.npy is said to have"):
        use(tmp_path / "model")


def test_a_model_that_unpacks_to_more_than_its_bytes_is_refused_before_it_does(honest: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(honest["path"], tmp_path / "model")
    bomb = array_that_says((32 << 20,), content=bytes(256 << 20))
    write_members(tmp_path / "model", members(tmp_path / "model") | {"lambdas.npy": bomb}, zipfile.ZIP_DEFLATED)
    with refused_within(8 << 20, named=str(tmp_path / "model")), pytest.raises(dl.StoreError, match="more bytes than there are"):
        use(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "put", "message"),
    [("coef_indices", np.array([10**9]), "outside"), ("coef_indices", np.array([-1]), "outside"),
     ("lambdas", np.array([np.nan]), "lambdas"), ("intercept", np.array([np.inf]), "intercept"),
     ("dropped", np.array([7]), "dropped"), ("gap", np.zeros((1, 1)), "gap")],
)  # fmt: skip
def test_what_does_not_fit_the_rest_of_a_model_is_refused(
    name: str, put: Any, message: str, honest: dict[str, Path], tmp_path: Path
) -> None:  # fmt: skip
    shutil.copytree(honest["path"], tmp_path / "model")
    found = members(tmp_path / "model")
    old = np.load(io.BytesIO(found[f"{name}.npy"]), allow_pickle=False)
    new = np.concatenate([put.astype(old.dtype), old[1:]]) if put.ndim == 1 else put
    out = io.BytesIO()
    np.save(out, new, allow_pickle=False)
    write_members(tmp_path / "model", found | {f"{name}.npy": out.getvalue()})
    with pytest.raises(dl.StoreError, match=rf"{re.escape(str(tmp_path / 'model'))}.*{message}"):
        dl.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["path.json", "path.npz", "selection.json"])
def test_links_that_lead_out_of_a_model_are_refused_by_name(name: str, honest: dict[str, Path], tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(honest["cross-validation"], model)
    shutil.move(model / name, tmp_path / name)
    (model / name).symlink_to(tmp_path / name)
    with pytest.raises(dl.StoreError, match=rf"{name} leads out of {re.escape(str(model))}"):
        dl.load(model)
    (model / name).unlink()
    os.mkfifo(model / name)
    with pytest.raises(dl.StoreError, match=rf"{name} is neither a file nor a folder"):
        dl.load(model)


def test_a_model_that_is_reached_by_a_link_is_loaded(honest: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(honest["path"])
    assert dl.load(tmp_path / "link").summary() == dl.load(honest["path"]).summary()
    assert json.loads((tmp_path / "link" / "path.json").read_text())
