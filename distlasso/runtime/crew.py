"""Who can take part in a fit: workers that are there, have the right versions, and are not silent.

Read next: ``cluster.py``, which listens; ``wire.py``, where the news come from.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import final

import distlasso
from distlasso.errors import ClusterWarning
from distlasso.events import Listener, WorkerRefused
from distlasso.runtime.wire import Checked, Member, Present, Wire
from distlasso.runtime.worker import different, unfit


@final
class Crew:
    """The workers of one scheduler, as far as they have been heard of."""

    def __init__(self, wire: Wire, listener: Listener) -> None:
        self._wire, self._listener = wire, listener
        self.present: dict[str, Member] = {}
        self.threads: dict[str, int] = {}  # of those who can take part
        self.refused: dict[str, str] = {}  # and why
        self.doubted: set[str] = set()  # who are silent

    @property
    def complete(self) -> bool:
        """Whether some can take part, and all others have been refused."""
        return bool(self.threads) and len(self.threads) + len(self.refused) >= len(self.present)

    @property
    def hopeless(self) -> bool:
        """Whether all that are there have been refused."""
        return bool(self.refused) and len(self.refused) == len(self.present)

    @property
    def paused(self) -> bool:
        """Whether all that can take part are given no tasks, for lack of memory."""
        known = [self.present[worker] for worker in self.threads if worker in self.present]
        return bool(known) and all(member.paused for member in known)

    @property
    def trusted(self) -> dict[str, int]:
        """Threads of those who are not silent; of all if everybody is."""
        return {worker: own for worker, own in self.threads.items() if worker not in self.doubted} or self.threads

    def see(self, news: Present) -> Sequence[str]:
        """Take down who is there, and ask who is new for its versions; return who has gone."""
        self.present = news.workers
        self.refused = {worker: why for worker, why in self.refused.items() if worker in news.workers}
        for worker in news.workers:
            if worker not in self.threads and worker not in self.refused:
                self._wire.check(worker)
        return [worker for worker in self.threads if worker not in news.workers]

    def admit(self, news: Checked) -> bool:
        """Have a worker take part, if it can."""
        worker, found = news.worker, news.result
        if worker not in self.present:
            return False
        if isinstance(found, OSError):
            self._wire.check(worker)
            return False
        if isinstance(found, BaseException):
            why = f"a worker cannot import distlasso {distlasso.__version__}: {worker}: {found}"
        else:
            why = unfit(found) and f"worker {worker} has {unfit(found)}"
        if why:
            self.refused[worker] = why
            self._listener(WorkerRefused(worker, why))
            return False
        if isinstance(found, dict) and different(found) and worker not in self.threads:
            warnings.warn(f"worker {worker} has {different(found)}: solutions are as certain, their last bits may differ",
                          ClusterWarning, stacklevel=2)  # fmt: skip
        self.doubted.discard(worker)
        self.threads[worker] = self.present[worker].threads
        return True

    def lose(self, worker: str) -> bool:
        """Take down that a worker has gone; say whether it took part."""
        self.present.pop(worker, None)
        self.refused.pop(worker, None)
        self.doubted.discard(worker)
        return self.threads.pop(worker, None) is not None

    def doubt(self, worker: str) -> None:
        """Trust a worker again when it answers a question."""
        self.doubted.add(worker)
        self._wire.check(worker)
