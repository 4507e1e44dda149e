"""Models on the wire: a zip archive of the few plain files that a model is.

Read next: ``../path/model_store.py``.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

from fastapi import Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from distlasso.errors import StoreError

MEMBERS = ("path.json", "path.npz", "selection.json")


def archived(model: Path, name: str) -> Response:
    """A model as a download; its copy is removed when it has been sent."""
    handle, file = tempfile.mkstemp(prefix="distlasso-", suffix=".zip")
    with os.fdopen(handle, "wb") as raw, zipfile.ZipFile(raw, "w") as archive:
        for member in MEMBERS:
            if (model / member).exists():
                archive.write(model / member, member)
    done = BackgroundTask(os.unlink, file)
    return FileResponse(file, media_type="application/octet-stream", filename=f"{name}.zip", background=done)


def unpack(file: Path, folder: Path) -> None:
    """Write the files of an archived model to a folder, and nothing else.

    Raises
    ------
    StoreError
        If it is no such archive.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if not set(names) <= set(MEMBERS):
                raise StoreError(f"the archive has {sorted(set(names) - set(MEMBERS))[0]!r}, which no model has")
            stored = all(one.compress_type == zipfile.ZIP_STORED for one in archive.infolist())
            if not stored or sum(one.file_size for one in archive.infolist()) > file.stat().st_size:
                raise StoreError(f"{file} is no archive of a model: it comes to more bytes than it has")
            for name in names:
                (folder / name).write_bytes(archive.read(name))
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise StoreError(f"{file} is no archive of a model: {error}") from error
