"""The benchmark of cross-validation's cost in small: every program runs, and the table says what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cv
from benchmarks.cv_worker import deal


def cost(path: float, passes: int) -> dict[str, Any]:
    return {"wall": path, "cpu": 2.0 * path, "peak_bytes": 1e6, "passes": passes, "rounds": 2 * passes}


def test_the_command_measures_path_and_folds_of_every_program_and_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cv.md"
    assert cv.main(["W1", "--scale", "small", "--folds", "3", "--peers", "sklearn", "--out", str(out)]) == 0
    text, printed = out.read_text(), capsys.readouterr().out
    rows = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert set(rows) == {"| program", "| distlasso", "| scikit-learn LassoCV"}
    assert "2 -> 2" in rows["| distlasso"] and all(row in printed for row in rows.values())


def test_ratios_are_of_one_program_and_a_broken_promise_is_said() -> None:
    section = cv.Section("W1", "### W1", "full", {"distlasso": {"version": "1", "path": cost(2.0, 2), "cv": cost(5.0, 3)}})
    text = cv.render(section)
    assert "| 2.00 | 5.00 | 2.50 | 4.00 | 10.00 | 2.50 | 2 -> 3 | 4 -> 6 |" in text
    assert "wall time 2.50 of at most 2, DOES NOT HOLD" in text and "passes 1.50 of at most 1.5, holds" in text


def test_a_program_that_cannot_take_the_data_is_named_with_the_reason() -> None:
    chosen, notes = cv.programs("logistic", ["sklearn", "glmnet"], 8 << 30)
    assert chosen == ["distlasso"] and len(notes) == 2 and "squared loss only" in notes[0]


def test_every_row_is_in_one_fold_and_folds_differ_by_one_row_at_most() -> None:
    counts = np.bincount(deal(103, 10))
    assert counts.sum() == 103 and counts.max() - counts.min() == 1


def test_an_unknown_program_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        cv.main(["W1", "--peers", "nobody"])
    assert error.value.code == 2 and "nobody is not known" in capsys.readouterr().err
