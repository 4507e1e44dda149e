"""Sources: every kind of input gives the same rows, whatever the batches, and bad input is named."""

from __future__ import annotations

import gzip
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from distlasso.data.sources import Source, open_source
from distlasso.data.store import open_dataset
from distlasso.errors import InputError, StoreError

X = np.arange(12.0).reshape(4, 3) + 1
Y = np.array([1.0, -1.0, 2.0, 0.5])
LARGE = 1 << 30


def put(value: float, row: int, column: int) -> Any:
    changed = X.copy()
    changed[row, column] = value
    return changed


def read(source: Source, budget: int = LARGE, **options: Any) -> tuple[Any, Any]:
    """All rows, dense, and all targets."""
    batches = list(source.batches(budget, **options))
    rows = [b.X.toarray() if sp.issparse(b.X) else b.X for b in batches]
    return np.vstack(rows), None if batches[0].y is None else np.concatenate([b.y for b in batches])


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def opened(tmp_path: Path, text: str, name: str = "a.csv", **options: Any) -> Source:
    return open_source(write(tmp_path / name, text), **{"target": "y", **options})


def parquet(tmp_path: Path, columns: dict[str, Any], **options: Any) -> Source:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    return open_source(tmp_path / "a.parquet", **{"target": "y", **options})


# Arrays


@pytest.mark.parametrize("budget", [1, 50, LARGE])
@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sp.csr_array, sp.csc_array, sp.coo_array])
def test_arrays_come_back_in_order_at_any_budget(kind: Any, budget: int) -> None:
    got, y = read(open_source((kind(X), Y)), budget)
    np.testing.assert_array_equal(got, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_a_range_of_rows_and_columns_of_arrays(kind: Any) -> None:
    got, y = read(open_source((kind(X), Y)), 30, columns=(1, 3), start=2)
    np.testing.assert_array_equal(got, X[2:, 1:3])
    np.testing.assert_array_equal(y, Y[2:])


def test_dense_batches_are_in_row_order_in_memory() -> None:
    assert all(b.X.flags.c_contiguous for b in open_source((np.asfortranarray(X), Y)).batches(50, (0, 2)))


def test_sparse_batches_are_sorted_float64_with_int32_columns() -> None:
    wide = (np.array([1, 2, 3]), np.array([2, 0, 0], dtype=np.int64), np.array([0, 3], dtype=np.int64))
    (batch,) = open_source((sp.csr_array(wide, shape=(1, 3)), [1.0])).batches(LARGE)
    assert (batch.X.dtype, batch.X.indices.dtype) == (np.float64, np.int32)
    np.testing.assert_array_equal(batch.X.indices, [0, 2])
    np.testing.assert_array_equal(batch.X.toarray(), [[5, 0, 1]])


@pytest.mark.parametrize(
    ("given", "kept"), [("float32", "float32"), ("int8", "int8"), ("bool", "int8"), ("int64", "float64")]
)
def test_dtypes_of_arrays_stay_where_they_can_be_stored(given: str, kept: str) -> None:
    assert open_source(X.astype(given)).dtype == np.dtype(kept)


def test_a_dtype_that_cannot_hold_the_values_is_refused() -> None:
    with pytest.raises(InputError, match="dtype=int8 cannot hold"):
        open_source((X + 0.5, Y), dtype="int8")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.csc_array])
def test_nan_in_an_array_is_an_error_with_row_and_column_and_advice(kind: Any) -> None:
    with pytest.raises(InputError, match=r"NaN in row 2, column 1: .*missing='mean', 'drop' or 'keep'"):
        open_source((kind(put(np.nan, 2, 1)), Y))


@pytest.mark.parametrize("missing", ["error", "mean", "drop"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_infinity_in_an_array_is_an_error_whatever_missing_says(kind: Any, missing: str) -> None:
    with pytest.raises(InputError, match="infinite in row 2, column 1"):
        open_source((kind(put(-np.inf, 2, 1)), Y), missing=missing)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.csc_array])
def test_a_hole_in_an_array_gets_the_mean_of_the_other_rows(kind: Any) -> None:
    got, _ = read(open_source((kind(put(np.nan, 2, 1)), Y), missing="mean"), 30)
    np.testing.assert_allclose(got, put(X[[0, 1, 3], 1].mean(), 2, 1))


def test_a_column_of_holes_has_no_mean() -> None:
    with pytest.raises(InputError, match="no value at all in column 1"):
        open_source((X * [1, np.nan, 1], Y), missing="mean")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_rows_with_a_hole_anywhere_are_dropped_with_all_that_belongs_to_them(kind: Any) -> None:
    Z, y, weight, offset, fold = np.tile(put(np.nan, 2, 1), (2, 1)), np.tile(Y, 2), np.ones(8), np.arange(8.0), np.arange(8.0)
    y[0], weight[3], fold[4:8] = np.nan, np.nan, np.nan
    source = open_source((kind(Z), y), weight=weight, offset=offset, fold=fold, missing="drop")
    (batch,) = source.batches(LARGE)
    assert source.shape == (1, 3)
    np.testing.assert_array_equal(batch.X.toarray() if sp.issparse(batch.X) else batch.X, X[[1]])
    assert [values.tolist() for values in (batch.y, batch.weight, batch.offset, batch.fold)] == [[-1.0], [1.0], [1.0], [1.0]]


def test_dropping_every_row_is_an_error() -> None:
    with pytest.raises(InputError, match="every row"):
        open_source((X * np.nan, Y), missing="drop")


@pytest.mark.parametrize("missing", ["error", "mean"])
def test_a_missing_target_of_an_array_is_an_error_unless_dropped(missing: str) -> None:
    with pytest.raises(InputError, match="y has nan in row 1"):
        open_source((X, np.where(np.arange(4) == 1, np.nan, Y)), missing=missing)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ((X, Y[:2]), {}, "y has 2 values for 4 rows"),
        ((X, Y), {"weight": [1, 2]}, "2 values for 4 rows"),
        ((X, Y), {"offset": [1, 2]}, "2 values for 4 rows"),
        ((X, Y), {"fold": [1, 2]}, "2 values for 4 rows"),
        ((X, Y), {"fold": [1, 2, np.nan, 1]}, "fold has nan in row 2"),
        ((X, Y), {"fold": [1, 0.5, 1, 1]}, "fold has 0.5 in row 1: folds are whole numbers"),
        ((X, Y), {"fold": "f"}, "names a column"),
        ((put(np.nan, 0, 0), Y[:2]), {"missing": "drop"}, "y has 2 values for 4 rows"),
        ((X, Y), {"weight": [1, -1, 1, 1]}, "-1 in row 1"),
        ((X, Y), {"weight": np.zeros(4)}, "zero in every row"),
        ((X, Y), {"missing": "zero"}, "missing='zero' is not known"),
        ((X, Y), {"dtype": "float16"}, "cannot be stored"),
        ((X, Y), {"dtype": "decimal"}, "dtype='decimal' is not known"),
        ((X, Y), {"weight": "w"}, "names a column"),
        ((X, Y), {"one_hot": ["a"]}, "one_hot names columns"),
        ((X, Y), {"drop": ["a"]}, "drop names columns"),
        ((sp.csr_array(X), Y), {"dtype": "int8"}, "dtype=int8 is for dense values, but X is sparse"),
        ((X, Y), {"drop": 3}, "drop=3 is not a list of column names"),
        ((X, Y), {"target": Y}, "given twice"),
        (3, {}, "cannot read a int"),
    ],
)
def test_arrays_and_options_that_do_not_fit_are_refused(source: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_source(source, **options)
    assert "\n" not in str(caught.value)


def test_fingerprints_tell_sources_and_options_apart(tmp_path: Path) -> None:
    svm = write(tmp_path / "a.svm", "1 1:2\n0 2:1\n")
    table = write(tmp_path / "a.csv", "a,b,y\n1,2,3\n4,5,6\n")
    prints = [
        open_source((X, Y)).fingerprint, open_source((X, -Y)).fingerprint, open_source((put(0, 0, 0), Y)).fingerprint,
        open_source((X, Y), weight=Y**2).fingerprint, open_source(svm).fingerprint,
        open_source(svm, weight=[1, 2]).fingerprint, open_source(table, target="y").fingerprint,
        open_source(table, target="y", one_hot="a").fingerprint,
    ]  # fmt: skip
    assert len(set(prints)) == len(prints)
    assert prints[0] == open_source((X.copy(), Y)).fingerprint


# Files of arrays


def test_npy_is_mapped_and_takes_its_target_from_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    got, y = read(open_source(tmp_path / "a.npy", target=Y), 50)
    np.testing.assert_array_equal(got, X)
    np.testing.assert_array_equal(y, Y)


def test_npz_of_named_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=X, y=Y, sample_weight=Y**2, offset=-Y, fold=2 * Y // 1)
    (batch,) = open_source(tmp_path / "a.npz").batches(LARGE)
    for got, expected in ((batch.X, X), (batch.y, Y), (batch.weight, Y**2), (batch.offset, -Y), (batch.fold, 2 * Y // 1)):
        np.testing.assert_array_equal(got, expected)


def test_npz_of_a_sparse_matrix(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "a.npz", sp.csr_array(X))
    source = open_source(tmp_path / "a.npz", target=Y)
    assert source.sparse
    np.testing.assert_array_equal(read(source)[0], X)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickles_are_never_loaded(name: str, tmp_path: Path) -> None:
    bad = np.array([{}], dtype=object)
    (np.save(tmp_path / name, bad, allow_pickle=True) if name == "a.npy" else np.savez(tmp_path / name, X=bad))
    with pytest.raises(InputError, match=name):
        open_source(tmp_path / name)
    (tmp_path / name).write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match=name):
        open_source(tmp_path / name)


def test_npz_without_x_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", Z=X)
    with pytest.raises(InputError, match="no array `X`"):
        open_source(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.npy.gz", "a.parquet.gz"])
def test_an_unknown_suffix_is_refused_with_those_that_are_known(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"suffix that is not known.*\.npy.*\.parquet.*\.csv\.gz"):
        opened(tmp_path, "a", name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "a.svm", "a.parquet"])
def test_missing_and_empty_files_are_told_apart(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no file at"):
        open_source(tmp_path / name, target="y")
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="is empty"):
        open_source(tmp_path / name, target="y")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.parquet", "a.csv.gz", "a.svm.gz"])
def test_a_file_of_something_else_is_an_input_error_of_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"hello, world\n")
    with pytest.raises(InputError, match=name) as caught:
        open_source(tmp_path / name, target=None if ".svm" in name else "y")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("a.csv", "write one by `distlasso ingest a.csv a.zarr --target COLUMN` and open that"),
        ("in/a b.tsv.gz", "write one by `distlasso ingest 'in/a b.tsv.gz' 'in/a b.zarr' --target COLUMN` and open that"),
        ("a.parquet", "write one by `distlasso ingest a.parquet a.zarr --target COLUMN` and open that"),
        ("a.npz", "write one by `distlasso ingest a.npz a.zarr` and open that"),
        ("a.svm.gz", "write one by `distlasso ingest a.svm.gz a.zarr` and open that"),
        ("a.parquet.gz", "check the path"),
        ("a.zarr", "check the path"),
    ],
)
def test_a_file_is_no_store_and_the_line_that_makes_one_is_named(
    name: str, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(b"something")
    with pytest.raises(StoreError) as caught:
        open_dataset(name)
    assert str(caught.value) == f"{name} is a file, not a store: {cure}"


# Tables


def test_a_table_of_numbers_is_dense_without_its_roles(tmp_path: Path) -> None:
    source = opened(tmp_path, "a,w,f,y,o,b\n1,1,0,5,.5,2\n3,2,-1,6,0,4\n", weight="w", offset="o", fold="f")
    (batch,) = source.batches(LARGE)
    assert (source.feature_names, source.sparse, source.dtype, source.nnz) == (["a", "b"], False, np.float64, 4)
    np.testing.assert_array_equal(batch.X, [[1, 2], [3, 4]])
    assert (batch.y.tolist(), batch.weight.tolist(), batch.offset.tolist()) == ([5, 6], [1, 2], [0.5, 0])
    assert batch.fold.tolist() == [0, -1]


@pytest.mark.parametrize(("value", "message"), [("", "'f' has a missing value in row 1"), ("0.5", "'f' is not a whole number"),
                                                ("x", "'f' is not numeric")])  # fmt: skip
def test_a_fold_that_is_no_whole_number_is_named_by_its_row(value: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        opened(tmp_path, f"a,f,y\n1,1,5\n2,{value},3\n3,2,6\n", fold="f")


def test_folds_that_are_text_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    names = ["south", "north", "", "west", "north"]
    text = "a,f,y\n" + "".join(f"{k},{name},{k}\n" for k, name in enumerate(names))
    source = opened(tmp_path, text, fold="f", missing="drop")
    assert (source.feature_names, source.sparse) == (["a"], False)
    assert [fold for batch in source.batches(1) for fold in batch.fold.tolist()] == [1, 0, 2, 0]
    categories = pd.DataFrame({"a": [1.0, 2.0], "f": pd.Categorical(["v", "u"], categories=["w", "v", "u"]), "y": [3.0, 4.0]})
    (batch,) = open_source(categories, target="y", fold="f").batches(LARGE)
    assert batch.fold.tolist() == [1, 0]
    with pytest.raises(InputError, match="'f' has a missing value in row 2"):
        opened(tmp_path, text, fold="f", missing="mean")


def test_a_number_among_folds_that_are_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'f' is not numeric, but has '-1' among its names"):
        opened(tmp_path, "a,f,y\n1,u,5\n2,-1,3\n3,v,6\n", fold="f")
    with pytest.raises(InputError, match="'f' is not numeric"):
        parquet(tmp_path, {"a": [1, 2], "f": [["u"], ["v"]], "y": [1, 2]}, fold="f")
    with pytest.raises(InputError, match="'f' is not numeric, but has 1 among its names"):
        open_source(pa.table({"a": [1, 2], "f": pa.array([1, 2]).dictionary_encode(), "y": [1, 2]}), target="y", fold="f")


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a.csv.gz", ","), ("a.tsv", "\t"), ("a.tsv.gz", "\t")])
def test_delimited_text_by_its_suffix(name: str, mark: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(opened(tmp_path, f"a{mark}y\n1{mark}2\n3{mark}4\n", name))[0], [[1], [3]])


def test_text_columns_become_one_hot_in_the_order_of_the_file(tmp_path: Path) -> None:
    source = opened(tmp_path, "b,a,y\nz,0,1\nx,2,2\n")
    assert (source.feature_names, source.sparse, source.nnz) == (["b=x", "b=z", "a"], True, 3)
    np.testing.assert_array_equal(read(source)[0], [[0, 1, 0], [1, 0, 2]])


def test_integer_levels_are_sorted_as_numbers(tmp_path: Path) -> None:
    assert opened(tmp_path, "a,y\n10,1\n9,2\n-1,3\n", one_hot=["a"]).feature_names == ["a=-1", "a=9", "a=10"]


def test_booleans_are_zero_and_one(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(opened(tmp_path, "a,y\ntrue,1\nfalse,2\n"))[0], [[1], [0]])


def test_dates_are_refused_unless_named_in_one_hot(tmp_path: Path) -> None:
    text = "day,y\n2020-01-02,1\n2020-01-01,2\n"
    with pytest.raises(InputError, match=r"'day' holds date32.*drop it, convert it, or name it in one_hot"):
        opened(tmp_path, text)
    assert opened(tmp_path, text, one_hot="day").feature_names == ["day=2020-01-01", "day=2020-01-02"]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_kind_of_text_in_parquet_is_a_category(kind: Any, tmp_path: Path) -> None:
    assert parquet(tmp_path, {"a": pa.array(["v", "u"], kind), "y": [1, 2]}).feature_names == ["a=u", "a=v"]


def test_decimals_are_numbers(tmp_path: Path) -> None:
    values = pa.array([1.5, 2.25]).cast(pa.decimal128(20, 2))
    np.testing.assert_array_equal(read(parquet(tmp_path, {"a": values, "y": [1, 2]}))[0], [[1.5], [2.25]])


@pytest.mark.parametrize("values", [[[1], [2]], [b"u", b"v"]])
def test_what_is_neither_number_nor_text_is_refused_even_as_category(values: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'a' holds"):
        parquet(tmp_path, {"a": values, "y": [1, 2]}, one_hot="a")


def test_float32_tables_stay_float32_and_dtype_overrules(tmp_path: Path) -> None:
    columns = {"a": pa.array([1.0, 2.0], pa.float32()), "y": [1, 2]}
    assert [b.X.dtype for b in parquet(tmp_path, columns).batches(LARGE)] == [np.float32]
    assert parquet(tmp_path, columns, dtype="uint8").dtype == np.uint8
    assert parquet(tmp_path, {**columns, "b": [1.0, 2.0]}).dtype == np.float64


def test_a_dtype_that_cannot_hold_a_column_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'a' has values that dtype=int8 cannot hold"):
        opened(tmp_path, "a,y\n1,2\n300,4\n", dtype="int8")


def test_a_folder_of_parquet_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["t", "v"], "y": [3, 4]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"a": ["u", "v"], "y": [1, 2]}), tmp_path / "1.parquet")
    (tmp_path / "notes.txt").write_text("not a table")
    source = open_source(tmp_path, target="y")
    assert source.feature_names == ["a=t", "a=u", "a=v"]
    np.testing.assert_array_equal(read(source)[1], [1, 2, 3, 4])


def test_a_folder_without_parquet_or_with_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.parquet files"):
        open_source(tmp_path, target="y")
    pq.write_table(pa.table({"a": [1], "y": [3]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [1], "z": [1], "y": [3]}), tmp_path / "2.parquet")
    with pytest.raises(InputError, match=r"2\.parquet has other columns than 1\.parquet: .* z"):
        open_source(tmp_path, target="y")


@pytest.mark.parametrize("kind", [pd.DataFrame, pa.table])
def test_tables_in_memory_are_tables(kind: Any) -> None:
    source = open_source(kind({"a": ["v", "u"], "y": [1.0, 2.0]}), target="y")
    assert source.feature_names == ["a=u", "a=v"]
    np.testing.assert_array_equal(read(source)[0], [[0, 1], [1, 0]])


def test_the_index_that_pandas_wrote_is_no_feature_unless_it_is_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "y": [3.0, 4.0]}, index=[7, 5])
    two = frame.set_index(["a", frame.index], drop=False).rename_axis(["p", None])
    for k, kept in enumerate([frame, frame.rename_axis("id"), two]):
        kept.to_parquet(tmp_path / f"{k}.parquet")
        assert open_source(tmp_path / f"{k}.parquet", target="y").feature_names == ["a"]
    whole = pa.Table.from_pandas(frame)
    assert "__index_level_0__" in whole.column_names
    assert open_source(whole, target="y").feature_names == ["a"]
    named = open_source(tmp_path / "1.parquet", target="id")
    assert named.feature_names == ["a", "y"]
    np.testing.assert_array_equal(read(named)[1], [7, 5])
    assert open_source(tmp_path / "1.parquet", target="y", one_hot="id").feature_names == ["a", "id=5", "id=7"]


@pytest.mark.parametrize("noted", [b"", b"[]", b"{}", b'{"index_columns": 1}', b"\xff", b'{"index_columns": [[], {}]}'])
def test_notes_of_pandas_that_make_no_sense_name_no_index(noted: bytes) -> None:
    table = pa.table({"a": [1.0], "y": [2.0]}).replace_schema_metadata({b"pandas": noted})
    assert open_source(table, target="y").feature_names == ["a"]


def test_a_column_without_a_name_is_refused_with_what_to_do(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1.0, 2.0], "y": [3.0, 4.0]}).to_csv(tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"column 0 has no name, as where pandas wrote its index: write .* index=False") as caught:
        open_source(tmp_path / "a.csv", target="y")
    assert "\n" not in str(caught.value)
    assert open_source(tmp_path / "a.csv", target="y", drop="").feature_names == ["a"]


COLUMNS = {"day": ["2020-01-01", "2020-01-02"], "a": [1.0, 2.0], "id": ["u", "v"], "y": [3.0, 4.0], "z": [5.0, 6.0]}


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame", "table"])
def test_columns_that_are_dropped_leave_nothing_behind(kind: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(COLUMNS)
    frame["day"] = pd.to_datetime(frame["day"])
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    given = {"frame": frame, "table": pa.Table.from_pandas(frame)}.get(kind, tmp_path / f"a.{kind}")
    source = open_source(given, target="y", drop=["id", "day", "z"])
    assert source.feature_names == ["a"] and not source.sparse
    np.testing.assert_array_equal(read(source)[0], [[1.0], [2.0]])
    assert source.fingerprint != open_source(given, target="y", drop=["id", "day"]).fingerprint


def test_columns_that_are_dropped_are_not_read(tmp_path: Path) -> None:
    """Neither what does not parse in a CSV nor a type of Parquet that is no feature is met; errors still name the right column."""
    text = "id,a,y\n" + "1,0.5,1\n" * (1 << 20)
    with pytest.raises(InputError, match="'id' in row 1048576 is not a number"):
        opened(tmp_path, text + "x7,1,1\n")
    assert opened(tmp_path, text + "x7,1,1\n", drop="id").shape == ((1 << 20) + 1, 1)
    with pytest.raises(InputError, match="'a' in row 1048576 is not a number"):
        opened(tmp_path, text + "x7,x,1\n", drop="id")
    assert parquet(tmp_path, {"l": [[1], [2]], "a": [1, 2], "y": [1, 2]}, drop="l").feature_names == ["a"]
    assert opened(tmp_path, "a,a,b,y\n1,2,3,4\n", drop="a").feature_names == ["b"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b,y\n1,x,1\n,y,2\n", {}, "'a' has a missing value in row 1: pass missing='mean' or 'drop'"),
        ("a,b,y\n1,x,1\n2,,2\n", {}, "'b' has a missing value in row 1: pass missing='mean' or 'drop'"),
        ("a,y\n1,1\nNaN,2\n", {}, "'a' has a missing value in row 1"),
        ("a,y\n1,1\n2,\n", {}, "'y' has a missing value in row 1"),
        ("a,y\n1,1\n2,\n", {"missing": "mean"}, "'y' has a missing value in row 1"),
        ("a,w,y\n1,1,1\n2,,2\n", {"weight": "w", "missing": "mean"}, "'w' has a missing value in row 1"),
        ("a,y\n1,1\ninf,2\n", {"missing": "drop"}, "'a' is infinite in row 1"),
        ("a,y\n1,1\n2,-inf\n", {"missing": "mean"}, "'y' is infinite in row 1"),
        ("a,y\n1,u\n2,v\n", {}, "'y' is not numeric"),
        ("a,w,y\n1,1,1\n2,-1,2\n", {"weight": "w"}, "'w' is a negative weight in row 1"),
        ("a,w,y\n1,0,1\n2,0,2\n", {"weight": "w"}, "'w' is zero in every row"),
        ("a,b,y\n,1,1\n,2,2\n", {"missing": "mean"}, "'a' has no value at all"),
        ("a,y\n,1\n,2\n", {"missing": "drop"}, "no rows left after missing='drop'"),
        ("a,price\n1,1\n", {"target": "prise"}, "no column 'prise': did you mean price"),
        ("a,y\n1,1\n", {"one_hot": ["aa"]}, "no column 'aa': did you mean a"),
        ("a,y\n1,1\n", {"target": None}, "name the target column"),
        ("a,y\n1,1\n", {"weight": [1.0]}, "weight must be the name of a column"),
        ("a,y\n1,1\n", {"weight": "y"}, "'y' is named twice"),
        ("a,y\n1,1\n", {"one_hot": "y"}, "'y' is named twice"),
        ("a,b,y\n1,u,1\n", {"dtype": "int8"}, "dtype=int8 is for dense values, but column 'b' becomes one-hot columns"),
        ("a,y\n1,1\n", {"one_hot": "a", "dtype": "float32"}, "dtype=float32 is for dense values, but column 'a'"),
        ("a,y\n1,1\n", {"drop": "y"}, "'y' is named twice"),
        ("a,y\n1,1\n", {"drop": "a", "one_hot": "a"}, "'a' is named twice"),
        ("price,y\n1,1\n", {"drop": ["prise"]}, "no column 'prise': did you mean price"),
        ("a,y\n1,1\n", {"drop": "a"}, "no feature columns"),
        ("day,a,y\n2020-01-01,1,1\n", {}, r"drop it, convert it.*drop=\['day'\], --drop day"),
        ("a,a,y\n1,2,1\n", {}, "2 columns named 'a'"),
        ("a,y\n1,2\n1,2,3\n", {}, "cannot be read as a table"),
        ("a,y\n", {}, "has no rows"),
        ("y\n1\n", {}, "no feature columns"),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_one_line(
    text: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        opened(tmp_path, text, **options)
    assert "\n" not in str(caught.value)


def test_holes_are_filled_with_means_and_empty_categories(tmp_path: Path) -> None:
    source = opened(tmp_path, "a,b,y\n1,x,1\n,y,2\n4,,3\n", missing="mean")
    np.testing.assert_array_equal(read(source)[0], [[1, 1, 0], [2.5, 0, 1], [4, 0, 0]])


def test_a_mean_of_zero_is_not_stored(tmp_path: Path) -> None:
    source = opened(tmp_path, "a,b,y\n1,x,1\n,x,2\n-1,x,3\n", missing="mean")
    assert source.nnz == sum(b.X.nnz for b in source.batches(LARGE)) == 5


def test_dropped_rows_leave_no_levels_behind(tmp_path: Path) -> None:
    source = opened(tmp_path, "a,b,w,y\nu,1,1,1\nv,,1,2\nw,3,,3\nx,4,1,\nz,5,1,5\n", weight="w", missing="drop")
    assert (source.shape, source.feature_names) == ((2, 3), ["a=u", "a=z", "b"])
    np.testing.assert_array_equal(read(source, start=1)[0], [[0, 1, 5]])


def test_nan_is_not_a_level(tmp_path: Path) -> None:
    source = parquet(tmp_path, {"a": [1.0, float("nan"), 2.0], "y": [1, 2, 3]}, one_hot="a", missing="mean")
    assert source.feature_names == ["a=1.0", "a=2.0"]
    np.testing.assert_array_equal(read(source)[0], [[1, 0], [0, 0], [0, 1]])


def long_csv(path: Path, last: str) -> Path:
    """More text than the first block, which decides the types."""
    path.write_text("a,b,y\n" + "1,,2\n" * 2_000_000 + last)
    return path


def test_a_fraction_or_value_after_the_first_block_fits(tmp_path: Path) -> None:
    source = open_source(long_csv(tmp_path / "a.csv", "1.5,7,2\n"), target="y", missing="mean")
    assert [b.X[-1].tolist() for b in source.batches(1 << 20)][-1] == [1.5, 7]


def test_text_after_the_first_block_is_named_by_column_and_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'a' in row 2000000 is not a number like the rows before: .*'oops'"):
        open_source(long_csv(tmp_path / "a.csv", "oops,7,2\n"), target="y", missing="mean")


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(1, 900), levels=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    budget=st.integers(1, 100_000), suffix=st.sampled_from(["csv", "parquet"]), cut=st.floats(0, 1), hole=st.booleans(),
)  # fmt: skip
def test_one_hot_rows_in_any_batches_are_those_of_pandas(
    seed: int, n: int, levels: list[int], budget: int, suffix: str, cut: float, hole: bool
) -> None:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"c{k}": [f"L{v}" for v in rng.integers(0, m, n)] for k, m in enumerate(levels)})
    frame.insert(1, "x", np.round(rng.standard_normal(n), 3) * rng.integers(0, 2, n))
    frame["y"] = np.arange(n) / 2
    if hole and n > 1:
        frame.loc[int(rng.integers(n)), "c0"] = None
    features = [frame[[c]] for c in frame.columns[:-1]]
    dummies = [f if "x" in f else pd.get_dummies(f, prefix_sep="=", dtype=float) for f in features]
    expected = pd.concat(dummies, axis=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
        source = open_source(path, target="y", missing="mean")
        start, stop = int(cut * (n - 1)), max(1, int(cut * expected.shape[1]))
        whole, y = read(source, budget)
        part, _ = read(source, budget, start=start, columns=(stop - 1, expected.shape[1]))
        entries = sum(b.X.nnz for b in source.batches(budget))
        canonical = all(b.X.indices.dtype == np.int32 and b.X.has_canonical_format for b in source.batches(budget))
    assert source.feature_names == list(expected.columns)
    assert source.shape == expected.shape
    assert canonical
    assert source.nnz == entries == np.count_nonzero(expected.to_numpy())
    np.testing.assert_array_equal(whole, expected.to_numpy())
    np.testing.assert_array_equal(y, frame["y"])
    np.testing.assert_array_equal(part, expected.to_numpy()[start:, stop - 1 :])


# svmlight


@pytest.mark.parametrize("suffix", ["svm", "svmlight", "libsvm", "svm.gz"])
def test_svmlight_columns_count_from_one(suffix: str, tmp_path: Path) -> None:
    source = open_source(write(tmp_path / f"a.{suffix}", "1 1:2 3:4\n0 2:1\n-1\n"))
    got, y = read(source)
    np.testing.assert_array_equal(got, [[2, 0, 4], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(y, [1, 0, -1])


def test_a_zero_in_any_piece_makes_svmlight_columns_count_from_zero(tmp_path: Path) -> None:
    text = "1 1:1 2:1\n" * 20_000 + "1 0:5\n"
    source = open_source(write(tmp_path / "a.svm", text))
    got, _ = read(source, 1)
    assert source.shape == (20_001, 3)
    np.testing.assert_array_equal(got[[0, -1]], [[0, 1, 1], [5, 0, 0]])


def test_svmlight_in_pieces_is_svmlight_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [" ".join([f"{i}", *(f"{c}:{v}" for c, v in enumerate(rng.integers(1, 9, 8), 1))]) for i in range(6000)]
    source = open_source(write(tmp_path / "a.svm", "\n".join(rows)), weight=np.arange(1, 6001), offset=-np.arange(6000),
                         fold=np.arange(6000) % 7)  # fmt: skip
    batches = list(source.batches(1, columns=(2, 5), start=4500))
    whole, y = read(source)
    assert len(batches) > 1
    np.testing.assert_array_equal(np.vstack([b.X.toarray() for b in batches]), whole[4500:, 2:5])
    np.testing.assert_array_equal(np.concatenate([b.weight for b in batches]), y[4500:] + 1)
    np.testing.assert_array_equal(np.concatenate([b.offset for b in batches]), -y[4500:])
    np.testing.assert_array_equal(np.concatenate([b.fold for b in batches]), y[4500:] % 7)
    assert all(b.X.indices.dtype == np.int32 and b.X.has_sorted_indices for b in batches)


def test_missing_values_of_svmlight_are_dropped_on_demand(tmp_path: Path) -> None:
    path = write(tmp_path / "a.svm", "1 1:1\n2 1:nan\nnan 1:2\n4 1:3\n")
    with pytest.raises(InputError, match="missing value in row 1"):
        open_source(path)
    source = open_source(path, missing="drop", weight=[1, 2, 3, 4])
    (batch,) = source.batches(LARGE)
    assert (source.shape, source.nnz) == ((2, 1), 2)
    assert (batch.y.tolist(), batch.weight.tolist(), batch.X.toarray().ravel().tolist()) == ([1, 4], [1, 4], [1, 3])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("1 1:2 x\n", {}, r"a\.svm is not svmlight"),
        ("1 3:2 1:5\n", {}, r"a\.svm is not svmlight"),
        ("# nothing\n", {}, "is empty"),
        ("1 1:1\n2 1:inf\n", {"missing": "drop"}, "infinite value in row 1"),
        ("1 1:1\n", {"target": "y"}, "leave `target` out"),
        ("1 1:1\n", {"drop": "a"}, "drop names columns of a table"),
        ("1 1:1\n", {"dtype": "float32"}, "dtype=float32 is for dense values, but .*svmlight text, which is sparse"),
        ("1 1:1\n", {"missing": "mean"}, "missing='mean' is not for svmlight"),
        ("1 1:1\n", {"weight": [1, 2]}, "2 values for 1 rows"),
        ("1 1:1\n", {"offset": [1, 2]}, "2 values for 1 rows"),
        ("1 1:1\n", {"fold": [np.nan]}, "fold has nan in row 0"),
        ("1 1:nan\n2 1:1\n3 1:1\n", {"missing": "drop", "weight": [1, 2]}, "2 values for 3 rows"),
    ],
)
def test_svmlight_that_cannot_be_used_is_refused_in_one_line(
    text: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_source(write(tmp_path / "a.svm", text), **options)
    assert "\n" not in str(caught.value)


def test_a_cut_gzip_file_is_an_input_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.svm.gz", "1 1:2\n" * 999)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"a\.svm\.gz cannot be read"):
        open_source(path)


def test_svmlight_without_scikit_learn_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r"pip install 'distlasso\[sklearn\]'"):
        open_source(write(tmp_path / "a.svm", "1 1:1\n"))
