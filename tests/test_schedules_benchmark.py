"""The benchmark of schedules in small: its data, its judgement, and a table of results that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import schedules
from benchmarks.schedules import Setting

TINY = ["--n", "60", "--p", "40", "--rho", "0.5", "--snr", "2", "--seeds", "2", "--methods", "lasso", "PruneRefine", "Relaxed"]


def result(method: str, seed: int, false: float, error: float) -> dict[str, Any]:
    return {"kind": "simulated", "n": 60, "rho": 0.5, "snr": 2.0, "seed": seed, "method": method, "rule": "min",
            "false": false, "true": 10, "features": 20, "error": error, "last": False}  # fmt: skip


def test_data_have_the_noise_and_the_correlation_that_they_say() -> None:
    data = schedules.draw(Setting(20_000, 0.6, 2.0, p=40), 1)
    assert np.corrcoef(data.X[:, 2], data.X[:, 3])[0, 1] == pytest.approx(0.6, abs=0.02)
    assert np.var(data.y - data.X @ data.b) == pytest.approx(data.noise, rel=0.05)
    assert np.var(data.X @ data.b) / data.noise == pytest.approx(2.0, rel=0.1)


def test_the_error_is_that_of_rows_without_number() -> None:
    data = schedules.draw(Setting(50, 0.6, 2.0, p=20), 1)
    other = data.b + np.random.default_rng(0).standard_normal(20)
    fresh = schedules.draw(Setting(200_000, 0.6, 2.0, p=20), 2).X
    sample = np.mean((fresh @ (other - data.b) + 0.3) ** 2) + data.noise
    assert data.error(other, 0.3, 0.6) == pytest.approx(sample, rel=0.02)


@pytest.mark.parametrize(("false", "error", "good"), [(0.4, 1.0, True), (0.41, 0.9, False), (0.1, 1.002, False)])
def test_the_aim_is_half_of_the_false_discoveries_and_no_larger_error(false: float, error: float, good: bool) -> None:
    rows = [result("lasso", seed, 0.8, 1.0 + seed) for seed in range(3)]
    rows += [result("PruneRefine", seed, false, error * (1.0 + seed)) for seed in range(3)]
    assert schedules.holds(rows, "min") is good


def test_errors_are_compared_on_the_same_data_only() -> None:
    rows = [result("lasso", 1, 0.8, 2.0), result("lasso", 2, 0.8, 5.0), result("MCP", 2, 0.1, 4.0), result("MCP", 3, 0.1, 9.0)]
    assert schedules.medians(rows, "MCP", "min") == (1, {"false": 0.1, "true": 10, "features": 20, "ratio": 0.8, "last": 0})


def test_results_are_kept_and_not_computed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, given = tmp_path / "schedules.md", [*TINY, "--cache", str(tmp_path / "kept")]
    assert schedules.main([*given, "--out", str(out), "--real", "diabetes"]) == 0
    text = out.read_text()
    assert text in capsys.readouterr().out
    assert "| 60 | 0.5 | 2 | min | 2 |" in text and "| diabetes | 295 x 64 | 1se | 2 |" in text
    assert "Under `1se` it holds in" in text
    monkeypatch.setattr(schedules, "simulate", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr(schedules, "split", lambda *_: pytest.fail("computed again"))
    assert schedules.main([*given, "--real", "diabetes"]) == 0
    assert capsys.readouterr().out.split("##")[1:] == [*text.split("##")[1:-1], text.split("##")[-1] + "\n"]


def test_nothing_new_is_begun_when_the_time_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schedules.main([*TINY, "--cache", str(tmp_path), "--minutes", "0"]) == 0
    assert "| 60 |" not in capsys.readouterr().out


def test_times_are_ratios_to_the_lasso_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = ["--seeds", "1", "--times", "defaults", "--methods", "lasso", "PruneRefine"]
    assert schedules.main([*TINY, *alone, "--cache", str(tmp_path)]) == 0
    assert "| 60 | 0.5 | 2 | defaults | 1 |" in capsys.readouterr().out
    assert len((tmp_path / "schedules.jsonl").read_text().splitlines()) == 2


def test_without_prune_and_refine_nobody_says_whether_it_holds() -> None:
    table = schedules.simulated_table([result(method, seed, 0.5, 2.0) for method in ("lasso", "MCP") for seed in range(2)])
    assert "| 60 | 0.5 | 2 | min | 2 | 0.50 / 10 / 1.000 |" in table and table.splitlines()[2].endswith("| - |")
    assert "Under `min` it holds in 0 of 0 settings." in table
