"""The comparison in small: real programs in processes of their own, the judge's verdict, and what is printed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import compare, table
from benchmarks.accuracy import single_lambda
from benchmarks.peers import CANNOT, PROGRAMS
from benchmarks.workloads import FULL, create, load

PEERS = sorted({program.peer for program in PROGRAMS} - {"distlasso"})


def row(name: str, seconds: float, excess: float = 0.0) -> table.Row:
    return table.Row(name, name, "1.0", 1, 1e-6, (seconds,), seconds, 0.0, 10**9, 3, 10**9, excess, 1e-7)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> compare.Bench:
    folder = tmp_path_factory.mktemp("bench")
    create("W1", "small", 1, folder / "data")
    create("W1", "small", 2, folder / "tiny")
    return compare.Bench(folder / "data", folder / "tiny", {}, 100.0)


def test_programs_are_judged_in_processes_of_their_own(bench: compare.Bench) -> None:
    programs = [program for program in PROGRAMS if program.name in ("distlasso", "scikit-learn Gram")]
    report, matched = compare.compare("W1", bench, programs, scale="small", rounds=1)
    assert matched
    assert all(f"| {program.name} |" in report for program in programs) and "| no |" not in report


def test_a_fit_beyond_the_limit_is_ended_and_shown_as_beyond_it(bench: compare.Bench) -> None:
    short = compare.Bench(bench.folder, bench.tiny, {}, 1e-4)
    program = next(program for program in PROGRAMS if program.name == "distlasso")
    report, matched = compare.compare("W1", short, [program], scale="small", rounds=1)
    assert not matched and "| > 0.0001 |" in report


def test_a_fast_program_that_is_not_accurate_enough_sets_no_ratio(bench: compare.Bench) -> None:
    problem = load(bench.folder, "mmap")
    rows = [row("distlasso", 2.0), row("rough", 0.1, 1e-3), row("exact", 5.0)]
    lines = table.render("W1", problem, rows, [], []).splitlines()
    assert "| 2.50 | yes |" in next(line for line in lines if line.startswith("| distlasso"))
    assert "| - | no |" in next(line for line in lines if line.startswith("| rough"))


def test_where_all_peers_were_ended_the_ratio_is_a_bound(bench: compare.Bench) -> None:
    beyond = [table.Beyond("slow", 1, 1e-5, 60.0)]
    report = table.render("W1", load(bench.folder, "mmap"), [row("distlasso", 2.0)], beyond, [])
    assert "| > 30.00 | yes |" in report and "| slow |  | 1 | 1e-05 | > 60 | - |" in report


def test_the_judge_counts_a_wrong_coefficient(bench: compare.Bench) -> None:
    program = next(program for program in PROGRAMS if program.name == "scikit-learn Gram")
    run = compare.run_once(bench, program, 1e-8)
    problem = load(bench.folder, "mmap")
    with np.load(bench.folder / "path.npz") as parts:
        coef = compare.sp.csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))
        spoilt = compare.measure(problem, coef * 1.01, parts["intercept"])
    assert spoilt.excess(run.accuracy.primal) > 1e-5 > run.accuracy.gap.max()


def test_a_program_without_paths_is_judged_at_the_lambda_that_it_fits_and_sets_no_ratio(bench: compare.Bench) -> None:
    program = next(program for program in PROGRAMS if program.name == "scikit-learn Gram")
    run = compare.run_once(bench, program, 1e-8)
    problem = load(bench.folder, "mmap")
    at = single_lambda(len(problem.lambdas))
    with np.load(bench.folder / "path.npz") as parts:
        coef = compare.sp.csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))
        alone = compare.measure(problem, coef[[at]], parts["intercept"][[at]], single=True)
    np.testing.assert_array_equal(alone.primal[2], run.accuracy.primal[2])
    assert np.isnan(np.delete(alone.primal, 2)).all() and alone.excess(run.accuracy.primal) == 0.0
    rows = [row("distlasso", 1.0), replace(row("other", 3.0), single=True)]
    assert "| 3.00 | yes" not in table.render("W1", problem, rows, [], [])


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_runs_on_a_workload_or_says_why_not(peer: str) -> None:
    for name in FULL:
        does = any(name in program.layouts for program in PROGRAMS if program.peer == peer)
        assert does != (name in CANNOT[peer]), name
