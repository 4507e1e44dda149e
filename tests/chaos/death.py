"""What the death of a worker costs: ``python -m tests.chaos.death``, four workers, one killed in every sixth round.

Work is mostly waiting, so that rounds take the same time on a machine that is busy. The cost of a death is what its round and
the five after it take beyond six undisturbed rounds; a new worker is started at once, as a supervisor would.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import distlasso as dl
from distlasso.runtime.cluster import Cluster
from tests.chaos.farm import Farm
from tests.chaos.jobs import PATH, make_stores
from tests.chaos.troubled import Troubled

_EVERY = 6


class Killer:
    """Kills a worker in the middle of every sixth round, and keeps the time of all."""

    def __init__(self, farm: Farm, delay: float) -> None:
        self.farm, self.delay, self.seconds = farm, delay, list[float]()

    def around(self, inner: Any, cluster: Any, asks: Any) -> Any:
        timer = threading.Timer(self.delay, self._kill)
        if len(self.seconds) % _EVERY == _EVERY - 1 and len(self.seconds) > _EVERY:
            timer.start()
        began = time.monotonic()
        found = inner(cluster, asks)
        self.seconds.append(time.monotonic() - began)
        timer.cancel()
        return found

    def _kill(self) -> None:
        self.farm.kill(self.farm.living()[0])
        self.farm.start_worker()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.death", description=__doc__)
    parser.add_argument("--fits", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp(prefix="death-"))
    store = dl.open_dataset(make_stores(folder)["classes"])
    quiet, costs, inner = list[float](), list[float](), Cluster.run
    with Farm(4, prepare=Troubled(str(folder), work=0.12)) as farm, dl.Cluster(address=farm.address) as cluster:
        for _ in range(given.fits):
            killer = Killer(farm, delay=0.2)
            Cluster.run = lambda self, asks, killer=killer: killer.around(inner, self, asks)  # type: ignore[method-assign,misc]
            path = dl.fit_path(store, runtime=cluster, loss="logistic", **PATH)
            assert path.converged.all()
            Cluster.run = inner  # type: ignore[method-assign]
            usual = statistics.median(killer.seconds)
            quiet.append(usual)
            killed = range(2 * _EVERY - 1, len(killer.seconds) - _EVERY, _EVERY)
            costs += [sum(killer.seconds[k : k + _EVERY]) - _EVERY * usual for k in killed]
    usual = statistics.median(quiet)
    print(f"{len(costs)} deaths: median cost {statistics.median(costs):.2f} s, largest {max(costs):.2f} s; an undisturbed round "
          f"takes {usual:.2f} s, and 3 of them and 2 s are {3 * usual + 2:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
