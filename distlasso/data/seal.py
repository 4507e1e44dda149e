"""The seal of a finished store: digests of its metadata files, which the checksums of chunks do not cover.

A flipped bit in one of these small JSON files would otherwise lose a weight or move a decimal point without a word. The
digests live in the store's own attribute, which carries a digest of itself. Read next: ``store.py``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from distlasso.inside import inside

_METADATA = "zarr.json"


def sealed(folder: Path, own: dict[str, Any]) -> dict[str, Any]:
    """Return the attribute of a finished store, with its seal."""
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob(_METADATA) if file.parent != folder)
    complete = own | {"metadata": {name: _digest((folder / name).read_bytes()) for name in files}}
    return complete | {"seal": _of_attribute(complete)}


def broken_part(folder: Path, own: dict[str, Any]) -> Path | None:
    """The first metadata file that is not as it was sealed; None if all are."""
    rest = {name: value for name, value in own.items() if name != "seal"}
    if own.get("seal") != _of_attribute(rest) or not isinstance(own.get("metadata"), dict):
        return folder / _METADATA
    digests: dict[str, str] = own["metadata"]
    for name, digest in digests.items():
        try:
            content = inside(folder, name).read_bytes()
        except OSError:
            return folder / name
        if _digest(content) != digest:
            return folder / name
    return None


def _of_attribute(own: dict[str, Any]) -> str:
    return _digest(json.dumps(own, sort_keys=True).encode())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
