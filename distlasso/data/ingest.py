"""``ingest``: from any source to a finished store, within a memory budget, resumable, never half-done.

Plan the layout, write rectangle by rectangle under a name that ends in ``.wip``, note the progress after each, take the
feature statistics on the way, and rename at the end. Killed half-way, the same call continues; bad data removes what
was written. Read next: ``chunks.py`` (the plan), ``store.py`` (the layout on disk), ``sources.py`` (what goes in).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import zarr
from numpy.typing import NDArray

from distlasso.data.batches import Batch
from distlasso.data.chunks import Layout, parse_bytes, plan_layout
from distlasso.data.dataset import Dataset, as_block
from distlasso.data.missing import spelled
from distlasso.data.npz import DAMAGE, read_npz
from distlasso.data.seal import sealed
from distlasso.data.sources import Source, open_source
from distlasso.data.statistics import ARRAYS, SCALARS, Statistics, hstack, merge
from distlasso.data.store import FORMAT, create_array, open_dataset, wip_path, write_names, write_statistics
from distlasso.errors import InputError, ResourceError, StoreError
from distlasso.events import IngestProgress, Listener, ignore
from distlasso.inside import inside

_ROW_CHUNK = 1 << 17
_ENTRIES = 1 << 20
_PROGRESS = "progress.npz"


def ingest(
    source: Any,
    store: str | os.PathLike[str],
    *,
    target: Any = None,
    weight: Any = None,
    offset: Any = None,
    fold: Any = None,
    one_hot: Any = None,
    drop: Any = None,
    encoding: str = "auto",
    dtype: Any = None,
    chunks: tuple[int, int] | None = None,
    missing: str = "error",
    missing_value: Any = None,
    memory: str | int = "1GB",
    overwrite: bool = False,
    on_event: Listener | None = None,
) -> Dataset:
    """Write a source to a store and open it.

    Parameters
    ----------
    source : (X, y), array, scipy.sparse matrix, or path
        Paths: ``.npy``, ``.npz``, svmlight, CSV, Parquet (a file or a folder). Text columns become one-hot columns of a
        sparse matrix, named ``column=level``. What pandas notes as the index of a Parquet file is left out, unless named below.
    store : path
        Where the store goes; its folder must exist.
    target, weight, offset, fold : str or array, optional
        Column names of a table, or arrays for arrays. Folds are whole numbers, -1 where a row always trains,
        or in a table text, whose values in sorted order are folds 0, 1, ...: ``cross_validate`` uses them unless it is
        given others.
    one_hot : list of str, optional
        Further columns of a table to encode as categories.
    drop : list of str, optional
        Columns of a table to leave out: dates, ids, other targets. They are not read, whatever they hold.
    encoding : {"auto", "dense", "csr", "csc"}
        What is written; ``auto`` keeps what the source is.
    dtype : dtype, optional
        Of dense values: float64, float32, int8 or uint8. Sparse ones are float64, and any other is refused for them.
    chunks : (int, int), optional
        Rows and columns of a chunk; planned from shape, density and memory if not given.
    missing : {"error", "mean", "drop", "keep"}
        What happens to missing values: refuse, put the mean of the column, drop the row, or keep them as missing in a
        dense store: every fit then puts the mean there, over its own rows and weights, and integer codes stay as they are.
    missing_value : number, optional
        With ``missing="keep"``: value that means missing in the source, besides NaN. It is what an integer store keeps;
        a store of floats keeps NaN.
    memory : str or int
        Bytes of values that ingest may hold at once.
    overwrite : bool
        Replace an existing store, once the new one is finished.
    on_event : callable, optional
        Receives ``IngestProgress``.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        For data or options that cannot be used, with row and column named.
    StoreError
        If the store exists already or cannot be written.
    ResourceError
        If disk or memory does not suffice.
    """
    final = _place(store, overwrite=overwrite)
    opened = open_source(source, target=target, weight=weight, offset=offset, fold=fold, one_hot=one_hot,
                         drop=drop, dtype=dtype, missing=missing, missing_value=missing_value)  # fmt: skip
    budget = parse_bytes(memory)
    layout = plan_layout(opened.shape, opened.dtype.itemsize, sparse=opened.sparse, nnz=opened.nnz, encoding=encoding,
                         chunks=chunks, memory=budget)  # fmt: skip
    if opened.missing_value is not None and layout.encoding != "dense":
        raise InputError(f"missing='keep' is for dense stores: leave out encoding={encoding!r}, or use missing='mean'")
    if layout.encoding != "dense" and dtype is not None and opened.dtype != np.float64:
        raise InputError(f"dtype={opened.dtype.name} is for dense stores: leave out encoding={encoding!r}, or dtype")
    wip = wip_path(final)
    try:
        writer = _Writer.open(wip, opened, layout, explicit=chunks is not None)
        writer.write(budget, on_event or ignore)
        writer.finish(final)
    except InputError:
        shutil.rmtree(wip, ignore_errors=True)
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"the disk of {final} is full: free some space and run the same ingest again to continue it"
            ) from error
        raise StoreError(f"cannot write {final}: {error.strerror or error}") from error
    return open_dataset(final)


def _place(store: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Where the store goes, links followed; what is not a store is never replaced."""
    name = os.fspath(store)
    if "://" in name:
        raise StoreError(f"cannot write {name}: stores are written to folders of this machine or of a shared file system")
    try:
        final = Path(os.path.realpath(name))
        exists = final.exists()
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot write {name!r}: {getattr(error, 'strerror', None) or error}") from error
    if exists and not overwrite:
        raise StoreError(f"{name} exists already: choose another name or pass overwrite (--overwrite)")
    if exists and not (final / "zarr.json").is_file():
        raise StoreError(f"{name} is not a store, so it is not overwritten: choose another name, or remove it yourself")
    if not final.parent.is_dir():
        raise StoreError(f"cannot write {name}: the folder {final.parent} does not exist")
    if not os.access(final.parent, os.W_OK):
        raise StoreError(f"cannot write {name}: the folder {final.parent} is read-only")
    return final


@dataclass(slots=True)
class _Progress:
    """What has been written: enough to go on after a death."""

    identity: str
    done: int = 0  # rectangles
    entries: int = 0  # stored entries of a sparse matrix
    digests: list[str] = field(default_factory=list)
    statistics: list[Statistics] = field(default_factory=list)  # one a range of columns

    def save(self, folder: Path) -> None:
        """Write and rename, so that it is always whole."""
        arrays = {f"{k}.{name}": getattr(s, name) for k, s in enumerate(self.statistics) for name in ARRAYS}
        scalars = [{name: getattr(s, name) for name in SCALARS} for s in self.statistics]
        rest = {"identity": self.identity, "done": self.done, "entries": self.entries, "digests": self.digests}
        temporary = folder / f".{_PROGRESS}"
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, about=json.dumps(rest | {"scalars": scalars}), **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / _PROGRESS)

    @classmethod
    def load(cls, folder: Path, identity: str) -> _Progress | None:
        """Read what an earlier run left, if it wrote the same thing."""
        try:
            saved: dict[str, Any] = read_npz(inside(folder, _PROGRESS))
            about = json.loads(str(saved["about"]))
            statistics = [
                Statistics(**{name: saved[f"{k}.{name}"] for name in ARRAYS}, **scalars)
                for k, scalars in enumerate(about["scalars"])
            ]
            if about["identity"] != identity:
                return None
        except (OSError, StoreError, *DAMAGE):
            return None
        return cls(identity, about["done"], about["entries"], about["digests"], statistics)


@dataclass(slots=True)
class _Writer:
    """Writes the rectangles of a layout into a group."""

    folder: Path
    group: Any
    source: Source
    layout: Layout
    progress: _Progress
    grid: dict[str, list[int]]

    @classmethod
    def open(cls, folder: Path, source: Source, layout: Layout, *, explicit: bool) -> _Writer:
        """Continue an unfinished store of the same source and layout, or begin anew."""
        identity = hashlib.blake2b(repr((source.fingerprint, layout)).encode(), digest_size=16).hexdigest()
        progress = _Progress.load(folder, identity)
        grid: dict[str, list[int]] = {}
        if explicit and layout.encoding != "dense":
            (n, p), rows, columns = source.shape, layout.chunk_rows, layout.chunk_columns
            grid = {"rows": [*range(0, n, rows), n], "columns": [*range(0, p, columns), p]}
        if progress is not None:
            return cls(folder, zarr.open_group(folder, mode="r+"), source, layout, progress, grid)
        shutil.rmtree(folder, ignore_errors=True)
        writer = cls(folder, zarr.create_group(folder), source, layout, _Progress(identity), grid)
        writer._create()
        writer.progress.save(folder)
        return writer

    def _create(self) -> None:
        self.group.attrs["distlasso"] = {"format": FORMAT, "finished": False}
        (n, p), layout = self.source.shape, self.layout
        if layout.encoding == "dense":
            chunks = (layout.chunk_rows, layout.chunk_columns)
            X = create_array(self.group, "X", (n, p), chunks, self.source.dtype, by_columns=layout.by_columns)
            if self.source.missing_value is not None:
                X.attrs["missing_value"] = spelled(self.source.missing_value)
            return
        X = self.group.create_group("X")
        X.attrs.update({"encoding-type": f"{layout.encoding}_matrix", "encoding-version": "0.1.0", "shape": [n, p]})
        nnz, major = self.source.nnz, n if layout.encoding == "csr" else p
        create_array(X, "data", (nnz,), (min(nnz, _ENTRIES),), np.float64)
        create_array(X, "indices", (nnz,), (min(nnz, _ENTRIES),), np.int32)
        create_array(X, "indptr", (major + 1,), (min(major + 1, _ENTRIES),), np.int64)[0:1] = 0

    def write(self, budget: int, listener: Listener) -> None:
        """Write what is still missing; the progress is noted whenever enough has been written to be worth it."""
        progress, (n, p) = self.progress, self.source.shape
        units = self.layout.units(n, p, progress.done)
        written, unsaved = 0, 0
        batches: Iterator[Batch] = iter(())
        group: tuple[int, int] | None = None
        for r0, r1, c0, c1 in units:
            if group != (c0, c1):
                columns = None if (c0, c1) == (0, p) else (c0, c1)
                batches = _rows(self.source.batches(max(budget // 16, 1 << 16), columns, r0), self.layout.unit_rows, n - r0)
                group = (c0, c1)
            size = self._write_unit(next(batches), r0, r1, c0, c1)
            progress.done += 1
            written, unsaved = written + size, unsaved + size
            if unsaved >= 8 * len(ARRAYS) * 8 * p:
                progress.save(self.folder)
                unsaved = 0
            listener(IngestProgress(r1, written))
        progress.save(self.folder)

    def _write_unit(self, batch: Batch, r0: int, r1: int, c0: int, c1: int) -> int:
        y = np.zeros(r1 - r0) if batch.y is None else batch.y
        weight = np.ones(r1 - r0) if batch.weight is None else batch.weight
        X = batch.X if self.layout.encoding != "dense" or not sp.issparse(batch.X) else batch.X.toarray()
        if self.layout.encoding == "dense":
            X = np.asarray(X, dtype=self.source.dtype, order="F" if self.layout.by_columns else "C")
        else:
            X = sp.csr_array(X) if self.layout.encoding == "csr" else sp.csc_array(X)
            X.sort_indices()
        block = as_block(X, self.source.missing_value)
        self._check(block.first_not_finite(), r0, c0)
        found = block.moments(weight, y if batch.offset is None else y - batch.offset)
        self._put(X, r0, r1, c0, c1)
        if c0 == 0:
            for name, values in (("y", batch.y), ("sample_weight", batch.weight), ("offset", batch.offset), ("fold", batch.fold)):
                if values is not None:
                    self._vector(name)[r0:r1] = values
        statistics, digest = self.progress.statistics, hashlib.blake2b(digest_size=16)
        if r0 == 0:
            statistics.append(found)
        else:
            statistics[-1] = merge(statistics[-1], found)
        stored = (X.data, X.indices, X.indptr) if sp.issparse(X) else (X.T if self.layout.by_columns else X,)
        for values in (y, weight, *stored):
            digest.update(np.ascontiguousarray(values).data.cast("B"))
        for role, own in (("offset", batch.offset), ("fold", batch.fold)):
            if own is not None:
                digest.update(role.encode() + own.tobytes())
        self.progress.digests.append(digest.hexdigest())
        return block.nbytes

    def _check(self, bad: tuple[int, int] | None, r0: int, c0: int) -> None:
        if bad is None:
            return
        row, column = r0 + bad[0], c0 + bad[1]
        names = self.source.feature_names
        name = f" ({names[column]})" if names else ""
        advice = "clean it, or ingest with missing='mean', 'drop' or 'keep'"
        raise InputError(f"X is NaN or infinite in row {row}, column {column}{name}: {advice}")

    def _put(self, X: Any, r0: int, r1: int, c0: int, c1: int) -> None:
        if self.layout.encoding == "dense":
            self.group["X"][r0:r1, c0:c1] = X
            return
        start = self.progress.entries
        stop = start + X.nnz
        member, (a, b) = self.group["X"], (r0, r1) if self.layout.encoding == "csr" else (c0, c1)
        if stop > member["data"].shape[0]:
            raise InputError("the source changed while it was read: it has more stored entries than at first")
        member["data"][start:stop] = X.data.astype(np.float64, copy=False)
        member["indices"][start:stop] = X.indices.astype(np.int32, copy=False)
        member["indptr"][a + 1 : b + 1] = X.indptr[1:].astype(np.int64) + start
        self.progress.entries = stop

    def _vector(self, name: str) -> Any:
        """Array over the rows; made when the first values arrive."""
        found = self.group.get(name)
        if found is not None:
            return found
        n = self.source.shape[0]
        return create_array(self.group, name, (n,), (min(n, _ROW_CHUNK),), np.float64)

    def finish(self, final: Path) -> None:
        """Write names and statistics, mark the store as finished, and give it its final name."""
        statistics = hstack(self.progress.statistics)
        if statistics.weight <= 0:
            raise InputError("sample_weight is zero in every row: give at least one row a positive weight")
        if self.layout.encoding != "dense":
            for name in ("data", "indices"):  # a dense source announces its zeros too
                self.group["X"][name].resize((self.progress.entries,))
        code = self.source.missing_value
        about = [*self.progress.digests, "" if code is None else f"missing {spelled(code)}"]
        fingerprint = hashlib.blake2b("".join(about).encode(), digest_size=16).hexdigest()
        if self.source.feature_names is not None:
            if "feature_names" in self.group:
                del self.group["feature_names"]
            write_names(self.group, self.source.feature_names)
        write_statistics(self.group, statistics, fingerprint)
        own = {"format": FORMAT, "finished": True, "fingerprint": fingerprint, "grid": self.grid}
        self.group.attrs["distlasso"] = sealed(self.folder, own)
        (self.folder / _PROGRESS).unlink(missing_ok=True)
        old = final.with_name(f"{final.name}.old")
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
        self.folder.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def _rows(batches: Iterator[Batch], height: int, total: int) -> Iterator[Batch]:
    """Re-cut batches so that each has ``height`` rows (the last one what is left)."""
    held: list[Batch] = []
    have = sent = 0
    for batch in batches:
        held.append(batch)
        have += batch.X.shape[0]
        while have >= min(height, total - sent) > 0:
            take = min(height, total - sent)
            whole = _join(held)
            yield _cut(whole, 0, take)
            held, have, sent = [_cut(whole, take, have)] if have > take else [], have - take, sent + take
    if sent < total:
        raise InputError(f"the source changed while it was read: {total - sent} rows are missing at its end")


def _join(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    sparse = sp.issparse(parts[0].X)
    X = sp.vstack([b.X for b in parts], format="csr") if sparse else np.concatenate([b.X for b in parts])

    def rows(name: str) -> NDArray[np.float64] | None:
        values = [getattr(b, name) for b in parts]
        return None if values[0] is None else np.concatenate(values)

    return Batch(X, rows("y"), rows("weight"), rows("offset"), rows("fold"))


def _cut(batch: Batch, start: int, stop: int) -> Batch:
    def rows(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        return None if values is None else values[start:stop]

    return Batch(batch.X[start:stop], rows(batch.y), rows(batch.weight), rows(batch.offset), rows(batch.fold))
