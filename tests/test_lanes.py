"""Jobs side by side: threads where processors are free, the same results anywhere."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from distlasso.solvers import lanes
from distlasso.solvers.lanes import Turns, side_by_side


def test_fits_at_work_share_the_processors_and_one_alone_has_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes.os, "cpu_count", lambda: 2)
    jobs, me, turns = [partial(threading.get_ident)] * 2, threading.get_ident(), Turns(2)
    assert me not in side_by_side(jobs, 1 << 30)
    with turns:
        assert me not in side_by_side(jobs, 1 << 30)
        with turns:
            assert side_by_side(jobs, 1 << 30) == [me, me]
        assert me not in side_by_side(jobs, 1 << 30)
    assert side_by_side(jobs, 10) == [me, me]
