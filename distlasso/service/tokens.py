"""Bearer tokens: 256 random bits, shown once, of which the store keeps a digest.

A token's digest is looked up, never the token; of 256 random bits a plain SHA-256 is as good as any slower hash. Read
next: ``guard.py`` (which asks for one), ``store.py`` (which keeps the digests).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["read", "submit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)  # each includes those before it

_PREFIX = "dl_"  # so that scanners for leaked secrets know it


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the store knows it; times are seconds since the epoch."""

    id: str
    name: str
    digest: str
    scope: Scope
    created: float
    expires: float | None = None
    revoked: float | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether it is good for what needs this scope."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def valid(self, secret: str, now: float) -> bool:
        """Whether this secret is its own, and it still counts."""
        same = hmac.compare_digest(digest(secret), self.digest)
        return same and self.revoked is None and (self.expires is None or now < self.expires)


ANYONE = Token("local", "anyone on this machine", "", "admin", 0.0)


def new_secret() -> str:
    """A fresh secret, to be shown once."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What the store keeps of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_id(kind: str) -> str:
    """A short random name of a job or a token."""
    return f"{kind}-{secrets.token_hex(6)}"
