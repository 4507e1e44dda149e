"""Codecs that never make more of a chunk than its shape calls for: the size that a chunk states is looked at before it is decoded.

A few bytes of zstd or blosc may state that they come to gigabytes, and are believed by the libraries; gzip states nothing that
binds, and is decoded here up to the bound. Codecs that are not named here are not read: some of them unpickle. Read next:
``metadata.py``, which puts them in the place of zarr's.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numcodecs import abc, blosc, zstd
from numpy.typing import NDArray
from zarr import codecs
from zarr.abc.codec import Codec
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec

_SLACK = 1 << 20  # bytes
_A_STRING = 256  # bytes that a name may take, on average over a chunk
_ZSTD_BLOCK = 1 << 17
_ZSTD, _SKIPPED = 0xFD2FB528, range(0x184D2A50, 0x184D2A60)
_SAME_SIZE = ("shuffle", "delta", "fixedscaleoffset")  # filters of zarr v2 that make of values as many values
MOST_INNER = 1 << 20  # chunks of a shard
DECODERS: dict[str, Callable[[Any, Any], object]] = {"blosc": blosc.decompress, "zstd": zstd.decompress}


class TooLarge(ValueError):
    """A chunk that would come to more than its shape calls for."""


def room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes that the values of a chunk may take."""
    return math.prod(shape) * (dtype.itemsize if dtype.kind in "biuf" else max(_A_STRING, dtype.itemsize)) + _SLACK


def bounded(codec: Any) -> Codec:
    """A codec of zarr v3 that keeps to the bound.

    Raises
    ------
    ValueError
        If it is none that is read here.
    """
    kind = type(codec)
    if kind is ShardingCodec:
        if not all(type(one) in (BytesCodec, Crc32cCodec) for one in codec.index_codecs):
            raise ValueError("its shards have an index that is compressed")
        shards: Codec = replace(codec, codecs=tuple(bounded(one) for one in codec.codecs))
        return shards
    if kind in (BytesCodec, Crc32cCodec, TransposeCodec):
        plain: Codec = codec
        return plain
    if kind not in _BOUNDED:
        raise ValueError(f"its codec {codec.to_dict().get('name')!r} is not read here, only {', '.join(_NAMES)}")
    made: Codec = _BOUNDED[kind].from_dict(codec.to_dict())
    return made


class _Looks:
    """Looks at a chunk before it is decoded."""

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        name = self.to_dict()["name"]  # type: ignore[attr-defined]
        _look(name, chunk_bytes.as_numpy_array(), room(chunk_spec.shape, chunk_spec.dtype.to_native_dtype()))
        return super()._decode_sync(chunk_bytes, chunk_spec)  # type: ignore[misc]


class _Blosc(_Looks, BloscCodec):
    pass


class _Zstd(_Looks, ZstdCodec):
    pass


class VLenUTF8Codec(_Looks, codecs.VLenUTF8Codec):
    """Named as zarr's is, since zarr compares the names of classes where an array holds text."""


class _Gzip(GzipCodec):
    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        most = room(chunk_spec.shape, chunk_spec.dtype.to_native_dtype())
        return chunk_spec.prototype.buffer.from_bytes(_inflated(chunk_bytes.to_bytes(), 31, most))


_BOUNDED: dict[Any, Any] = {BloscCodec: _Blosc, ZstdCodec: _Zstd, GzipCodec: _Gzip, codecs.VLenUTF8Codec: VLenUTF8Codec}
_NAMES = ("bytes", "blosc", "zstd", "gzip", "crc32c", "transpose", "sharding_indexed", "vlen-utf8")


@final
@dataclass(frozen=True)
class Bounded(abc.Codec):  # type: ignore[misc]
    """A compressor or filter of zarr v2 that keeps to a bound of bytes.

    Raises
    ------
    ValueError
        If it is none that is read here.
    """

    inner: Any
    most: int
    codec_id = "bounded"

    def __post_init__(self) -> None:
        if self.inner.codec_id not in ("blosc", "zstd", "gzip", "zlib", "lz4", "vlen-utf8", *_SAME_SIZE):
            raise ValueError(f"its codec {self.inner.codec_id!r} is not read here, only blosc, zstd, gzip, zlib, lz4 and vlen-utf8")

    def encode(self, buf: Any) -> Any:
        """As it does without a bound."""
        return self.inner.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode what keeps to the bound."""
        if self.inner.codec_id in ("gzip", "zlib"):
            return _inflated(bytes(buf), 31 if self.inner.codec_id == "gzip" else 15, self.most)
        if self.inner.codec_id not in _SAME_SIZE:
            _look(self.inner.codec_id, np.frombuffer(buf, dtype=np.uint8), self.most)
        return self.inner.decode(buf, out)

    def get_config(self) -> dict[str, Any]:
        """As that of the codec."""
        return dict(self.inner.get_config())


def _look(name: str, content: Any, most: int) -> None:
    raw = np.ascontiguousarray(content).view(np.uint8).data
    said = _stated(name, raw)
    if said > most:
        raise TooLarge(f"its {len(raw)} bytes of {name} state that they come to {said} bytes, more than the {most} of its shape")


def decoded(name: str, raw: NDArray[np.uint8], nbytes: int) -> NDArray[np.uint8] | None:
    """The bytes of a chunk of blosc or zstd; None if they are not as many as they should be, or cannot be had.

    The thread that asks does the work, and it alone.
    """
    try:
        if _stated(name, raw.data) != nbytes:
            return None
        out = np.empty(nbytes, dtype=np.uint8)
        DECODERS[name](raw, out)
    except (RuntimeError, ValueError):
        return None
    return out


def _stated(name: str, raw: memoryview) -> int:
    """Bytes that a chunk would be decoded to: as it states, or else at most."""
    if name == "zstd":
        return _of_zstd(raw)
    if name == "blosc":
        size = int.from_bytes(raw[12:16], "little")
        if size > len(raw):  # which would be read all the same
            raise ValueError(f"it states {size} bytes, and has {len(raw)}")
        return int.from_bytes(raw[4:8], "little")
    return int.from_bytes(raw[:4], "little") * (8 if name == "vlen-utf8" else 1)  # lz4: bytes, names: pointers


def _of_zstd(raw: memoryview) -> int:
    """Sum over all blocks of what each can come to; a frame may state its size, or not."""
    at, total = 0, 0
    while at + 6 <= len(raw):
        mark = int.from_bytes(raw[at : at + 4], "little")
        if mark in _SKIPPED:
            at += 8 + int.from_bytes(raw[at + 4 : at + 8], "little")
            continue
        if mark != _ZSTD:
            break
        told = raw[at + 4]
        single, checksum = bool(told & 0x20), bool(told & 0x04)
        width = (1 if single else 0, 2, 4, 8)[told >> 6]
        at += 5 + (not single) + (0, 1, 2, 4)[told & 3]
        stated = int.from_bytes(raw[at : at + width], "little") + 256 * (width == 2) if width else 0
        at, blocks, last = at + width, 0, False
        while not last and at + 3 <= len(raw):
            head = int.from_bytes(raw[at : at + 3], "little")
            last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
            blocks += _ZSTD_BLOCK if kind == 2 else size
            at += 3 + (1 if kind == 1 else size)
        total += stated if width else blocks
        at += 4 * checksum
    return total


def _inflated(content: bytes, window: int, most: int) -> bytes:
    """What deflate makes of it, all members of gzip, up to a bound."""
    parts, left = [], most
    while content:
        stream = zlib.decompressobj(window)
        parts.append(stream.decompress(content, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise TooLarge(f"it comes to more than the {most} bytes of its shape")
        if not stream.eof:
            raise EOFError("it ends too early")
        content = stream.unused_data if window == 31 else b""
    return b"".join(parts)
