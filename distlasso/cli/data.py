"""``ingest`` and ``inspect``: stores.

Read next: ``../data/ingest.py``.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

import distlasso as dl
from distlasso.cli.place import Overwrite
from distlasso.cli.show import Json, show
from distlasso.data.missing import spelled
from distlasso.errors import InputError
from distlasso.progress import Progress


def ingest(
    source: Annotated[str, typer.Argument(help=".npy, .npz, svmlight, CSV or Parquet.")],
    store: Annotated[str, typer.Argument(help="Where the store goes.")],
    target: Annotated[str | None, typer.Option(help="Name of the target column.")] = None,
    weight: Annotated[str | None, typer.Option(help="Name of the column of sample weights.")] = None,
    offset: Annotated[str | None, typer.Option(help="Name of the column of offsets.")] = None,
    fold: Annotated[str | None, typer.Option(help="Name of the column of cross-validation folds.")] = None,
    one_hot: Annotated[list[str] | None, typer.Option(help="Numeric column to encode as categories; repeat it.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Column to leave out, such as a date or an id; repeat it.")] = None,
    encoding: Annotated[str, typer.Option(help="auto, dense, csr or csc.")] = "auto",
    dtype: Annotated[str | None, typer.Option(help="float64, float32, int8 or uint8, of dense values.")] = None,
    chunks: Annotated[str | None, typer.Option(help="ROWSxCOLUMNS of a chunk; planned by default.")] = None,
    missing: Annotated[str, typer.Option(help="error, mean, drop or keep.")] = "error",
    missing_value: Annotated[float | None, typer.Option(help="Value that means missing, with --missing keep.")] = None,
    memory: Annotated[str, typer.Option(help="Bytes of values held at once.")] = "1GB",
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Write a source to a chunked zarr store; killed half-way, the same command continues."""
    with Progress(enabled=not json_) as progress:
        dataset = dl.ingest(
            source, store, target=target, weight=weight, offset=offset, fold=fold, one_hot=one_hot, drop=drop,
            encoding=encoding, dtype=_dtype(dtype), chunks=_chunks(chunks), missing=missing, missing_value=missing_value,
            memory=memory, overwrite=overwrite, on_event=progress,
        )  # fmt: skip
    show(_about(dataset), json_)


def inspect(store: Annotated[str, typer.Argument(help="A store.")], json_: Json = False) -> None:
    """Show shape, encoding, chunks and statistics of a store, and what a fit of it would cost."""
    dataset = dl.open_dataset(store)
    summary = _about(dataset)
    if dataset.statistics is not None:
        s = dataset.statistics
        constant = s.sd <= 1e-12 * s.max_abs
        summary |= {
            "target_mean": s.y_mean, "target_sd": float(np.sqrt(s.y_m2 / s.weight)),
            "constant_columns": int(constant.sum()), "missing_share": float(np.mean(1.0 - s.present / s.weight)),
            "largest_mean_over_sd": _largest_ratio(s, constant),
        }  # fmt: skip
    from distlasso.path.plan import project

    summary |= project(dataset).summary()
    show(summary, json_)


def _about(dataset: dl.Dataset) -> dict[str, Any]:
    n, p = dataset.shape
    bounds = (dataset.row_bounds, dataset.col_bounds)
    return {
        "store": dataset.path, "rows": n, "columns": p, "encoding": dataset.encoding, "dtype": dataset.dtype.name,
        "stored_entries": dataset.nnz, "decoded_bytes": dataset.nbytes,
        "chunks": [cuts.size - 1 for cuts in bounds], "chunk_shape": [int(np.diff(cuts).max()) for cuts in bounds],
        "target": dataset.y is not None,
        "sample_weight": dataset.sample_weight is not None, "offset": dataset.offset is not None,
        "fold": dataset.fold is not None, "feature_names": dataset.feature_names is not None,
        "missing_value": spelled(dataset.missing_value), "fingerprint": dataset.fingerprint,
    }  # fmt: skip


def _largest_ratio(statistics: Any, constant: Any) -> float:
    ratio = np.divide(np.abs(statistics.mean), statistics.sd, out=np.zeros(constant.size), where=~constant)
    return float(ratio.max(initial=0.0))


def _dtype(name: str | None) -> Any:
    if name is None:
        return None
    try:
        return np.dtype(name)
    except TypeError:
        raise InputError(f"--dtype {name} is not known: use float64, float32, int8 or uint8") from None


def _chunks(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        rows, columns = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise InputError(f"--chunks {text} is not ROWSxCOLUMNS, such as 10000x500") from None
    return rows, columns
