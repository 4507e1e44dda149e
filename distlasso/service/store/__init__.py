"""What the service remembers: the only place that knows SQL.

``records.py`` has the protocol and the records, ``database.py`` connections and migrations, ``sqlite.py`` puts ``jobs.py``,
``catalogue.py`` and ``access.py`` together. Another database is another class of this protocol. Read next: ``records.py``.
"""

from distlasso.service.store.records import AuditEntry, DatasetRecord, EventRecord, JobRecord, ModelRecord, Publication, Store
from distlasso.service.store.sqlite import SQLiteStore

__all__ = [
    "AuditEntry", "DatasetRecord", "EventRecord", "JobRecord", "ModelRecord", "Publication", "SQLiteStore", "Store",
]  # fmt: skip
