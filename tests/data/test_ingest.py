"""Ingest: resumable, atomic, checksummed, within its memory."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import zarr

import distlasso as dl
from distlasso.data import ingest as ingest_module
from distlasso.data.statistics import merge
from distlasso.data.store import wip_path

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((300, 20)), rng.standard_normal(300)


class Killed(BaseException):
    """Stands for a death between two units."""


def die_after(count: int) -> Any:
    seen = []

    def listen(event: Any) -> None:
        seen.append(event)
        if len(seen) == count:
            raise Killed

    return listen


@pytest.mark.parametrize("encoding", ["dense", "csr", "csc"])
@pytest.mark.parametrize("after", [3, 4])
def test_an_interrupted_ingest_continues_and_gives_the_same_store(encoding: str, after: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"encoding": encoding, "memory": 40_000}
    if encoding == "dense":
        options["chunks"] = (50, 10)
    source = (sp.csr_array(X * (X > 0.5)), Y) if encoding != "dense" else (X, Y)
    quiet = dl.ingest(source, tmp_path / "quiet.zarr", **options)
    with pytest.raises(Killed):
        dl.ingest(source, tmp_path / "a.zarr", on_event=die_after(after), **options)
    assert not (tmp_path / "a.zarr").exists()
    events: list[Any] = []
    again = dl.ingest(source, tmp_path / "a.zarr", on_event=events.append, **options)
    assert again.fingerprint == quiet.fingerprint
    assert again.statistics is not None
    assert quiet.statistics is not None
    np.testing.assert_array_equal(again.statistics.m2, quiet.statistics.m2)
    all_events: list[Any] = []
    dl.ingest(source, tmp_path / "b.zarr", on_event=all_events.append, **options)
    assert len(events) < len(all_events)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.csc_array])
def test_folds_are_stored_beside_the_rows_through_an_interruption(kind: Any, tmp_path: Path) -> None:
    folds = np.arange(300) % 4 - 1
    options: dict[str, Any] = {"memory": 40_000, "fold": folds}
    if kind is np.asarray:
        options["chunks"] = (50, 10)
    with pytest.raises(Killed):
        dl.ingest((kind(X), Y), tmp_path / "a.zarr", on_event=die_after(3), **options)
    stored = dl.ingest((kind(X), Y), tmp_path / "a.zarr", **options)
    assert stored.fold is not None
    np.testing.assert_array_equal(stored.fold, folds)
    np.testing.assert_array_equal(dl.open_dataset(tmp_path / "a.zarr").fold, folds)  # type: ignore[arg-type]
    plain = dl.ingest((kind(X), Y), tmp_path / "plain.zarr", **{**options, "fold": None})
    assert plain.fold is None and plain.fingerprint != stored.fingerprint
    scores = [dl.cross_validate(*each, n_lambdas=5).scores for each in ((stored,), (dl.Dataset.from_arrays(X, Y, fold=folds),))]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)


def test_another_source_does_not_continue_an_unfinished_store(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        dl.ingest((X, Y), tmp_path / "a.zarr", chunks=(50, 20), on_event=die_after(2))
    other = dl.ingest((X + 1, Y), tmp_path / "a.zarr", chunks=(50, 20))
    np.testing.assert_allclose(other.statistics.mean, (X + 1).mean(axis=0))  # type: ignore[union-attr]


def test_a_killed_process_leaves_an_unfinished_store_that_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", X=rng.standard_normal((4000, 200)), y=rng.standard_normal(4000))
    code = (
        "import sys, time, distlasso as dl\n"
        "def slow(e): print('unit', flush=True); time.sleep(0.2)\n"
        "dl.ingest(sys.argv[1], sys.argv[2], chunks=(200, 200), on_event=slow)"
    )
    store = tmp_path / "a.zarr"
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "d.npz", store], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not store.exists()
    with pytest.raises(dl.StoreError, match=r"a\.zarr is not finished"):
        dl.open_dataset(store)
    with pytest.raises(dl.StoreError, match="is not finished"):
        dl.open_dataset(wip_path(store))
    assert dl.ingest(tmp_path / "d.npz", store, chunks=(200, 200)).shape == (4000, 200)


def test_an_existing_store_is_refused_without_overwrite_and_replaced_with_it(tmp_path: Path) -> None:
    first = dl.ingest((X, Y), tmp_path / "a.zarr")
    with pytest.raises(dl.StoreError, match="exists already"):
        dl.ingest((X + 1, Y), tmp_path / "a.zarr")
    second = dl.ingest((X + 1, Y), tmp_path / "a.zarr", overwrite=True)
    assert first.fingerprint != second.fingerprint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr"]


def test_bad_values_leave_nothing_behind(tmp_path: Path) -> None:
    bad = X.copy()
    bad[250, 4] = np.inf
    with pytest.raises(dl.InputError, match="row 250, column 4"):
        dl.ingest((bad, Y), tmp_path / "a.zarr", chunks=(50, 20))
    assert list(tmp_path.iterdir()) == []


def chunk_files(store: Path, member: str) -> list[Path]:
    return sorted(p for p in (store / member).rglob("*") if p.is_file() and p.name != "zarr.json")


@pytest.mark.parametrize("member", ["X", "y", "fold", "statistics/mean"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_chunk_is_named_by_its_path(member: str, damage: str, tmp_path: Path) -> None:
    dl.ingest((X, Y), tmp_path / "a.zarr", chunks=(100, 20), fold=np.arange(300) % 3)
    victim = chunk_files(tmp_path / "a.zarr", member)[-1]
    content = bytearray(victim.read_bytes())
    if damage == "missing":
        victim.unlink()
    else:
        content[len(content) // 2] ^= 1
        victim.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    with pytest.raises(dl.StoreError, match=str(victim)):
        dl.fit_path(dl.open_dataset(tmp_path / "a.zarr"))


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_sparse_chunk_is_named_by_its_path(damage: str, tmp_path: Path) -> None:
    dl.ingest((sp.csr_array(X * (X > 1)), Y), tmp_path / "a.zarr")
    victim = chunk_files(tmp_path / "a.zarr", "X/data")[0]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 255
    victim.unlink() if damage == "missing" else victim.write_bytes(content)
    with pytest.raises(dl.StoreError, match=str(victim)):
        dl.fit_path(dl.open_dataset(tmp_path / "a.zarr"))


def test_a_truncated_array_is_refused(tmp_path: Path) -> None:
    """By its seal in a store of distlasso, by what does not fit together in a store of another program."""
    for matrix, member, size, message in (
        (X, "y", 200, r"y has shape \(200,\) for 300 rows"),
        (sp.csr_array(X * (X > 1)), "X/data", 10, "truncated"),
    ):
        store = tmp_path / "s.zarr"
        dl.ingest((matrix, Y), store, overwrite=True)
        group = zarr.open_group(store, mode="r+")
        group[member].resize((size,))  # type: ignore[union-attr]
        with pytest.raises(dl.StoreError, match=f"{member}/zarr.json is missing or not as it was written"):
            dl.open_dataset(store)
        del group["statistics"]
        del group.attrs["distlasso"]
        with pytest.raises(dl.StoreError, match=message):
            dl.open_dataset(store)
        shutil.rmtree(store)


def test_what_is_not_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(dl.StoreError, match="no store at"):
        dl.open_dataset(tmp_path / "none.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(dl.StoreError, match="not a zarr group"):
        dl.open_dataset(tmp_path / "folder")
    zarr.create_group(tmp_path / "g.zarr").create_array("Z", shape=(2,), dtype="f8")
    with pytest.raises(dl.StoreError, match="no member `X`"):
        dl.open_dataset(tmp_path / "g.zarr")


def test_a_store_written_by_another_program_is_read_in_place(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "dense.zarr")
    group.create_array("X", data=X.astype(np.float32), chunks=(70, 6))
    group.create_array("y", data=Y)
    matrix = sp.csr_array(X * (X > 1))
    other = zarr.create_group(tmp_path / "sparse.zarr")
    member = other.create_group("X", attributes={"encoding-type": "csr_matrix", "shape": list(matrix.shape)})
    for name in ("data", "indices", "indptr"):
        member.create_array(name, data=getattr(matrix, name))
    other.create_array("y", data=Y)
    for store, given in (("dense", X.astype(np.float32)), ("sparse", matrix)):
        ds = dl.open_dataset(tmp_path / f"{store}.zarr")
        ours, theirs = dl.fit_path(ds, tol=1e-9), dl.fit_path(given, Y, tol=1e-9)
        np.testing.assert_allclose(ours.coef.toarray(), theirs.coef.toarray(), atol=1e-6)


def test_nan_in_a_store_written_by_another_program_is_found(tmp_path: Path) -> None:
    bad = X.copy()
    bad[123, 9] = np.nan
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", data=bad, chunks=(70, 6))
    group.create_array("y", data=Y)
    with pytest.raises(dl.InputError, match="row 123, column 9"):
        dl.fit_path(dl.open_dataset(tmp_path / "a.zarr"))


def test_statistics_in_the_store_are_those_of_the_data(tmp_path: Path) -> None:
    weight = rng.uniform(0, 2, 300)
    ds = dl.ingest((X + 1e6, Y), tmp_path / "a.zarr", weight=weight, chunks=(37, 6))
    s = ds.statistics
    assert s is not None
    w = weight / weight.sum()
    far = X + 1e6
    mean = w @ (far - 1e6)
    np.testing.assert_allclose(s.mean - 1e6, mean, atol=1e-9)
    np.testing.assert_allclose(s.sd, np.sqrt(w @ (far - 1e6 - mean) ** 2), rtol=1e-9)
    assert merge(s, s).n_rows == 600


def test_a_file_larger_than_the_memory_budget_is_ingested_within_it(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.zeros((1, 1)))
    big = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=np.float64, shape=(120_000, 300))
    for start in range(0, 120_000, 20_000):
        big[start : start + 20_000] = rng.standard_normal((20_000, 300))
    big.flush()
    del big
    code = (
        "import sys, re, pathlib, numpy as np, distlasso as dl\n"
        "def anonymous(): return int(re.search(r'RssAnon:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
        "seen = []\n"
        "def listen(e): seen.append(anonymous())\n"
        "dl.ingest((np.eye(4), np.arange(4.0)), sys.argv[2] + 'warm')\n"
        "before = anonymous()\n"
        "dl.ingest(sys.argv[1], sys.argv[2], target=np.zeros(120000), memory='60MB', on_event=listen)\n"
        "print((max(seen) - before) / 1024)"
    )
    # Pages of the mapped file are the system's to keep or drop: only memory of the process's own is bounded.
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "X.npy", tmp_path / "a.zarr"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 60
    assert dl.open_dataset(tmp_path / "a.zarr").shape == (120_000, 300)


def test_a_chunk_beyond_the_memory_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(dl.ResourceError, match=r"300 x 20 values takes 0 MB|pass smaller `chunks`"):
        dl.ingest((X, Y), tmp_path / "a.zarr", chunks=(300, 20), memory=10_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "coo"}, "encoding='coo'"),
        ({"missing": "guess"}, "missing='guess'"),
        ({"memory": "lots"}, "memory='lots'"),
        ({"chunks": (0, 3)}, "must be positive"),
        ({"chunks": 5}, "is not"),
        ({"dtype": "float16"}, "cannot be stored"),
        ({"dtype": "int8"}, "cannot hold"),
        ({"dtype": "float32", "encoding": "csr"}, "dtype=float32 is for dense stores"),
        ({"target": "price"}, "names a column"),
        ({"weight": np.zeros(300)}, "zero in every row"),
    ],
)
def test_options_that_cannot_be_used_are_named(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = X if "target" in options else (X, Y)
    with pytest.raises(dl.InputError, match=message):
        dl.ingest(source, tmp_path / "a.zarr", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_clear_error_and_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = ingest_module._Writer._put, []

    def full(self: Any, *args: Any) -> None:
        calls.append(args)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        real(self, *args)

    monkeypatch.setattr(ingest_module._Writer, "_put", full)
    with pytest.raises(dl.ResourceError, match=r"disk .* is full"):
        dl.ingest((X, Y), tmp_path / "a.zarr", chunks=(50, 20))
    assert not (tmp_path / "a.zarr").exists()
    monkeypatch.undo()
    assert dl.ingest((X, Y), tmp_path / "a.zarr", chunks=(50, 20)).shape == (300, 20)


def every_file(root: Path) -> list[Path]:
    return sorted(file for file in root.rglob("*") if file.is_file())


@pytest.mark.parametrize("kind", ["int8", "csr"])
def test_damage_to_any_file_of_a_store_is_an_error_that_names_it(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 3, (30, 6)), rng.standard_normal(30)
    matrix = X.astype(np.int8) if kind == "int8" else sp.csr_array(X.astype(np.float64))
    dl.ingest((matrix, y), tmp_path / "s.zarr", weight=rng.uniform(1, 2, 30))

    def use() -> None:
        dl.fit_path(dl.open_dataset(tmp_path / "s.zarr"), n_lambdas=3, runtime="serial")

    use()
    for file in every_file(tmp_path / "s.zarr"):
        content = file.read_bytes()
        flips = [bytearray(content) for _ in range(3)]
        for flipped in flips:
            flipped[rng.integers(len(content))] ^= 1 << rng.integers(7)
        for damaged in (None, b"", content[:-1], content + b"x", *flips):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            with pytest.raises(dl.StoreError) as caught:
                use()
            assert "\n" not in str(caught.value)
            file.write_bytes(content)
    use()


def test_a_map_of_narrow_integers_is_widened_a_piece_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distlasso.data import array_source

    np.save(tmp_path / "x.npy", np.arange(6000, dtype=np.int32).reshape(1000, 6) % 17)
    cast: list[int] = []
    monkeypatch.setattr(array_source, "to_matrix", None, raising=False)
    source = array_source.from_arrays(np.load(tmp_path / "x.npy", mmap_mode="r"), None, array_source.Options())
    for batch in source.batches(4800):
        cast.append(batch.X.shape[0])
        assert batch.X.dtype == np.float64
    assert sum(cast) == 1000
    assert max(cast) <= 100


def test_a_store_of_an_earlier_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    dl.ingest((X, Y), tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    group.attrs["distlasso"] = group.attrs["distlasso"] | {"format": 1}  # type: ignore[operator]
    with pytest.raises(dl.StoreError, match=r"format 1, this version reads format 2: ingest the data again"):
        dl.open_dataset(tmp_path / "a.zarr")
