"""Checkpoints: a fit that was killed anywhere goes on to the bits of the quiet one; another fit, or damage, is refused."""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import CASES, FEW, data, fit, paths, same_bits

import distlasso as dl
from distlasso import held_out, queries
from distlasso.coordinator import codec, multi_task, recorded, side_by_side, squared
from distlasso.coordinator.form_of_answers import answers
from distlasso.coordinator.journal import Journal
from distlasso.events import CheckpointWritten, Resumed
from distlasso.runtime.local import serial
from distlasso.solvers import local_step

HERE = Path(__file__).parent
SOURCE = Path(dl.__file__).parent


@pytest.fixture(scope="module")
def quiet() -> dict[str, Any]:
    """What every fit comes to without a checkpoint; filled as it is asked for."""

    class Results(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            self[name] = fit(name)
            return self[name]

    return Results()


@pytest.fixture(scope="module")
def killer() -> Iterator[Any]:
    """Have a process of its own run a fit and kill itself after a round; returns its exit code."""
    command = [sys.executable, str(HERE / "checkpoint_cases.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def kill(name: str, last: int, folder: Path) -> int:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{name}\t{last}\t{folder}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield kill
        assert process.stdin is not None
        process.stdin.close()


def journal(folder: Path) -> Path:
    return folder / "answers.journal"


def cut(folder: Path, records: int) -> None:
    """Make a checkpoint what it was after some records."""
    file = Journal(journal(folder))
    stop = file.records[records].start
    file.close()
    with open(journal(folder), "r+b") as out:
        out.truncate(stop)


@pytest.mark.parametrize("name", CASES)
def test_killed_twice_a_fit_goes_on_to_the_bits_of_the_quiet_one(name: str, quiet: Any, killer: Any, tmp_path: Path) -> None:
    rounds = paths(quiet[name])[0].rounds
    chosen = random.Random(name)
    first = chosen.randint(1, rounds - 1)
    second = chosen.randint(first + 1, rounds)
    for last in (first, second):
        assert killer(name, last, tmp_path) in (-signal.SIGKILL, 0)  # 0: the same was asked twice, in fewer rounds
    events: list[Any] = []
    result = fit(name, checkpoint=tmp_path, on_event=events.append)
    same_bits(result, quiet[name])
    path = paths(result)[0]
    assert path.resumed >= min(second, rounds - 1)
    assert [event.rounds >= path.resumed - 2 for event in events if isinstance(event, Resumed)] == [True]
    assert path.passes == paths(quiet[name])[0].passes
    assert path.rounds == rounds


class Counting:
    """The serial runtime, which counts how often it is asked."""

    def __init__(self) -> None:
        self.serial, self.runs = serial(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.serial, name)

    def run(self, asks: Any) -> Any:
        self.runs += 1
        return self.serial.run(asks)


def test_what_was_too_large_to_keep_is_computed_again_in_one_sweep(
    quiet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "_SMALL", 0)
    monkeypatch.setattr(recorded, "_BYTES_A_SECOND", 0.0)
    for name in ("gram", "residual", "rounds", "held", "folds by rounds"):
        folder = tmp_path / name
        fit(name, checkpoint=folder)
        events: list[Any] = []
        runtime = Counting()
        same_bits(fit(name, checkpoint=folder, on_event=events.append, runtime=runtime), quiet[name])
        (resumed,) = [event for event in events if isinstance(event, Resumed)]
        assert resumed.again > 0
        assert 1 <= runtime.runs <= 3  # one for all, and what is asked twice within a fit


def test_where_memory_is_short_they_are_computed_again_in_several_sweeps(
    quiet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "_SMALL", 0)
    monkeypatch.setattr(recorded, "_BYTES_A_SECOND", 0.0)
    monkeypatch.setattr("distlasso.coordinator.checkpoint.TOGETHER", 1)
    fit("residual", checkpoint=tmp_path)
    runtime = Counting()
    same_bits(fit("residual", checkpoint=tmp_path, runtime=runtime), quiet["residual"])
    assert runtime.runs > 1


@pytest.mark.parametrize("name", ["gram", "residual", "held", "responses", "multi-task", "folds", "folds of a schedule", "prior"])
def test_what_the_coordinator_has_worked_out_is_not_worked_out_again(
    name: str, quiet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = quiet[name]
    monkeypatch.setattr(recorded, "_BYTES_A_SECOND", np.inf)
    same_bits(fit(name, checkpoint=tmp_path), expected)

    def again(*_: Any, **__: Any) -> Any:
        raise AssertionError("it descends again")

    for solver in (squared.Squared, side_by_side.SideBySide, multi_task.MultiTask):
        monkeypatch.setattr(solver, "_descend", again)
    same_bits(fit(name, checkpoint=tmp_path), expected)


def test_work_of_another_shape_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "_BYTES_A_SECOND", np.inf)
    fit("gram", checkpoint=tmp_path)
    file = Journal(journal(tmp_path))
    key = next(record.about["key"] for record in file.records if "worked" in record.about)
    file.append({"key": key, "bytes": 8, "worked": {"list": [{"array": 0}]}}, [np.zeros(3)])
    file.close()
    with pytest.raises(dl.StoreError, match="is damaged"):
        fit("gram", checkpoint=tmp_path)


def test_a_runtime_that_fails_in_mid_fit_leaves_a_checkpoint_that_goes_on(quiet: Any, tmp_path: Path) -> None:
    class Failing(Counting):
        def run(self, asks: Any) -> Any:
            if self.runs == 7:
                raise self.error
            return super().run(asks)

    for k, error in enumerate([dl.SchedulerError("the scheduler is gone"), dl.StoreError("chunk 3 cannot be read")]):
        runtime = Failing()
        runtime.error = error  # type: ignore[attr-defined]
        with pytest.raises(dl.ResumableError, match=f"{error}; the checkpoint has 7 rounds: the same fit continues there"):
            fit("rounds", checkpoint=tmp_path / str(k), runtime=runtime)
        same_bits(fit("rounds", checkpoint=tmp_path / str(k)), quiet["rounds"])


def test_it_goes_on_with_another_runtime_and_number_of_workers(cluster: dl.Cluster, tmp_path: Path) -> None:
    X, y = data(500, classes=True)
    dataset = dl.ingest((X, y), tmp_path / "d.zarr", chunks=(60, 80))
    options = {"loss": "logistic", "n_lambdas": 12, "lambda_min_ratio": 0.01}
    serial = dl.fit_path(dataset, runtime="serial", checkpoint=tmp_path / "c", **options)
    for records, runtime in ((18, cluster), (10, "threads"), (5, cluster)):
        cut(tmp_path / "c", records)
        path = dl.fit_path(dataset, runtime=runtime, checkpoint=tmp_path / "c", **options)
        same_bits(path, serial)
        assert path.resumed >= records - 1


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"n_lambdas": 13}, r"n_lambdas is 13, there 12"), ({"tol": 1e-7}, "tol is 1e-07, there 1e-06"),
        ({"loss": dl.Huber(2.0)}, r"loss is 'dl.Huber\(2.0\)', there 'squared';"),
        ({"loss": "huber"}, "loss is 'huber', there 'squared';"),
        ({"l1_ratio": 0.5}, "l1_ratio is 0.5"), ({"solver": "fista"}, "solver is"),
        ({"penalty_factors": np.arange(80.0)}, "penalty_factors is '80 numbers', there None"),
        ({"bounds": (-1, 1)}, r"bounds is \[-1.0, 1.0\], there None"),
        ({"schedule": dl.MCP()}, "schedule is"), ({"sample_weight": np.arange(1.0, 501)}, "sample_weight is 'given', there None"),
        ({"memory": "1GB"}, "memory is"), ({"init": np.ones(80)}, "init is"),
        ({"lambdas": [0.2, 0.1]}, r"lambdas is \[0.2, 0.1\], there None"), ({"standardize": False}, "standardize is"),
    ],
)  # fmt: skip
def test_another_fit_is_refused_and_the_difference_named(changed: dict[str, Any], named: str, tmp_path: Path) -> None:
    X, y = data(500)
    dl.fit_path(X, y, checkpoint=tmp_path, **FEW)
    with pytest.raises(dl.InputError, match=f"of another fit: {named}.*choose another folder"):
        dl.fit_path(X, y, checkpoint=tmp_path, **(FEW | changed))


def test_a_checkpoint_that_does_not_know_how_its_fit_was_spelled_is_used_as_ever(tmp_path: Path) -> None:
    X, y = data(500)
    path = dl.fit_path(X, y, checkpoint=tmp_path, **FEW)
    file = tmp_path / "checkpoint.json"
    file.write_text(json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != "shown"}))
    again = dl.fit_path(X, y, checkpoint=tmp_path, **FEW)
    same_bits(again, path)
    assert again.resumed == path.rounds
    with pytest.raises(dl.InputError, match="of another fit: loss is 'huber', there"):
        dl.fit_path(X, y, loss="huber", checkpoint=tmp_path, **FEW)


def test_other_data_are_refused(tmp_path: Path) -> None:
    X, y = data(500)
    dl.fit_path(X, y, checkpoint=tmp_path, **FEW)
    other = X.copy()
    other[3, 4] = np.nextafter(other[3, 4], 9.0)
    with pytest.raises(dl.InputError, match="of another fit: X is not the same as there;"):
        dl.fit_path(other, y, checkpoint=tmp_path, **FEW)
    with pytest.raises(dl.InputError, match="of another fit: y is not the same as there;"):
        dl.fit_path(X, y[::-1], checkpoint=tmp_path, **FEW)
    with pytest.raises(dl.InputError, match="call is"):
        dl.cross_validate(X, y, checkpoint=tmp_path, **FEW)


def test_other_folds_are_refused_and_another_rule_is_not(tmp_path: Path) -> None:
    X, y = data(60)
    first = dl.cross_validate(X, y, folds=3, checkpoint=tmp_path, **FEW)
    other = dl.cross_validate(X, y, folds=3, checkpoint=tmp_path, rule="1se", score="mae", **FEW)
    assert other.rule == "1se"
    np.testing.assert_array_equal(other.path.coef.toarray(), first.path.coef.toarray())
    with pytest.raises(dl.InputError, match="folds is"):
        dl.cross_validate(X, y, folds=3, random_state=1, checkpoint=tmp_path, **FEW)


def test_more_time_may_be_given(quiet: Any, tmp_path: Path) -> None:
    def late(event: Any) -> None:
        if isinstance(event, CheckpointWritten) and event.round == 10:
            time.sleep(limit)

    limit = 1.0
    short = fit("rounds", checkpoint=tmp_path, time_limit=limit, on_event=late)
    assert not short.complete
    same_bits(fit("rounds", checkpoint=tmp_path), quiet["rounds"])


def test_another_platform_is_announced_and_goes_on(quiet: Any, tmp_path: Path) -> None:
    fit("rounds", checkpoint=tmp_path)
    cut(tmp_path, 9)
    about = json.loads((tmp_path / "checkpoint.json").read_text())
    about["platform"] |= {"numpy": "1.0", "processor": "6502"}
    (tmp_path / "checkpoint.json").write_text(json.dumps(about))
    with pytest.warns(dl.CheckpointWarning, match=r"another platform \(processor 6502 -> .*, numpy 1\.0 -> "):
        same_bits(fit("rounds", checkpoint=tmp_path), quiet["rounds"])


def test_a_torn_end_is_dropped_without_a_word(quiet: Any, tmp_path: Path) -> None:
    fit("rounds", checkpoint=tmp_path / "whole")
    content = journal(tmp_path / "whole").read_bytes()
    chosen = random.Random(0)
    for size in (0, 1, len(content) - 1, *(chosen.randrange(len(content)) for _ in range(7))):
        folder = tmp_path / str(size)
        shutil.copytree(tmp_path / "whole", folder)
        journal(folder).write_bytes(content[:size])
        same_bits(fit("rounds", checkpoint=folder), quiet["rounds"])
        assert len(journal(folder).read_bytes()) == pytest.approx(len(content), abs=2000)  # seconds differ in digits


@pytest.mark.filterwarnings("ignore::distlasso.CheckpointWarning")
def test_a_flipped_bit_anywhere_never_changes_a_number(quiet: Any, tmp_path: Path) -> None:
    fit("rounds", checkpoint=tmp_path / "whole")
    chosen = random.Random(1)
    refused: list[tuple[str, str]] = []
    for k in range(12):
        folder = tmp_path / str(k)
        shutil.copytree(tmp_path / "whole", folder)
        file = folder / "checkpoint.json" if k % 4 == 0 else journal(folder)
        content = bytearray(file.read_bytes())
        content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
        file.write_bytes(content)
        try:
            same_bits(fit("rounds", checkpoint=folder), quiet["rounds"])
        except (dl.InputError, dl.StoreError) as error:
            refused.append((file.name, str(error)))
    assert all(name == "checkpoint.json" for name, _ in refused)
    assert all(re.search("damaged|another fit|format", said) for _, said in refused)


def test_damage_in_the_middle_is_announced(quiet: Any, tmp_path: Path) -> None:
    fit("rounds", checkpoint=tmp_path)
    file = Journal(journal(tmp_path))
    at = file.records[8].arrays
    file.close()
    content = bytearray(journal(tmp_path).read_bytes())
    content[at] ^= 1
    journal(tmp_path).write_bytes(content)
    with pytest.warns(dl.CheckpointWarning, match="is not as it was written; what was written before that is used"):
        path = fit("rounds", checkpoint=tmp_path)
    same_bits(path, quiet["rounds"])
    assert 8 <= path.resumed < path.rounds - 5


def forged(folder: Path, tree: Any, arrays: list[Any]) -> None:
    """Put an answer of our own, with a digest that is right, in the place of the first one."""
    file = Journal(journal(folder))
    key = file.records[0].about["key"]
    file.close()
    journal(folder).unlink()
    file = Journal(journal(folder))
    file.append({"key": key, "bytes": 8, "read": 0, "moved": 0, "seconds": 0.0, "answer": tree}, arrays)
    file.close()


@pytest.mark.parametrize(
    "tree",
    [
        {"class": "os.system", "of": {"command": "touch hacked"}}, {"class": "Statistics", "of": {"weight": 1}},
        {"array": 7}, {"pickle": "cos\nsystem\n(S'touch hacked'\ntR."}, 3, {"list": [{"class": {}, "of": []}]},
        {"csc": [{"array": 0}, {"array": 0}, {"array": 0}], "shape": [3, 3]},
        {"list": [{"class": "Ask", "of": {"request": None}}]}, {"list": []}, {"list": [{"array": 0}]},
        {"list": [{"class": "Value", "of": {}}]},
    ],
)  # fmt: skip
def test_a_forged_answer_runs_nothing_and_is_refused(tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit("rounds", checkpoint=tmp_path / "c")
    forged(tmp_path / "c", tree, [np.zeros(4)])
    with pytest.raises(dl.StoreError, match="is damaged"):
        fit("rounds", checkpoint=tmp_path / "c")
    assert not (tmp_path / "hacked").exists()


def test_absurd_sizes_are_refused_before_anything_is_allocated(
    quiet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, form in enumerate(
        [
            {"dtype": "float64", "shape": [1 << 38], "order": "C"}, {"dtype": "float64", "shape": [1 << 60, 1 << 60], "order": "C"},
            {"dtype": "object", "shape": [1], "order": "C"}, {"dtype": "float64", "shape": [-1], "order": "C"},
            {"dtype": "float64", "shape": [1.0], "order": "C"}, {"dtype": "float64"}, "float64",
            {"dtype": [], "shape": [1], "order": "C"},
        ]
    ):  # fmt: skip
        folder = tmp_path / str(k)
        fit("rounds", checkpoint=folder)
        file = Journal(journal(folder))
        key = file.records[0].about["key"]
        file.close()
        journal(folder).unlink()
        file = Journal(journal(folder))
        with monkeypatch.context() as patched:
            patched.setattr("distlasso.coordinator.journal.raw", lambda array, form=form: (form, codec.raw(array)[1]))
            file.append({"key": key, "bytes": 8, "answer": {"list": [{"array": 0}]}}, [np.zeros(1)])
        file.close()
        with pytest.warns(dl.CheckpointWarning, match="not as it was written"):
            same_bits(fit("rounds", checkpoint=folder), quiet["rounds"])


def test_two_processes_do_not_share_a_checkpoint(tmp_path: Path) -> None:
    refused: list[str] = []

    def another(event: Any) -> None:
        if isinstance(event, CheckpointWritten) and not refused:
            with pytest.raises(dl.StoreError, match="in use by another process") as error:
                fit("gram", checkpoint=tmp_path)
            refused.append(str(error.value))

    fit("gram", checkpoint=tmp_path, on_event=another)
    assert refused


def test_what_is_no_checkpoint_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(dl.StoreError, match=r"is not a checkpoint, it holds 'thesis\.tex'"):
        fit("gram", checkpoint=tmp_path)
    with pytest.raises(dl.StoreError, match="cannot write to the checkpoint folder"):
        fit("gram", checkpoint=tmp_path / "thesis.tex" / "c")
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "checkpoint.json").write_text('{"format": 99}')
    with pytest.raises(dl.StoreError, match="has format 99"):
        fit("gram", checkpoint=tmp_path / "newer")


def test_a_full_disk_ends_the_fit_and_what_was_written_counts(quiet: Any, tmp_path: Path) -> None:
    """A limit on the size of files, which the system enforces as it does the end of a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(dl.ResumableError, match=r"cannot write to the checkpoint .*answers\.journal.*the same fit continues"):
            fit("rounds", checkpoint=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    path = fit("rounds", checkpoint=tmp_path)
    same_bits(path, quiet["rounds"])
    assert path.resumed > 5


def test_a_dask_array_has_no_content_to_be_known_by(tmp_path: Path) -> None:
    import dask.array as da

    with pytest.raises(dl.InputError, match=r"dl\.ingest"):
        dl.fit_path(da.from_array(np.eye(6)), np.arange(6.0), checkpoint=tmp_path)


def test_answers_of_another_form_are_told_from_true_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer of every fit passes, and none of another fit in its place."""
    seen: dict[str, Any] = {}

    class Watching(Counting):
        def run(self, asks: Any) -> Any:
            told = super().run(asks)
            for ask, answer in zip(asks, told, strict=True):
                assert answers(ask, answer, self.serial._dataset.shape), ask.request.queries
                for query, part in zip(ask.request.queries, answer, strict=True):
                    seen.setdefault(type(query).__name__, part)
                    others = [other for other in seen.values() if type(other) is not type(part)]
                    alone = replace(ask, request=replace(ask.request, queries=(query,)))
                    for other in (*others, None, np.zeros((1, 7, 3))):
                        assert not answers(alone, [other], self.serial._dataset.shape)
            return told

    for name in CASES:
        fit(name, runtime=Watching())
    fit("folds by rounds", runtime=Watching(), score="auc")
    assert len(seen) >= 13


def test_every_query_and_answer_survives_the_file(tmp_path: Path) -> None:
    names = {name for module in (queries, held_out, local_step) for name, what in vars(module).items()
             if isinstance(what, type) and callable(getattr(what, "ask", None)) and what is not queries.Query}  # fmt: skip
    assert names <= set(codec._CLASSES)
    import scipy.sparse as sp

    awkward = [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(12.0)[::3], np.empty((0, 4)), np.array(2.5),
        np.zeros(3, np.int8), sp.csc_array(np.eye(3)), -0.0, float("inf"), 1e-310, (1, None, "a", True), queries.Look(np.arange(2)),
        dl.Huber(1.5), np.float64(0.1), np.int64(3),
    ]  # fmt: skip
    packed = codec.pack(awkward)
    file = Journal(tmp_path / "j")
    file.append({"tree": packed.tree}, packed.arrays)
    file.close()
    file = Journal(tmp_path / "j")
    back = codec.unpack(codec.Packed(file.records[0].about["tree"], file.arrays(file.records[0])))
    file.close()
    assert codec.digest(codec.pack(back), "") == codec.digest(packed, "")
    assert back[0].flags.f_contiguous and back[0].flags.writeable
    assert np.copysign(1.0, back[6]) == -1.0
    assert codec.digest(codec.pack([1.0]), "") != codec.digest(codec.pack([2.0]), "")
    assert codec.digest(packed, "a") != codec.digest(packed, "b")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((3000, 200))
    y = np.asarray(X[:, :9] @ rng.standard_normal(9) + 3.0 * rng.standard_normal(3000) > 0, dtype=np.float64)
    folder = tmp_path_factory.mktemp("checkpoint")
    dl.ingest((X, y), folder / "d.zarr", chunks=(300, 200))
    return folder / "d.zarr"


def command(store: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "distlasso.cli", "fit", str(store), "--out", str(out), "--loss", "logistic", "--runtime",
            "threads", "--checkpoint", str(out.parent / "c"), "--json", *more]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_the_command_with_code_75_and_it_goes_on(number: signal.Signals, store: Path, tmp_path: Path) -> None:
    with subprocess.Popen(command(store, tmp_path / "m"), stderr=subprocess.PIPE, text=True) as process:
        file = journal(tmp_path / "c")
        while process.poll() is None and not (file.exists() and file.stat().st_size > 200_000):
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert said.splitlines()[-1].endswith(f"stopped by {number.name}: add --resume to go on from the checkpoint {tmp_path / 'c'}")
    assert not (tmp_path / "m").exists()
    if number != signal.SIGTERM:
        return
    again = subprocess.run(command(store, tmp_path / "m"), capture_output=True, text=True, check=False, timeout=60)
    assert again.returncode == 2
    assert "is not empty: choose another folder, or go on from there with: distlasso fit" in again.stderr
    assert again.stderr.rstrip().endswith("--json --resume")
    done = subprocess.run(command(store, tmp_path / "m", "--resume"), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed"] > 3
    same_bits(dl.load(tmp_path / "m"), dl.fit_path(dl.open_dataset(store), loss="logistic"))


def test_resume_begins_afresh_in_an_empty_folder_and_needs_one(store: Path, tmp_path: Path) -> None:
    line = command(store, tmp_path / "m", "--resume", "--n-lambdas", "3")
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = [part for part in command(store, tmp_path / "n", "--resume") if part not in ("--checkpoint", str(tmp_path / "c"))]
    bare = subprocess.run(line, capture_output=True, text=True, check=False)
    assert bare.returncode == 2
    assert bare.stderr == "distlasso: --resume needs the checkpoint to go on with: add --checkpoint DIR\n"


def test_a_signal_after_the_fit_does_not_lose_the_model(tmp_path: Path) -> None:
    """What comes while the model is written, or the process ends, asks for nothing any more."""
    script = (
        "import os, signal; from distlasso.cli.stopping import stoppable\n"
        "with stoppable('checkpoint'): pass\n"
        "for number in (signal.SIGTERM, signal.SIGUSR1): os.kill(os.getpid(), number)\n"
        "print('written')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout == "written\n", done.stderr
