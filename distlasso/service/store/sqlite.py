"""The store as one SQLite file.

Read next: ``database.py``.
"""

from __future__ import annotations

import os
from typing import final

from distlasso.service.store.access import SQLiteAccess
from distlasso.service.store.catalogue import SQLiteCatalogue
from distlasso.service.store.database import Database
from distlasso.service.store.jobs import SQLiteJobs


@final
class SQLiteStore:
    """Everything that the service remembers, in one file that several processes may open."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        database = Database(file)
        self.jobs = SQLiteJobs(database)
        self.catalogue = SQLiteCatalogue(database)
        self.access = SQLiteAccess(database)
