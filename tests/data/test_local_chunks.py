"""Local chunks are read without zarr, give the same values, and leave every error to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import distlasso as dl
from distlasso.data import store
from distlasso.errors import StoreError

X = np.random.default_rng(0).standard_normal((50, 7))
SHAPE = (16, 4)  # of chunks: ragged at both ends


def written(folder: Path, dtype: str = "float64", **options: Any) -> Path:
    """A store as another program may write it."""
    group = zarr.create_group(folder / "X.zarr")
    array = group.create_array("X", shape=X.shape, chunks=SHAPE, dtype=dtype, **options)
    array[:] = X.astype(dtype)
    group.create_array("y", shape=(50,), dtype="float64")[:] = X[:, 0]
    return folder / "X.zarr"


def tiles(dataset: dl.Dataset) -> np.ndarray[Any, Any]:
    """All tiles put together."""
    rows, columns = dataset.row_bounds.size - 1, dataset.col_bounds.size - 1
    widths = np.diff(dataset.col_bounds)
    got = [[dataset.tile(i, j).gather(np.arange(widths[j])) for j in range(columns)] for i in range(rows)]
    return np.block(got)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was read by zarr."""
    read, calls = store.read_array, []

    def counting(array: Any, selection: Any, *, strict: bool) -> Any:
        if array.ndim == 2:
            calls.append(selection)
        return read(array, selection, strict=strict)

    monkeypatch.setattr(store, "read_array", counting)
    return calls


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "uint8"])
@pytest.mark.parametrize("packed", [None, zarr.codecs.BloscCodec(), zarr.codecs.ZstdCodec()], ids=["bare", "blosc", "zstd"])
@pytest.mark.parametrize("checked", [False, True], ids=["", "crc32c"])
@pytest.mark.parametrize("filters", [None, zarr.codecs.TransposeCodec(order=(1, 0))], ids=["by rows", "by columns"])
def test_local_chunks_are_read_without_zarr(
    tmp_path: Path, counted: list[object], dtype: str, packed: Any, checked: bool, filters: Any
) -> None:  # fmt: skip
    codecs = ([] if packed is None else [packed]) + [zarr.codecs.Crc32cCodec()] * checked
    options = {"compressors": codecs} | ({} if filters is None else {"filters": filters})
    found = tiles(dl.open_dataset(written(tmp_path, dtype, **options)))
    assert found.dtype == dtype and np.array_equal(found, X.astype(dtype)) and not counted


@pytest.mark.parametrize("dtype", ["float64", "int8"], ids=["plain", "compressed"])
def test_chunks_of_wide_data_hold_column_by_column(tmp_path: Path, dtype: str) -> None:
    """They are worked on so, and read so, without being turned round."""
    wide, chunks = np.random.default_rng(0).integers(0, 3, (11, 40)).astype(dtype), (11, 16)
    dataset = dl.ingest((wide, wide[:, 0]), tmp_path / "wide.zarr", chunks=chunks)
    tall = dl.ingest((wide.T, wide.T[:, 0]), tmp_path / "tall.zarr", chunks=chunks[::-1])
    assert np.array_equal(tiles(dataset), wide) and np.array_equal(tiles(tall), wide.T)
    assert dataset.reader.read(0, 2)._stored.flags.f_contiguous  # type: ignore[attr-defined]
    assert tall.reader.read(2, 0)._stored.flags.c_contiguous  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "options",
    [{"compressors": zarr.codecs.GzipCodec()}, {"shards": (32, 8), "compressors": None},
     {"serializer": zarr.codecs.BytesCodec(endian="big")},
     {"filters": zarr.codecs.TransposeCodec(order=(1, 0)), "compressors": zarr.codecs.GzipCodec()}],
    ids=["gzip", "sharded", "big-endian", "gzip by columns"],
)  # fmt: skip
def test_all_other_chunks_are_left_to_zarr(tmp_path: Path, counted: list[object], options: dict[str, Any]) -> None:
    assert np.array_equal(tiles(dl.open_dataset(written(tmp_path, **options))), X) and counted


def test_a_chunk_that_was_not_written_is_zarrs_business(tmp_path: Path) -> None:
    where = written(tmp_path, compressors=None)
    (where / "X" / "c" / "1" / "0").unlink()
    expected = X.copy()
    expected[16:32, :4] = 0.0
    assert np.array_equal(tiles(dl.open_dataset(where)), expected)


@pytest.mark.parametrize("dtype", ["float64", "int8"], ids=["plain", "blosc"])
def test_a_flipped_bit_is_noticed_and_its_chunk_named(tmp_path: Path, dtype: str) -> None:
    dl.ingest((X.astype(dtype), X[:, 0]), tmp_path / "own.zarr", chunks=SHAPE)
    dataset, chunk = dl.open_dataset(tmp_path / "own.zarr"), tmp_path / "own.zarr" / "X" / "c" / "1" / "0"
    how = dataset.reader.how  # type: ignore[attr-defined]
    assert how.read(str(chunk), SHAPE, np.dtype(dtype)) is not None
    content = bytearray(chunk.read_bytes())
    content[30] ^= 1
    chunk.write_bytes(content)
    assert how.read(str(chunk), SHAPE, np.dtype(dtype)) is None
    with pytest.raises(StoreError, match="X/c/1/0"):
        tiles(dataset)


@pytest.mark.parametrize("packed", [zarr.codecs.BloscCodec(), zarr.codecs.ZstdCodec()], ids=["blosc", "zstd"])
@pytest.mark.parametrize("harm", ["other size", "cut short"])
def test_a_compressed_chunk_that_is_not_what_its_array_says_gives_no_values(tmp_path: Path, packed: Any, harm: str) -> None:
    where = written(tmp_path, compressors=[packed])
    other = zarr.create_array(tmp_path / "other.zarr", shape=(3, 4), chunks=(3, 4), dtype="float64", compressors=[packed])
    other[:] = 1.0
    good = (where / "X" / "c" / "1" / "0").read_bytes()
    other_size = (tmp_path / "other.zarr" / "c" / "0" / "0").read_bytes()
    (where / "X" / "c" / "1" / "0").write_bytes(other_size if harm == "other size" else good[:-9])
    with pytest.raises(StoreError, match="X/c/1/0"):
        tiles(dl.open_dataset(where))
