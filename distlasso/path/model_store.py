"""Models on disk: a directory of plain arrays and JSON, written whole or not at all, never pickled.

Read next: ``result.py`` and ``cross_validation.py``, which say what is in it, and ``load.py``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.data.npz import DAMAGE, read_npz
from distlasso.errors import StoreError, first_line
from distlasso.inside import inside

_FORMAT = 1


def write_model(
    directory: str | os.PathLike[str], values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *,
    selection: Mapping[str, Any] | None = None, overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a model: it has its final name only when it is whole.

    Parameters
    ----------
    directory : path
        Where.
    values, arrays
        Of the path.
    selection : mapping, optional
        How one of its solutions was chosen.
    overwrite : bool
        Whether a model of that name is replaced.

    Raises
    ------
    StoreError
        If the directory exists and ``overwrite`` is false, is no model, or cannot be written.
    """
    final_name = FilePath(os.path.realpath(directory))
    if final_name.exists() and not overwrite:
        raise StoreError(f"{final_name} exists already: choose another name or pass overwrite=True")
    if final_name.exists() and not (final_name / "path.json").is_file():
        raise StoreError(f"{final_name} is not a model, so it is not overwritten: choose another name")
    wip, old = (final_name.with_name(f".{final_name.name}.{kind}-{os.getpid()}") for kind in ("wip", "old"))
    try:
        wip.mkdir(parents=True)
        np.savez(wip / "path.npz", allow_pickle=False, **arrays)
        (wip / "path.json").write_text(json.dumps({**values, "format": _FORMAT}, indent=1))
        if selection is not None:
            (wip / "selection.json").write_text(json.dumps(selection, indent=1))
        if final_name.exists():
            final_name.rename(old)
        wip.rename(final_name)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"cannot write {final_name}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(wip, ignore_errors=True)


@contextmanager
def reading(directory: str | os.PathLike[str]) -> Iterator[tuple[dict[str, Any], dict[str, NDArray[Any]], Any]]:
    """What a model consists of: values, arrays, and the selection if there is one; what does not fit is damage.

    Raises
    ------
    StoreError
        If it is missing, damaged, or of another format.
    """
    root = FilePath(directory)
    try:
        about, packed, chosen = (inside(root, name) for name in ("path.json", "path.npz", "selection.json"))
        values = json.loads(about.read_text())
        if not isinstance(values, dict) or values.get("format") != _FORMAT:
            given = values.get("format") if isinstance(values, dict) else values
            raise StoreError(f"{root} has model format {repr(given)[:40]}, expected {_FORMAT}")
        yield values, read_npz(packed), json.loads(chosen.read_text()) if chosen.exists() else None
    except FileNotFoundError as error:
        raise StoreError(f"no model at {root}: {error.filename} is missing") from error
    except (OSError, *DAMAGE) as error:
        raise StoreError(f"the model at {root} is damaged: {first_line(error)}") from error
