"""The benchmarks of growth in small: rows stacked, data larger than memory, and where the time goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import complexity, out_of_core, profile
from benchmarks.workloads import create, load


def test_stacked_rows_have_the_same_solutions_in_as_many_passes() -> None:
    points, worst = complexity.stacking([1, 10], "small")
    assert worst < 1e-6
    assert abs(points[1].passes - points[0].passes) <= 0.2 * points[0].passes
    assert points[0].active == pytest.approx(points[1].active, rel=0.01)


def test_the_exponent_of_a_power_law_is_found() -> None:
    assert complexity.exponent([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2.0)


@pytest.mark.parametrize("case", out_of_core.CASES, ids=lambda case: case.name)
def test_a_store_written_by_chunks_is_read_and_fitted_within_its_plan(case: out_of_core.Case, tmp_path: Path) -> None:
    store = tmp_path / "X.zarr"
    out_of_core.write(case, store, case.at(0.001), 1)
    assert out_of_core.read_alone(store) > 0.0
    lines = "\n".join(out_of_core.measured(case, store, 50_000_000, cold=False))
    assert "passes that verify a batch" in lines or "full Gram" in lines
    assert "| reading and decoding alone |" in lines and "100 % |" in lines


def test_a_profile_sees_what_runs_on_threads_too(tmp_path: Path) -> None:
    create("W6", "small", 1, tmp_path / "W6")
    problem = load(tmp_path / "W6", "F")
    stats, passes = profile.profiled(problem)
    names = {function for _, _, function in stats.stats}  # type: ignore[attr-defined]
    assert passes > 1 and {"gradient", "_descend"} <= names
    assert "% " in profile.section("W6", stats, passes)
