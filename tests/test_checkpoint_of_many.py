"""Stability selection, nested cross-validation and the debiased lasso go on from their checkpoint, to the same bits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl
from distlasso.events import CheckpointWritten, Resumed

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 12))
Y = X[:, 0] - X[:, 3] + 0.5 * RNG.standard_normal(90)
FEW: dict[str, Any] = {"n_lambdas": 8, "runtime": "serial"}
COSTS = ("seconds", "peak_bytes", "resumed", "passes", "rounds", "bytes_read", "bytes_moved", "again", "solver")

CALLS: dict[str, Callable[..., Any]] = {
    "stability": lambda **more: dl.stability_selection(X, Y, n_halves=8, **FEW, **more),
    "stability by rounds": lambda **more: dl.stability_selection(X, (Y > 0) * 1.0, n_halves=4, loss="logistic", **FEW, **more),
    "nested": lambda **more: dl.nested_cross_validate(X, Y, outer=3, folds=3, **FEW, **more),
    "debiased": lambda **more: dl.debiased(X, Y, columns=[0, 1, 3], folds=3, runtime="serial", **more),
    "debiased, lam given": lambda **more: dl.debiased(X, Y, columns=[0, 5], lam=0.1, runtime="serial", **more),
}
OTHERS: dict[str, Callable[..., Any]] = {
    "stability": lambda **more: dl.stability_selection(X, Y, n_halves=8, random_state=1, **FEW, **more),
    "nested": lambda **more: dl.nested_cross_validate(X, Y, outer=3, folds=3, random_state=1, **FEW, **more),
    "debiased": lambda **more: dl.debiased(X, Y, columns=[0, 1, 4], folds=3, runtime="serial", **more),
}


def bits(value: Any) -> Any:
    """All that a result says, but for what it cost."""
    if is_dataclass(value):
        return [(own.name, bits(getattr(value, own.name))) for own in fields(value) if own.name not in COSTS]
    if sp.issparse(value):
        return bits(value.toarray())
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype, value.tobytes()
    return [bits(one) for one in value] if isinstance(value, list | tuple) else repr(value)


class Stopping:
    """Ends the process's work after so many records of rounds, as a signal would."""

    def __init__(self, after: int) -> None:
        self.left, self.resumed = after, 0

    def __call__(self, event: Any) -> None:
        self.resumed += event.rounds if isinstance(event, Resumed) else 0
        if isinstance(event, CheckpointWritten):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("name", CALLS)
def test_what_was_stopped_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    call = CALLS[name]
    quiet = bits(call())
    counting = Stopping(0)
    assert bits(call(checkpoint=tmp_path / "whole", on_event=counting)) == quiet
    rounds = -counting.left
    assert rounds >= 2
    for after in sorted({1, (rounds + 1) // 2, rounds}):
        stopping = Stopping(after)
        with contextlib.suppress(KeyboardInterrupt):  # where every fit has certified some lambdas, it returns these
            assert bits(call(checkpoint=tmp_path / str(after), on_event=stopping)) != quiet
        assert stopping.left == 0
        later = Stopping(0)
        assert bits(call(checkpoint=tmp_path / str(after), on_event=later)) == quiet
        assert later.resumed == after and -later.left == rounds - after


@pytest.mark.parametrize("name", OTHERS)
def test_another_one_is_refused(name: str, tmp_path: Path) -> None:
    CALLS[name](checkpoint=tmp_path)
    with pytest.raises(dl.InputError, match="is of another fit"):
        OTHERS[name](checkpoint=tmp_path)
