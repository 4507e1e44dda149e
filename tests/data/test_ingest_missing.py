"""What ``missing="keep"`` writes, from every dense source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import zarr

import distlasso as dl

CODES = np.array([[0, 1, 2], [-1, 2, 0], [1, -1, 1], [2, 0, -1]], dtype=np.int8)
HOLES = np.where(CODES < 0, np.nan, CODES)
Y = np.array([1.0, -1.0, 2.0, 0.5])
ROW = ["0,1,2", ",2,0", "1,,1", "2,0,"]


def stored(store: Path) -> tuple[Any, Any]:
    """Values and attribute as any other program reads them."""
    member = zarr.open_group(store, mode="r")["X"]
    assert isinstance(member, zarr.Array)
    return member[:], member.attrs.get("missing_value")


def sources(folder: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    np.save(folder / "codes.npy", CODES)
    np.savez(folder / "holes.npz", X=HOLES, y=Y)
    (folder / "holes.csv").write_text("a,b,c,y\n" + "".join(f"{row},{y}\n" for row, y in zip(ROW, Y, strict=True)))
    return {
        "codes": ((CODES, Y), {"missing_value": -1}),
        "codes as floats": ((CODES, Y), {"missing_value": -1, "dtype": "float32"}),
        "whole numbers": ((CODES.astype(int), Y), {"missing_value": -1}),
        "holes": ((HOLES, Y), {}),
        "holes as codes": ((HOLES, Y), {"missing_value": 9, "dtype": "uint8"}),
        "npy": (folder / "codes.npy", {"missing_value": -1, "target": Y}),
        "npz": (folder / "holes.npz", {}),
        "table": (folder / "holes.csv", {"target": "y"}),
        "table as codes": (folder / "holes.csv", {"target": "y", "dtype": "int8", "missing_value": -1}),
    }


EXPECTED = {"codes": ("int8", -1), "codes as floats": ("float32", "NaN"), "holes as codes": ("uint8", 9),
            "npy": ("int8", -1), "table as codes": ("int8", -1)}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["codes", "codes as floats", "whole numbers", "holes", "holes as codes", "npy", "npz", "table", "table as codes"]
)
def test_missing_values_are_kept_in_the_dtype_that_is_stored(name: str, tmp_path: Path) -> None:
    source, options = sources(tmp_path)[name]
    ds = dl.ingest(source, tmp_path / "d.zarr", missing="keep", chunks=(3, 2), **options)
    values, code = stored(tmp_path / "d.zarr")
    assert (values.dtype.name, code) == EXPECTED.get(name, ("float64", "NaN"))
    holes = np.isnan(values) if code == "NaN" else values == code
    np.testing.assert_array_equal(holes, np.isnan(HOLES))
    np.testing.assert_array_equal(values[~holes], HOLES[~holes])
    assert ds.statistics is not None
    np.testing.assert_allclose(ds.statistics.mean, np.nanmean(HOLES, axis=0))
    np.testing.assert_array_equal(ds.statistics.present, [3.0, 3.0, 3.0])


def test_a_column_without_any_value_is_kept(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n1,,1\n2,,3\n4,,2\n")
    ds = dl.ingest(tmp_path / "t.csv", tmp_path / "d.zarr", target="y", missing="keep")
    assert dl.fit_path(ds, n_lambdas=3).dropped.tolist() == [1]


def test_what_means_missing_is_part_of_the_identity(tmp_path: Path) -> None:
    marked = dl.ingest((CODES, Y), tmp_path / "a.zarr", missing="keep", missing_value=-1)
    plain = dl.ingest((CODES, Y), tmp_path / "b.zarr")
    assert marked.fingerprint != plain.fingerprint
    assert plain.missing_value is None


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ((CODES, Y), {"missing": "keep"}, "int8 values needs missing_value"),
        ((HOLES, Y), {"missing": "keep", "dtype": "int8"}, "int8 values needs missing_value"),
        ((CODES, Y), {"missing": "keep", "missing_value": 300}, "not a value of int8"),
        ((CODES, Y), {"missing": "keep", "missing_value": "none"}, "is not a number"),
        ((CODES, Y), {"missing_value": -1}, "pass missing='keep' with it"),
        ((HOLES, Y), {"missing": "keep", "encoding": "csr"}, "for dense stores"),
        ((sp.csr_array(HOLES), Y), {"missing": "keep"}, "for dense X"),
        ("text.csv", {"missing": "keep", "target": "y"}, "column 'b' is not"),
        ("rows.svm", {"missing": "keep"}, "not for svmlight"),
        ((np.where(CODES < 0, np.inf, CODES), Y), {"missing": "keep"}, "infinite in row 1, column 0"),
    ],
)
def test_what_cannot_be_kept_is_refused(source: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "text.csv").write_text("a,b,y\n1,x,1\n2,,3\n")
    (tmp_path / "rows.svm").write_text("1 1:2\n0 2:nan\n")
    given = tmp_path / source if isinstance(source, str) else source
    with pytest.raises(dl.InputError, match=message):
        dl.ingest(given, tmp_path / "d.zarr", **options)
    assert not list(tmp_path.glob("d.zarr*"))
