"""``load``: a saved model, as the class that wrote it."""

from __future__ import annotations

import os

from distlasso.path.cross_validation import CrossValidation
from distlasso.path.model_store import reading
from distlasso.path.result import Path, restored


def load(directory: str | os.PathLike[str]) -> Path | CrossValidation:
    """Read what ``Path.save`` or ``CrossValidation.save`` wrote; of a cross-validation, the chosen candidate.

    Raises
    ------
    StoreError
        If it is missing, damaged, or of another format.
    """
    with reading(directory) as (values, arrays, selection):
        path = restored(values, arrays)
        return path if selection is None else CrossValidation.restored(path, selection)
