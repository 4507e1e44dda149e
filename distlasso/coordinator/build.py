"""From the name of a solver to the problem that runs it: where its sums come from, and why it was chosen.

A new solver is one builder here and one line in ``BUILDERS``. Read next: ``squared.py``, ``general.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distlasso.coordinator.active_set import MAX_BATCH
from distlasso.coordinator.consensus import BATCH, Consensus
from distlasso.coordinator.first_order import FirstOrder
from distlasso.coordinator.form import Form
from distlasso.coordinator.general import General, SideBySide, Together
from distlasso.coordinator.held import Held
from distlasso.coordinator.multi_task import MultiTask
from distlasso.coordinator.problem import Problem, Task
from distlasso.coordinator.rounds import Rounds
from distlasso.coordinator.squared import Squared


def build(task: Task, form: Form, solver: str) -> tuple[Problem, str]:
    """Return the problem, and the name of its solver with the reason for it.

    ``auto`` is ``bcd``: for every loss it reaches the certificate in the fewest passes.
    """
    name = "bcd" if solver == "auto" else solver
    problem, reason = BUILDERS[name](task, form)
    return problem, f"{name}: {reason}"


def build_multi_task(tasks: Sequence[Task], form: Form) -> tuple[Problem, str]:
    """Return the problem of several responses under one penalty on rows, and the name of its solver."""
    return MultiTask(tasks, form.kind), f"bcd: rows of coefficients as the unit of descent, {form.reason}"


def _bcd(task: Task, form: Form) -> tuple[Problem, str]:
    if task.exchange.loss.quadratic:
        return Squared(task, form.kind), form.reason
    if form.kind == "gram":
        rounds = Rounds(task)
        reason = "proximal Newton, all lambdas of a batch in each round, Hessians of the strong set shared between them"
        return General(task, rounds, Together(task, rounds)), reason
    held = Held(task)
    reason = "proximal Newton on the strong columns, held by the coordinator, neighbouring lambdas side by side"
    return General(task, held, SideBySide(task, held), MAX_BATCH), reason


def _fista(task: Task, form: Form) -> tuple[Problem, str]:
    problem, where = _first_order(task, form, accelerated=True)
    return problem, f"accelerated proximal gradient with adaptive restart, {where}"


def _ista(task: Task, form: Form) -> tuple[Problem, str]:
    problem, where = _first_order(task, form, accelerated=False)
    return problem, f"proximal gradient, {where}"


def _first_order(task: Task, form: Form, *, accelerated: bool) -> tuple[Problem, str]:
    held = form.kind == "residual"
    smooth: Rounds | Held = Held(task) if held else Rounds(task)
    where = "on the strong columns, held by the coordinator" if held else "all lambdas of a batch in each round"
    return General(task, smooth, FirstOrder(task, smooth, accelerated=accelerated)), where


def _admm(task: Task, form: Form) -> tuple[Problem, str]:
    rounds = Rounds(task)
    reason = "consensus ADMM, rows stay in their bundles, all lambdas of a batch in each round"
    return General(task, rounds, Consensus(task, rounds), BATCH), reason


BUILDERS: dict[str, Callable[[Task, Form], tuple[Problem, str]]] = {
    "bcd": _bcd, "fista": _fista, "ista": _ista, "admm": _admm,
}  # fmt: skip
SOLVERS = ("auto", *BUILDERS)
