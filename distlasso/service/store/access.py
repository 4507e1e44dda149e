"""Tokens and the audit log in SQLite; of a token only the digest.

Read next: ``../tokens.py``.
"""

from __future__ import annotations

import time
from typing import Any, final

from distlasso.service.store.database import Database
from distlasso.service.store.records import AuditEntry
from distlasso.service.tokens import Scope, Token, digest, new_id, new_secret

MOST_AUDITED = 100_000  # entries that are kept


@final
class SQLiteAccess:
    """Tokens, and who did what with them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_token(self, name: str, scope: Scope, expires: float | None) -> tuple[Token, str]:
        """A new token and its secret, which is shown this once."""
        secret = new_secret()
        token = Token(new_id("token"), name, digest(secret), scope, time.time(), expires)
        with self._database.write() as db:
            db.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, NULL)",
                       (token.id, token.name, token.digest, token.scope, token.created, token.expires))  # fmt: skip
        return token, secret

    def tokens(self) -> list[Token]:
        """All tokens."""
        return [_token(row) for row in self._database.read().execute("SELECT * FROM tokens ORDER BY created")]

    def revoke(self, token: str) -> bool:
        """Make a token worthless from now on; False if there is none."""
        with self._database.write() as db:
            changed = db.execute("UPDATE tokens SET revoked = ifnull(revoked, ?) WHERE id = ?", (time.time(), token))
            return changed.rowcount > 0

    def token_of(self, secret: str) -> Token | None:
        """The valid token of a secret."""
        row = self._database.read().execute("SELECT * FROM tokens WHERE digest = ?", (digest(secret),)).fetchone()
        if row is None:
            return None
        token = _token(row)
        return token if token.valid(secret, time.time()) else None

    def audit(self, who: str, action: str, subject: str, status: int) -> None:
        """Note who did what."""
        with self._database.write() as db:
            added = db.execute("INSERT INTO audit (at, who, action, subject, status) VALUES (?, ?, ?, ?, ?)",
                               (time.time(), who, action, subject, status))  # fmt: skip
            db.execute("DELETE FROM audit WHERE number <= ?", ((added.lastrowid or 0) - MOST_AUDITED,))

    def audited(self, before: int | None, limit: int) -> list[AuditEntry]:
        """What was done, the latest first."""
        rows = self._database.read().execute(
            "SELECT number, at, who, action, subject, status FROM audit WHERE (:before IS NULL OR number < :before) "
            "ORDER BY number DESC LIMIT :limit",
            {"before": before, "limit": limit},
        )
        return [AuditEntry(*row) for row in rows]


def _token(row: Any) -> Token:
    return Token(row["id"], row["name"], row["digest"], row["scope"], row["created"], row["expires"], row["revoked"])
