"""The coverage benchmark in small: its data, its summary, and intervals that hold what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import coverage
from benchmarks.coverage import Case, Seen


def test_data_have_the_correlation_and_the_coefficients_that_they_say() -> None:
    X, y, b = coverage.generate(Case(20_000, 8, 0.6), 3)
    assert np.count_nonzero(b) == coverage.SIGNALS and (np.abs(b[b != 0]) >= 0.5).all()
    assert np.corrcoef(X[:, 2], X[:, 3])[0, 1] == pytest.approx(0.6, abs=0.02)
    assert np.var(y - X @ b) == pytest.approx(1.0, abs=0.05)
    columns = coverage.asked(b)
    assert set(np.flatnonzero(b)) <= set(columns) and np.unique(columns).size == columns.size


def test_coverage_and_its_error_are_those_of_data_sets_not_of_intervals() -> None:
    seen = [Seen(np.array(own), np.ones(len(own))) for own in ([1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0])]
    count, share, error, width = coverage.summary(seen)
    assert (count, share, width) == (8, 5 / 8, 1.0)
    means = np.array([1.0, 0.0, 0.5, 1.0])
    assert error == pytest.approx(2.0 * means.std(ddof=1) / 2.0)


def test_intervals_of_the_debiased_lasso_hold_the_truth_about_as_often_as_they_say() -> None:
    """10 data sets, about 60 intervals: 95 % up to three standard errors; those on the selecting rows are worse on noise."""
    found = coverage.run(Case(60, 12, 0.5), 10, 1)
    hits = np.concatenate([own.covered for kind in ("signal", "noise") for own in found["debiased", kind]])
    assert 0.90 <= hits.mean() <= 0.99
    oracle = coverage.summary(found["oracle", "signal"])[1]
    assert 0.86 <= oracle <= 1.0
    same, debiased = (coverage.summary(found[name, "noise"])[1] for name in ("refit, same rows", "debiased"))
    assert same < debiased


def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "coverage.md"
    assert coverage.main(["--seeds", "1", "--out", str(out)]) == 0
    text = out.read_text()
    assert text.startswith("# Coverage") and "| debiased | signal |" in text
    assert text.splitlines()[-1] in capsys.readouterr().out
