"""Checkpoints whose files were made to do harm: the bits of the quiet fit, or an error in one line with the path."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distlasso as dl
from distlasso.coordinator.codec import nbytes_of
from distlasso.coordinator.journal import _HEAD, _MARK, Journal, _digest
from tests.checkpoint_cases import fit, paths
from tests.hostile import EXAMPLES, changed, refused_within, structures

KINDS = ("gram", "admm")
FILES = ("checkpoint.json", "answers.journal")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dl.Path]]:
    folder = tmp_path_factory.mktemp("honest")
    return {kind: (folder / kind, fit(kind, checkpoint=folder / kind, n_lambdas=4)) for kind in KINDS}


def resume(kind: str, folder: Path) -> dl.Path:
    (path,) = paths(fit(kind, checkpoint=folder, n_lambdas=4))
    return path


def same_bits(a: dl.Path, b: dl.Path) -> bool:
    pairs = [(a.lambdas, b.lambdas), (a.gap, b.gap), (a.intercept, b.intercept), (a.coef.toarray(), b.coef.toarray())]
    return all(one.tobytes() == other.tobytes() for one, other in pairs)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(what=st.data())
def test_a_checkpoint_that_was_changed_never_changes_a_number(
    kind: str, what: st.DataObject, honest: dict[str, tuple[Path, dl.Path]], tmp_path_factory: pytest.TempPathFactory
) -> None:  # fmt: skip
    whole, quiet = honest[kind]
    folder = tmp_path_factory.mktemp("changed") / "c"
    shutil.copytree(whole, folder)
    file = folder / what.draw(st.sampled_from(FILES))
    file.write_bytes(what.draw(changed(file.read_bytes())))
    with refused_within(64 << 20, named=str(folder)):
        assert same_bits(resume(kind, folder), quiet)
    shutil.rmtree(folder.parent)


def records(file: Path) -> list[tuple[bytes, bytes]]:
    """Text and arrays of all records."""
    found, content = Journal(file), file.read_bytes()
    found.close()
    return [(content[one.start + _HEAD.size : one.arrays], content[one.arrays : one.stop]) for one in found.records]


def write(file: Path, found: Sequence[tuple[bytes, bytes]]) -> None:
    """With digests that are right: who has read journal.py can make them."""
    with open(file, "wb") as out:
        for text, arrays in found:
            told = _digest(len(text), len(arrays))
            told.update(text + arrays)
            out.write(_HEAD.pack(_MARK, len(text), len(arrays), told.digest()) + text + arrays)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(what=st.data())
def test_records_that_were_forged_are_followed_nowhere(
    kind: str, what: st.DataObject, honest: dict[str, tuple[Path, dl.Path]], tmp_path_factory: pytest.TempPathFactory
) -> None:  # fmt: skip
    """What they say in numbers is believed; whatever else they say, the fit ends, or is refused."""
    folder = tmp_path_factory.mktemp("forged") / "c"
    shutil.copytree(honest[kind][0], folder)
    file = folder / "answers.journal"
    found = records(file)
    k = what.draw(st.integers(0, len(found) - 1))
    text, arrays = what.draw(structures(found[k][0])), found[k][1]
    try:
        size = sum(nbytes_of(form) for form in json.loads(text)["arrays"])
        arrays = (arrays + bytes(max(0, min(size, 1 << 20) - len(arrays))))[:size]
    except (ValueError, KeyError, TypeError):
        pass
    write(file, [*found[:k], (text, arrays), *found[k + 1 :]])
    with refused_within(64 << 20, named=str(folder)):
        resume(kind, folder)
    shutil.rmtree(folder.parent)


@pytest.mark.parametrize("name", ["checkpoint.json", "answers.journal", "lock", ".checkpoint.json.wip"])
def test_links_that_lead_out_of_a_checkpoint_are_refused_by_name(
    name: str, honest: dict[str, tuple[Path, dl.Path]], tmp_path: Path
) -> None:  # fmt: skip
    folder, elsewhere = tmp_path / "c", tmp_path / "elsewhere"
    shutil.copytree(honest["gram"][0], folder)
    (folder / name).unlink(missing_ok=True)
    elsewhere.write_text("what is not ours")
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(dl.StoreError, match=rf"{re.escape(name)} leads out of {re.escape(str(folder))}"):
        resume("gram", folder)
    assert elsewhere.read_text() == "what is not ours"


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_in_a_checkpoint_is_refused_and_not_waited_for(
    name: str, honest: dict[str, tuple[Path, dl.Path]], tmp_path: Path
) -> None:  # fmt: skip
    folder = tmp_path / "c"
    shutil.copytree(honest["gram"][0], folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(dl.StoreError, match=rf"{re.escape(name)} is neither a file nor a folder"):
        resume("gram", folder)


def test_a_checkpoint_that_is_reached_by_a_link_goes_on(honest: dict[str, tuple[Path, dl.Path]], tmp_path: Path) -> None:
    shutil.copytree(honest["gram"][0], tmp_path / "c")
    (tmp_path / "link").symlink_to(tmp_path / "c")
    path = resume("gram", tmp_path / "link")
    assert same_bits(path, honest["gram"][1]) and path.resumed == path.rounds


def test_a_record_that_says_to_be_of_gigabytes_is_not_read_into_memory(
    honest: dict[str, tuple[Path, dl.Path]], tmp_path: Path
) -> None:  # fmt: skip
    """The file is as long as it says, which costs nobody anything where it has holes."""
    folder = tmp_path / "c"
    shutil.copytree(honest["gram"][0], folder)
    file = folder / "answers.journal"
    size = file.stat().st_size
    for text, arrays in ((2**32 - 1, 0), (100, 512 << 20)):
        with open(file, "ab") as out:
            out.write(_HEAD.pack(_MARK, text, arrays, bytes(32)))
            out.truncate(out.tell() + text + arrays)
        with refused_within(32 << 20, named=str(folder)), pytest.warns(dl.CheckpointWarning, match=f"the record at byte {size} is"):
            assert same_bits(resume("gram", folder), honest["gram"][1])
        assert file.stat().st_size == size
