"""Stores whose metadata or chunks were made to do harm: each is used as before, or refused in one line that names the path."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distlasso as dl
from distlasso.data import seal
from tests.hostile import EXAMPLES, changed, refused_within

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 6)), RNG.standard_normal(60)


def foreign(folder: Path, **options: Any) -> Path:
    """A store as another program writes it: nothing seals it."""
    group = zarr.create_group(folder, **{"zarr_format": options.pop("zarr_format", 3)})
    group.create_array("X", data=X, chunks=(20, 6), **options)
    group.create_array("y", data=Y, **{name: value for name, value in options.items() if name != "shards"})
    return folder


def foreign_sparse(folder: Path) -> Path:
    import scipy.sparse as sp

    group, matrix = zarr.create_group(folder), sp.csr_array(np.where(X > 0.5, X, 0.0))
    own = group.create_group("X", attributes={"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(X.shape)})
    for name in ("data", "indices", "indptr"):
        own.create_array(name, data=getattr(matrix, name))
    group.create_array("y", data=Y)
    return folder


def sealed(folder: Path) -> Path:
    dl.ingest((X, Y), folder, weight=np.ones(60), chunks=(20, 6))
    return folder


def reseal(folder: Path) -> None:
    """As somebody does who has read seal.py: it guards against accidents, not against them."""
    file = folder / "zarr.json"
    about = json.loads(file.read_text())
    own = about.get("attributes", {}).get("distlasso") if isinstance(about.get("attributes"), dict) else None
    if isinstance(own, dict) and "seal" in own:
        rest = {name: value for name, value in own.items() if name not in ("seal", "metadata")}
        about["attributes"]["distlasso"] = seal.sealed(folder, rest)
        file.write_text(json.dumps(about))


def use(folder: Path) -> None:
    """Open it, and read all of it."""
    dataset = dl.open_dataset(folder)
    for i in range(dataset.row_bounds.size - 1):
        for j in range(dataset.col_bounds.size - 1):
            dataset.tile(i, j)


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("zarr.json"))


KINDS: dict[str, Callable[[Path], Path]] = {"foreign": foreign, "sparse": foreign_sparse, "sealed": sealed}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("honest")
    return {kind: make(folder / kind) for kind, make in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(what=st.data())
def test_metadata_that_were_changed_are_used_as_before_or_refused_by_name(
    kind: str, what: st.DataObject, honest: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("changed") / "s.zarr"
    shutil.copytree(honest[kind], folder)
    file = folder / what.draw(st.sampled_from(files(folder)))
    file.write_bytes(what.draw(changed(file.read_bytes())))
    if kind == "sealed":
        with contextlib.suppress(ValueError, AttributeError, RecursionError):  # a root that cannot be read any more
            reseal(folder)
    with refused_within(64 << 20, named=str(folder)):
        use(folder)
    shutil.rmtree(folder.parent)


def edit(file: Path, **more: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def with_chunks(*sizes: int) -> dict[str, Any]:
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(sizes)}}}


ABSURD: dict[str, tuple[str, dict[str, Any]]] = {
    "shape": ("X", {"shape": [10**18, 10**18]}),
    "one long side": ("X", {"shape": [10**18, 6]}),
    "chunks": ("X", with_chunks(10**18, 10**18)),
    "shape and chunks": ("X", {"shape": [10**9, 10**6], **with_chunks(10**9, 10**6)}),
    "many chunks": ("X", {"shape": [10**12, 6], **with_chunks(1, 1)}),
    "no chunks": ("X", with_chunks(0, 6)),
    "target": ("y", {"shape": [10**18]}),
    "chunks of the target": ("y", with_chunks(10**12)),
    "large values": ("X", {"data_type": {"name": "fixed_length_utf32", "configuration": {"length_bytes": 4 * 10**9}}}),
}


@pytest.mark.parametrize("what", ABSURD)
def test_absurd_sizes_are_refused_before_anything_is_allocated(what: str, tmp_path: Path) -> None:
    folder = foreign(tmp_path / "s.zarr")
    name, more = ABSURD[what]
    edit(folder / name / "zarr.json", **more)
    with refused_within(16 << 20, named=str(folder)), pytest.raises(dl.StoreError):
        use(folder)


def test_rows_that_no_file_stands_for_are_refused_where_they_are_many(tmp_path: Path) -> None:
    """All of the metadata agree on a billion rows; there are 60."""
    folder = foreign(tmp_path / "s.zarr")
    edit(folder / "X" / "zarr.json", shape=[10**9, 6], **with_chunks(10**8, 6))
    edit(folder / "y" / "zarr.json", shape=[10**9], **with_chunks(10**8))
    with refused_within(16 << 20, named=str(folder)), pytest.raises(dl.StoreError, match="stand for 8000000000 bytes"):
        use(folder)


def bombs() -> dict[str, tuple[Any, bytes]]:
    """Chunks of a few kilobytes that come to 256 MB."""
    from numcodecs import Blosc, GZip, Zstd

    zeros = np.zeros(256 << 20, np.uint8)
    stated = bytearray(Blosc(cname="zstd", clevel=1).encode(np.zeros(1 << 20, np.uint8)))
    stated[4:8] = (2**31 - 17).to_bytes(4, "little")
    whole = bytearray(Zstd(level=1).encode(zeros))
    head = 5 + (1, 2, 4, 8)[whole[4] >> 6] + (not whole[4] & 0x20)
    silent = bytes(whole[:4]) + bytes([0x00, 0x68]) + bytes(whole[head:])  # a window of 8 MB, and no size
    deflated = zlib.compressobj(9, zlib.DEFLATED, 31)
    two = deflated.compress(bytes(128 << 20)) + deflated.flush()
    return {
        "blosc": (zarr.codecs.BloscCodec(), Blosc(cname="zstd", clevel=1).encode(zeros)),
        "blosc that lies": (zarr.codecs.BloscCodec(), bytes(stated)),
        "zstd": (zarr.codecs.ZstdCodec(), bytes(whole)), "zstd without a size": (zarr.codecs.ZstdCodec(), silent),
        "gzip": (zarr.codecs.GzipCodec(), GZip(9).encode(zeros)), "gzip of two members": (zarr.codecs.GzipCodec(), two + two),
    }  # fmt: skip


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[Any, bytes]]:
    return bombs()


BOMBS = ["blosc", "blosc that lies", "zstd", "zstd without a size", "gzip", "gzip of two members"]


@pytest.mark.parametrize("member", ["X", "y"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_chunk_that_comes_to_more_than_its_shape_is_refused_before_it_does(
    name: str, member: str, made: dict[str, tuple[Any, bytes]], tmp_path: Path
) -> None:  # fmt: skip
    codec, content = made[name]
    folder = foreign(tmp_path / "s.zarr", compressors=codec)
    chunk = folder / member / ("c/1/0" if member == "X" else "c/0")
    assert chunk.is_file()
    use(folder)
    chunk.write_bytes(content)
    with refused_within(32 << 20, named=str(chunk), beside=len(content)), pytest.raises(dl.StoreError, match="of its shape"):
        use(folder)


@pytest.mark.parametrize("identity", ["blosc", "zstd", "gzip", "zlib", "lz4"])
def test_chunks_of_the_second_version_of_zarr_are_read_and_keep_to_the_bound(identity: str, tmp_path: Path) -> None:
    import numcodecs

    codec = numcodecs.get_codec({"id": identity})
    folder = foreign(tmp_path / "s.zarr", zarr_format=2, compressors=codec)
    np.testing.assert_array_equal(dl.open_dataset(folder).tile(1, 0).gather(np.arange(6)), X[20:40])
    chunk = folder / "X" / "1.0"
    chunk.write_bytes(codec.encode(np.zeros(256 << 20, np.uint8)))
    with refused_within(32 << 20, named=str(chunk), beside=4 << 20), pytest.raises(dl.StoreError, match="of its shape"):
        use(folder)


def test_shards_are_read_and_their_chunks_keep_to_the_bound(made: dict[str, tuple[Any, bytes]], tmp_path: Path) -> None:
    codec, content = made["zstd"]
    group = zarr.create_group(tmp_path / "s.zarr")
    group.create_array("X", data=X, chunks=(10, 6), shards=(20, 6), compressors=codec)
    group.create_array("y", data=Y)
    np.testing.assert_array_equal(dl.open_dataset(tmp_path / "s.zarr").tile(1, 0).gather(np.arange(6)), X[20:40])
    index = np.array([0, len(content), 0, len(content)], dtype="<u8").tobytes()
    import google_crc32c

    chunk = tmp_path / "s.zarr" / "X" / "c" / "1" / "0"
    chunk.write_bytes(content + index + google_crc32c.value(index).to_bytes(4, "little"))
    with refused_within(32 << 20, named=str(chunk)), pytest.raises(dl.StoreError, match="of its shape"):
        use(tmp_path / "s.zarr")


def test_a_chunk_file_of_terabytes_is_not_read(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "s.zarr")
    os.truncate(folder / "X" / "c" / "1" / "0", 1 << 40)
    with refused_within(16 << 20, named=str(folder)), pytest.raises(dl.StoreError, match="more than its values can take"):
        use(folder)


def test_names_that_say_to_be_billions_are_refused(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "s.zarr")
    zarr.open_group(folder).create_array("feature_names", data=np.array([f"c{k}" for k in range(6)]).astype("T"), compressors=None)
    assert dl.open_dataset(folder).feature_names == [f"c{k}" for k in range(6)]
    chunk = folder / "feature_names" / "c" / "0"
    chunk.write_bytes((2**32 - 1).to_bytes(4, "little") + chunk.read_bytes()[4:])
    with refused_within(16 << 20, named=str(chunk)), pytest.raises(dl.StoreError, match="of its shape"):
        use(folder)


class Malicious:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return (Path.touch, (self.victim,))


@pytest.mark.parametrize("place", ["filters", "compressor", "beside names"])
def test_a_store_that_would_be_unpickled_is_refused_and_not_run(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Even where the library that reads it was told that pickles are fine."""
    from numcodecs import pickles

    monkeypatch.setattr(pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    folder, victim = foreign(tmp_path / "s.zarr", zarr_format=2), tmp_path / "victim"
    pickled = {"id": "pickle"}
    names = {"dtype": "|O", "fill_value": "", "compressor": None, "filters": [{"id": "vlen-utf8"}, pickled]}
    more: dict[str, Any] = {
        "filters": {"filters": [pickled], "compressor": None}, "compressor": {"filters": None, "compressor": pickled},
        "beside names": names,
    }  # fmt: skip
    edit(folder / "y" / ".zarray", **more[place])
    (folder / "y" / "0").write_bytes(pickle.dumps([Malicious(victim)]))
    with pytest.raises(dl.StoreError, match=re.escape(str(folder))):
        use(folder)
    assert not victim.exists()


def outside(folder: Path, place: str) -> Path:
    """Have a part of a store lie elsewhere; return where that is."""
    elsewhere = folder.parent / "elsewhere"
    part = folder / place
    shutil.move(part, elsewhere)
    part.symlink_to(elsewhere)
    return part


@pytest.mark.parametrize("kind", ["foreign", "sealed"])
@pytest.mark.parametrize("place", ["zarr.json", "X", "X/zarr.json", "X/c", "X/c/1", "X/c/1/0", "y/c/0"])
def test_links_that_lead_out_of_a_store_are_refused_by_name(kind: str, place: str, tmp_path: Path) -> None:
    folder = KINDS[kind](tmp_path / "s.zarr")
    part = outside(folder, place)
    with pytest.raises(dl.StoreError, match=rf"{re.escape(str(part))}\S* leads out of {re.escape(str(folder))}"):
        use(folder)


def test_a_store_that_is_reached_by_a_link_is_read(tmp_path: Path) -> None:
    foreign(tmp_path / "s.zarr")
    (tmp_path / "link").symlink_to(tmp_path / "s.zarr")
    use(tmp_path / "link")


@pytest.mark.parametrize("name", ["../secret/zarr.json", "/etc/passwd", "X/../../secret/zarr.json", "/dev/zero"])
def test_a_seal_that_names_files_elsewhere_is_refused_by_name(name: str, tmp_path: Path) -> None:
    folder, secret = sealed(tmp_path / "s.zarr"), tmp_path / "secret" / "zarr.json"
    secret.parent.mkdir()
    secret.write_text("{}")
    file = folder / "zarr.json"
    about = json.loads(file.read_text())
    own = about["attributes"]["distlasso"]
    own["metadata"][name] = seal._digest(b"{}")
    own["seal"] = seal._of_attribute({key: value for key, value in own.items() if key != "seal"})
    file.write_text(json.dumps(about))
    with pytest.raises(dl.StoreError, match=rf"{re.escape(name)} leads out of"):
        dl.open_dataset(folder)


@pytest.mark.parametrize("place", ["zarr.json", "X/zarr.json", "X/c/1/0", "y/c/0"])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(place: str, tmp_path: Path) -> None:
    folder = foreign(tmp_path / "s.zarr")
    (folder / place).unlink()
    os.mkfifo(folder / place)
    with pytest.raises(dl.StoreError, match=rf"{re.escape(str(folder / place))} is neither a file nor a folder"):
        use(folder)
