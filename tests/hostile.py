"""Files that were changed on purpose, and what may happen to whoever reads them: nothing, or an error in one line with the path."""

from __future__ import annotations

import json
import os
import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

import distlasso as dl

EXAMPLES = int(os.environ.get("DISTLASSO_EXAMPLES", "40"))  # of each kind of file that is changed; more by command

_ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, -(2**63), 10**18, 10**30, 10**400, 0.5, -0.0, 1e308,
    float("nan"), float("inf"), "", "../../secret", "/etc/passwd", "X/../../../x", "\x00", "NaN", "zarr",
    [], {}, [[]], {"": {}}, [10**18, 10**18], [0, 0], [-1, 5],
    {"name": "regular", "configuration": {"chunk_shape": [10**18, 10**18]}}, [{"name": "bytes"}, {"name": "gzip"}],
]  # fmt: skip


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, part in inner for place in _places(part, (*way, key)))]


def _with(value: Any, way: tuple[Any, ...], put: Any, *, drop: bool) -> Any:
    """A copy with something else in one place, or without it."""
    if not way:
        return put
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(way) == 1 and drop:
        del copy[way[0]]
    else:
        copy[way[0]] = _with(value[way[0]], way[1:], put, drop=drop)
    return copy


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@st.composite
def structures(draw: st.DrawFn, content: bytes) -> bytes:
    """JSON with one to three places changed: dropped, retyped, made huge, negative, NaN or nested."""
    value = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(_places(value)))
        put = draw(st.sampled_from(_ODD) | st.integers() | st.floats() | st.text(max_size=5))
        value = _with(value, way, put, drop=draw(st.booleans()))
    return json.dumps(value).encode()


@st.composite
def flipped(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some of them others, cut off, or put in."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        kind = draw(st.sampled_from(["put", "insert", "cut"]))
        if kind == "cut":
            del changed[at : at + draw(st.integers(1, 1 << 10))]
        else:
            changed[at : at + (kind == "put")] = draw(st.binary(min_size=1, max_size=9))
    return bytes(changed)


def changed(content: bytes) -> st.SearchStrategy[bytes]:
    """Any of these, and JSON that is nested deeper than Python recurses."""
    others = flipped(content) | st.sampled_from([b"", _nested(10**5)])
    try:
        json.loads(content)
    except ValueError:
        return others
    return structures(content) | structures(content) | others


@contextmanager
def refused_within(most: int, *, named: str, beside: int = 0) -> Iterator[None]:
    """Whatever is in the block ends well, or in an error of ours, of one line that has the path, within bytes of memory."""
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except dl.DistlassoError as error:
        text = str(error)
        assert "\n" not in text and named in text, text
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= most + beside, f"{peak / 1e6:.0f} MB"
