"""What is done inside workers: work takes a moment, and reads fail while a file says so. The package has no such seam."""

from __future__ import annotations

import errno
import random
import time
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from distlasso.data.local_chunks import Chunks
from distlasso.runtime import worker

_WORK_SECONDS = 0.008  # of a bundle: small fits would be over before anything could happen to them


class Troubled:
    """Prepares a worker; ``begin`` and ``end`` are called outside."""

    def __init__(self, folder: str, work: float = _WORK_SECONDS) -> None:
        self._work = work
        self._flag, self._log = Path(folder) / "reads-fail", Path(folder) / "reads-failed"

    def begin(self) -> None:
        self._log.unlink(missing_ok=True)
        self._flag.touch()

    def end(self) -> bool:
        """Whether any read has failed meanwhile."""
        self._flag.unlink(missing_ok=True)
        return self._log.exists()

    def __call__(self) -> None:
        get, answer, quick = LocalStore.get, worker.answer_bundle, Chunks.read

        def quickly(*arguments: Any, **options: Any) -> Any:
            return None if self._flag.exists() else quick(*arguments, **options)  # None leaves it to zarr

        async def failing(store: Any, key: str, *rest: Any, **options: Any) -> Any:
            if self._flag.exists() and "/c/" in f"/{key}" and random.random() < 0.6:
                self._log.touch()
                raise random.choice([OSError(errno.EIO, "input/output error"), ConnectionResetError(errno.ECONNRESET, "reset")])
            return await get(store, key, *rest, **options)

        def slower(*arguments: Any) -> Any:
            time.sleep(self._work)
            return answer(*arguments)

        LocalStore.get = failing  # type: ignore[method-assign]
        worker.answer_bundle = slower
        Chunks.read = quickly  # type: ignore[method-assign]
