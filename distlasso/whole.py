"""Files that have their final name only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(final_name: Path) -> Iterator[Path]:
    """A name beside the final one, to write to; the file is renamed when the block has ended well, else removed.

    Its folder is made where it is missing, as that of a model is.
    """
    wip = final_name.with_name(f".{final_name.name}.wip-{os.getpid()}")
    final_name.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield wip
        wip.replace(final_name)
    finally:
        wip.unlink(missing_ok=True)
