"""Datasets and models in SQLite.

Read next: ``jobs.py``, which adds what jobs leave behind.
"""

from __future__ import annotations

import time
from typing import Any, final

from distlasso.service.faults import Conflict
from distlasso.service.store.database import Database
from distlasso.service.store.records import DatasetRecord, ModelRecord


@final
class SQLiteCatalogue:
    """Datasets and models by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, name: str, path: str) -> DatasetRecord:
        """Give a store a name; the same again changes nothing.

        Raises
        ------
        Conflict
            If the name is that of another.
        """
        with self._database.write() as db:
            known = db.execute("SELECT path FROM datasets WHERE name = ?", (name,)).fetchone()
            if known is not None and known["path"] != path:
                raise Conflict(f"the name {name!r} is that of another dataset: choose another")
            if known is None:
                db.execute("INSERT INTO datasets VALUES (?, ?, ?, NULL)", (name, path, time.time()))
        found = self.dataset(name)
        assert found is not None
        return found

    def dataset(self, name: str) -> DatasetRecord | None:
        """A dataset by its name."""
        row = self._database.read().execute("SELECT * FROM datasets WHERE name = ?", (name,)).fetchone()
        return None if row is None else DatasetRecord(**_values(row))

    def datasets(self) -> list[DatasetRecord]:
        """All datasets by name."""
        return [DatasetRecord(**_values(row)) for row in self._database.read().execute("SELECT * FROM datasets ORDER BY name")]

    def model(self, name: str) -> ModelRecord | None:
        """A model by its name."""
        row = self._database.read().execute("SELECT * FROM models WHERE name = ?", (name,)).fetchone()
        return None if row is None else ModelRecord(**_values(row))

    def models(self) -> list[ModelRecord]:
        """All models, the latest first."""
        return [ModelRecord(**_values(row)) for row in self._database.read().execute("SELECT * FROM models ORDER BY created DESC")]


def _values(row: Any) -> dict[str, Any]:
    return dict(zip(row.keys(), row, strict=True))
