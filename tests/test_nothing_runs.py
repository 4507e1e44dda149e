"""No file that is given to the package runs code: nothing in it unpickles or evaluates, and every reader was handed a pickle."""

from __future__ import annotations

import ast
import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distlasso as dl
from distlasso.data.ingest import _PROGRESS
from distlasso.data.store import wip_path

PACKAGE = Path(dl.__file__).parent
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "runpy", "code"}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
NUMPY = {"load", "save", "savez"}  # none of them without allow_pickle=False
ATTRIBUTES = {"read_pickle", "to_pickle", "Unpickler", "loads_pickle", "object_codec", "ALLOW_UNSAFE_PICKLE_DECODE", "find_class"}

X = np.random.default_rng(0).standard_normal((40, 4))
Y = X[:, 0] + np.random.default_rng(1).standard_normal(40)


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Everything in a module that might run what it reads."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name.split(".")[0] in MODULES)
            case ast.ImportFrom(module=module) if module and module.split(".")[0] in MODULES:
                yield module
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr=name), keywords=given) if name in NUMPY:
                if {one.arg: ast.unparse(one.value) for one in given}.get("allow_pickle") != "False":
                    yield ast.unparse(node)
            case ast.keyword(arg="allow_pickle", value=value) if ast.unparse(value) != "False":
                yield f"allow_pickle={ast.unparse(value)}"
            case ast.keyword(arg="object_codec"):
                yield "object_codec"
            case ast.Attribute(attr=name) if name in ATTRIBUTES:
                yield name


def test_nothing_in_the_package_unpickles_or_evaluates() -> None:
    found = {str(file.relative_to(PACKAGE)): list(unsafe(ast.parse(file.read_text()))) for file in PACKAGE.rglob("*.py")}
    assert len(found) > 100 and not {file: what for file, what in found.items() if what}


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from joblib import load", "eval('1')", "exec(x)", "np.load(f)", "np.load(f, allow_pickle=True)",
     "zarr.create(object_codec=x)", "pd.read_pickle(f)", "numpy.savez(f, a=b)", "sp.load_npz(f, allow_pickle=known)"],
)  # fmt: skip
def test_what_unpickles_or_evaluates_is_found(text: str) -> None:
    assert list(unsafe(ast.parse(text)))


class Malicious:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return (Path.touch, (self.victim,))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """The file that would be left behind; it is when the pickle is loaded."""
    place = tmp_path / "victim"
    pickle.loads(pickle.dumps(Malicious(place)))
    assert place.exists()
    place.unlink()
    return place


def as_npy(victim: Path) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([[Malicious(victim)]], dtype=object), allow_pickle=True)
    return out.getvalue()


def as_npz(victim: Path, name: str, **rest: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **rest)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(f"{name}.npy", as_npy(victim))
    return out.getvalue()


def as_bytes(victim: Path) -> bytes:
    return pickle.dumps(Malicious(victim))


SOURCES: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "npy": ("a.npy", as_npy), "npz": ("a.npz", lambda v: as_npz(v, "X", y=Y)),
    "target in npz": ("a.npz", lambda v: as_npz(v, "y", X=X)),
    "weights in npz": ("a.npz", lambda v: as_npz(v, "sample_weight", X=X, y=Y)),
    "sparse npz": ("a.npz", lambda v: as_npz(v, "data", format=b"csr", shape=[1, 1], indices=[0], indptr=[0, 1])),
    "pickle as npy": ("a.npy", as_bytes), "pickle as npz": ("a.npz", as_bytes), "pickle as csv": ("a.csv", as_bytes),
    "pickle as csv.gz": ("a.csv.gz", lambda v: gzip.compress(as_bytes(v))), "pickle as parquet": ("a.parquet", as_bytes),
    "pickle as svmlight": ("a.svm", as_bytes),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_a_pickle_in_a_source_is_refused_and_not_run(kind: str, victim: Path, tmp_path: Path) -> None:
    name, make = SOURCES[kind]
    (tmp_path / name).write_bytes(make(victim))
    with pytest.raises(dl.DistlassoError, match=name):
        dl.ingest(tmp_path / name, tmp_path / "d.zarr", **({"target": "y"} if "csv" in name or "parquet" in name else {}))
    assert not victim.exists() and not (tmp_path / "d.zarr").exists()


@pytest.mark.parametrize("file", ["path.npz", "path.json", "selection.json"])
@pytest.mark.parametrize("make", [as_bytes, lambda v: as_npz(v, "lambdas")], ids=["pickle", "npz"])
def test_a_pickle_in_a_model_is_refused_and_not_run(file: str, make: Any, victim: Path, tmp_path: Path) -> None:
    dl.cross_validate(X, Y, folds=3, n_lambdas=3, runtime="serial").save(tmp_path / "model")
    (tmp_path / "model" / file).write_bytes(make(victim))
    with pytest.raises(dl.StoreError, match="model"):
        dl.load(tmp_path / "model")
    assert not victim.exists()


@pytest.mark.parametrize("file", ["checkpoint.json", "answers.journal"])
def test_a_pickle_in_a_checkpoint_is_not_run(file: str, victim: Path, tmp_path: Path) -> None:
    fit: dict[str, Any] = {"n_lambdas": 3, "runtime": "serial", "checkpoint": tmp_path / "c"}
    quiet = dl.fit_path(X, Y, **fit)
    (tmp_path / "c" / file).write_bytes(as_bytes(victim))
    if file == "checkpoint.json":
        with pytest.raises(dl.StoreError, match=r"checkpoint\.json is damaged"):
            dl.fit_path(X, Y, **fit)
    else:
        with pytest.warns(UserWarning, match="byte 0 begins no record"):
            np.testing.assert_array_equal(dl.fit_path(X, Y, **fit).gap, quiet.gap)
    assert not victim.exists()


@pytest.mark.parametrize("file", ["zarr.json", "X/zarr.json", "X/c/0/0", "y/c/0"])
def test_a_pickle_in_a_store_is_refused_and_not_run(file: str, victim: Path, tmp_path: Path) -> None:
    dl.ingest((X, Y), tmp_path / "d.zarr")
    (tmp_path / "d.zarr" / file).write_bytes(as_bytes(victim))
    with pytest.raises(dl.StoreError, match=r"d\.zarr"):
        dl.fit_path(dl.open_dataset(tmp_path / "d.zarr"), n_lambdas=3, runtime="serial")
    assert not victim.exists()


def test_a_pickle_in_an_unfinished_store_is_not_run_and_the_store_is_begun_anew(victim: Path, tmp_path: Path) -> None:
    unfinished = wip_path(tmp_path / "d.zarr")
    os.makedirs(unfinished)
    for content in (as_bytes(victim), as_npz(victim, "about"), as_npy(victim)):
        (unfinished / _PROGRESS).write_bytes(content)
        assert dl.ingest((X, Y), tmp_path / "d.zarr", overwrite=True).shape == X.shape
        os.makedirs(unfinished)
    assert not victim.exists()
