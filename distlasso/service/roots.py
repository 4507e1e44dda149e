"""Where the service may read: folders on an allow-list, links followed before anything is compared.

Read next: ``routers/datasets.py``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

from distlasso.errors import InputError
from distlasso.service.faults import NotFound


@final
@dataclass(frozen=True, slots=True)
class Roots:
    """An allow-list of folders, as real paths."""

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, *folders: str | os.PathLike[str]) -> Roots:
        """The allow-list of these folders.

        Raises
        ------
        InputError
            If one of them is not a folder.
        """
        found = []
        for folder in folders:
            real = Path(os.path.realpath(folder))
            if not real.is_dir():
                raise InputError(f"--root {os.fspath(folder)} is not a folder: make it, or leave it out")
            found.append(real)
        return cls(tuple(found))

    def resolve(self, path: str) -> Path:
        """The real place of a path, absolute or relative to one of the roots.

        Raises
        ------
        NotFound
            If it is not inside a root, or nothing is there; both read the same, so that nobody learns what lies outside.
        """
        refused = NotFound(f"{path!r} is not in a folder that this service reads: use a path below one of its roots")
        if not path or "\x00" in path or "://" in path:
            raise refused
        for root in self.folders:
            try:
                real = Path(os.path.realpath(root / path))
                if real.is_relative_to(root) and real != root and real.exists():
                    return real
            except (OSError, ValueError):
                continue
        raise refused
