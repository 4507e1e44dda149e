"""Settings of Dask that a fit relies on, and those of distlasso itself, which Dask's configuration holds too.

``distlasso.workers``, ``distlasso.failover`` and ``distlasso.round-floor`` are lengths of time such as ``"30s"``,
``distlasso.round-factor`` is a number; in the environment ``DASK_DISTLASSO__ROUND_FLOOR=2s``. Read next: ``connect.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.config
from dask.utils import parse_timedelta

from distlasso.errors import ClusterWarning, InputError, warn
from distlasso.runtime.ledger import Limits

CONNECT_SECONDS = 5

# Retried connections stall a gather for minutes after a worker has died; frozen workers must be noticed in a minute.
DASK = {
    "distributed.comm.retry.count": 0,
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.worker-ttl": "60s",
}
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
_MOST_CONNECT, _MOST_TTL = 10.0, 120.0
_WARNED_OF: set[str] = set()  # addresses; Python's own memory of warnings is lost whenever anybody changes a filter


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a fit waits for what, in seconds."""

    workers: float
    """For a worker to join where there is none."""
    failover: float
    """For a scheduler to answer where that of the fit has gone."""
    limits: Limits
    """Within a round."""


def patience() -> Patience:
    """Read the settings of distlasso.

    Raises
    ------
    InputError
        For one that is no length of time, or no number.
    """
    limits = Limits(floor=_seconds("round-floor", Limits().floor), factor=_number("round-factor", Limits().factor))
    return Patience(_seconds("workers", 30.0), _seconds("failover", 60.0), limits)


def use_in_this_process(*, pre_spawn: bool = False) -> None:
    """Have this process, and the workers that it starts, use the settings that a fit relies on."""
    dask.config.set(DASK)
    if pre_spawn:
        environment = dask.config.get("distributed.nanny.pre-spawn-environ", {}) | _ONE_THREAD
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment})


def warn_of_foreign(client: Any) -> None:
    """Say in one line which settings of a scheduler that others started make faults costly, once for each address."""
    address = str(client.scheduler.address)
    if address in _WARNED_OF:
        return
    wrong = []
    for name, value in DASK.items():
        try:
            found = client.run_on_scheduler(dask.config.get, name, None)
        except Exception:  # some schedulers run nothing for their clients, and a setting unknown is no reason to stop
            return
        if not _suits(name, found):
            wrong.append(f"{name} is {found}, better {value}")
    if wrong:
        _WARNED_OF.add(address)
        warn(f"settings of the scheduler that make faults costly: {'; '.join(wrong)} (see deploy/distributed.yaml)", ClusterWarning)


def _suits(name: str, value: Any) -> bool:
    try:
        if name.endswith("retry.count"):
            return int(value) == 0
        if name.endswith("allowed-failures"):
            return int(value) >= 3
        return value is not None and parse_timedelta(value) <= (_MOST_CONNECT if name.endswith("connect") else _MOST_TTL)
    except (TypeError, ValueError, KeyError):
        return False


def _seconds(name: str, default: float) -> float:
    value = dask.config.get(f"distlasso.{name}", default)
    try:
        return float(parse_timedelta(value))
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"distlasso.{name} is {value!r}, expected a length of time such as 30s") from error


def _number(name: str, default: float) -> float:
    value = dask.config.get(f"distlasso.{name}", default)
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"distlasso.{name} is {value!r}, expected a number") from error
