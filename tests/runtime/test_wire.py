"""The line to a scheduler: what is given up takes nothing else with it."""

from __future__ import annotations

import asyncio
import operator
import threading
import time
from types import SimpleNamespace
from typing import Any

import distributed
import pytest

from distlasso.runtime import wire
from tests.chaos.farm import Farm

pytestmark = pytest.mark.xdist_group("farm")


def test_an_answer_that_is_given_up_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's client has several answers in one fetch, which is given up while it is under way."""
    under_way, gather = threading.Event(), distributed.Client._gather_remote

    async def slowly(self: Any, *arguments: Any) -> Any:
        under_way.set()
        await asyncio.sleep(1.0)
        return await gather(self, *arguments)

    monkeypatch.setattr(wire, "answer_run", operator.is_not)
    monkeypatch.setattr(distributed.Client, "_gather_remote", slowly)
    with Farm(1) as farm, distributed.Client(farm.address, set_as_default=False) as client:
        line, (worker,) = wire.Wire(client), client.scheduler_info()["workers"]
        run: Any = SimpleNamespace(asks=(), rows=None)
        line.send((0, 1), "first", run, [], worker)
        assert under_way.wait(20)
        line.send((0, 2), "second", run, [], worker)
        time.sleep(0.5)  # it joins the fetch
        line.drop((0, 1))
        news: list[Any] = []
        while not any(isinstance(one, wire.Came) for one in news):
            news.append(line.next(20))
            assert news[-1] is not None
        assert news[-1] == wire.Came(2, 0, True)  # type: ignore[arg-type]
        line.close()
