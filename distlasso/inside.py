"""Files that a folder names as its own: none of them may lie elsewhere, and none may be a thing that can be read for ever.

A store, a model or a checkpoint may come from anybody. A name with ``../`` in it or a link would have this process open files
that its user can read and whoever wrote the folder cannot; a pipe or a device in the place of a file would be waited for without
end. The folder itself may be reached through links.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from distlasso.errors import StoreError


def inside(folder: str | os.PathLike[str], name: str | os.PathLike[str]) -> Path:
    """Path of a file of a folder, which need not be there.

    Parameters
    ----------
    folder : path
        Whose file it is.
    name : str or path
        Its name, relative to the folder or below it.

    Raises
    ------
    StoreError
        If it leads out of the folder, or to what is neither a file nor a folder.
    """
    root, path = Path(folder), Path(folder, name)
    try:
        real = os.path.realpath(path)
        top = os.path.realpath(root)
        if real != top and not real.startswith(os.path.join(top, "")):
            raise StoreError(f"{path} leads out of {root}, to {real}: put the file itself there, or link the whole folder")
        mode = os.stat(real).st_mode
    except FileNotFoundError:
        return path
    except (OSError, ValueError) as error:  # a name that no file can have, links that go round
        raise StoreError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise StoreError(f"{path} is neither a file nor a folder: remove it")
    return path
