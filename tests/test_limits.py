"""A path that ends early returns the certified prefix, marked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distlasso as dl
from distlasso.events import BatchVerified

rng = np.random.default_rng(0)
X = rng.standard_normal((100, 400))
Y = X[:, :10].sum(axis=1) + rng.standard_normal(100)


def prefix(path: dl.Path) -> None:
    whole = dl.fit_path(X, Y, lambdas=path.lambdas)
    assert not path.complete
    assert path.converged.all()
    assert path.coef.shape[0] == path.lambdas.size == path.gap.size == path.deviance_ratio.size
    np.testing.assert_allclose(path.deviance_ratio, whole.deviance_ratio, atol=1e-5)


def test_max_active_ends_the_path_before_it_is_passed() -> None:
    path = dl.fit_path(X, Y, max_active=15)
    assert path.n_active.max() <= 15
    prefix(path)


def test_a_time_limit_ends_the_path_after_a_batch() -> None:
    prefix(dl.fit_path(X, Y, time_limit=1e-9))


def test_ctrl_c_returns_what_is_certified() -> None:
    def interrupt(event: Any) -> None:
        if isinstance(event, BatchVerified) and event.n_accepted > 5:
            raise KeyboardInterrupt

    prefix(dl.fit_path(X, Y, on_event=interrupt))


def test_a_fit_that_needs_more_memory_than_allowed_is_refused_before_it_starts() -> None:
    with pytest.raises(dl.ResourceError, match=r"beyond memory of 0\.06 MB"):
        dl.fit_path(X, Y, memory="60kB")


@pytest.mark.parametrize("options", [{"max_active": 0}, {"time_limit": -1.0}])
def test_limits_that_make_no_sense_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(dl.InputError, match=next(iter(options))):
        dl.fit_path(X, Y, **options)
