"""Reads that fail for a reason that may pass are tried again, after pauses that double; all others fail at once.

Whether a reason may pass is told by error numbers and HTTP statuses, wherever in the chain of causes they are. Read next:
``store.py``.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

ATTEMPTS = 7
_FIRST_PAUSE = 0.1  # seconds: 12 in all
_NUMBERS = {
    errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED, errno.EPIPE,
    errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ESTALE,
}  # fmt: skip
_STATUSES = {408, 429, 500, 502, 503, 504}
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "TooManyRequests"}


def patiently(read: Callable[[], T]) -> T:
    """Read, again and again as long as the failure is one that may pass."""
    pause = _FIRST_PAUSE
    for _ in range(ATTEMPTS - 1):
        try:
            return read()
        except Exception as error:  # stores raise many kinds of error
            if not may_pass(error):
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))  # apart from others that were throttled at the same time
        pause *= 2
    return read()


def may_pass(error: BaseException) -> bool:
    """Whether a read that failed like this may succeed if it is repeated."""
    return any(_passes(one) for one in _chain(error))


def _passes(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NUMBERS
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    return bool(_STATUSES & set(_statuses(error))) or _code(error) in _THROTTLED


def _statuses(error: BaseException) -> Iterator[int]:
    """HTTP statuses as the clients of object stores have them."""
    response: Any = getattr(error, "response", None)
    told = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    for found in (told, getattr(response, "status_code", None), *(getattr(error, name, None) for name in ("status", "code"))):
        if isinstance(found, int):
            yield found


def _code(error: BaseException) -> str:
    response: Any = getattr(error, "response", None)
    found = response.get("Error", {}).get("Code") if isinstance(response, dict) else getattr(error, "code", None)
    return found if isinstance(found, str) else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, the errors in its group, and what they came from."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += [one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
