"""From the name of a solver to the problem that runs it: where its sums come from, and why it was chosen.

A new solver is one builder here and one line in ``BUILDERS``. Read next: ``squared.py``, ``general.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distlasso.coordinator.active_set import MAX_BATCH
from distlasso.coordinator.blockwise import Blockwise
from distlasso.coordinator.consensus import LAMBDAS, Consensus
from distlasso.coordinator.first_order import FirstOrder
from distlasso.coordinator.form import Form
from distlasso.coordinator.general import BATCH, General, Together
from distlasso.coordinator.held import Held
from distlasso.coordinator.multi_task import MultiTask
from distlasso.coordinator.problem import Problem, Task
from distlasso.coordinator.rounds import Rounds
from distlasso.coordinator.side_by_side import SideBySide
from distlasso.coordinator.squared import Squared
from distlasso.losses import Loss
from distlasso.solvers.abreast import SPAN


def build(task: Task, form: Form, solver: str) -> tuple[Problem, str]:
    """Return the problem, and the name of its solver with the reason for it.

    ``auto`` is ``bcd``: for every loss it reaches the certificate in the fewest passes.
    """
    name = "bcd" if solver == "auto" else solver
    problem, reason = BUILDERS[name](task, form)
    chosen = "; chosen by auto: fewest passes to the certificate" if solver == "auto" else ""
    because = "" if name == "admm" else f", because {form.because}"  # admm is the same in every form
    return problem, f"{name}: {reason}{because}{chosen}"


def keeper(loss: Loss, form: Form, solver: str) -> str:
    """Who keeps the strong columns of the problem that ``build`` makes: "coordinator", "bundles", or nobody ("").

    Nobody does where the Gram of all columns is there, so that none has to be admitted.
    """
    if form.kind == "residual":
        return "bundles" if solver == "admm" else "coordinator"
    return "" if form.kind == "gram" and descends(loss, solver) else "bundles"


def descends(loss: Loss, solver: str) -> bool:
    """Whether the problem is ``Squared``, which can descend on Grams."""
    return loss.quadratic and solver in ("auto", "bcd")


def build_multi_task(tasks: Sequence[Task], form: Form) -> tuple[Problem, str]:
    """Return the problem of several responses under one penalty on rows, and the name of its solver."""
    return MultiTask(tasks, form.kind), f"bcd: rows of coefficients as the unit of descent, {form.reason}"


def _bcd(task: Task, form: Form) -> tuple[Problem, str]:
    if form.blocks is not None:
        rounds = Rounds(task)
        return General(task, rounds, Blockwise(task, rounds, form.blocks), form.blocks.batch), form.what
    if task.exchange.loss.quadratic:
        return Squared(task, form.kind), form.what
    if form.kind == "gram":
        rounds = Rounds(task, coarse=True)
        reason = "proximal Newton, all lambdas of a batch in each round, Hessians of the strong set shared between them"
        return General(task, rounds, Together(task, rounds)), reason
    held = Held(task)
    reason = "proximal Newton on the strong columns, held by the coordinator, neighbouring lambdas side by side"
    most = SPAN if task.sparse else MAX_BATCH
    return General(task, held, SideBySide(task, held), most, lavish=task.sparse), reason


def _fista(task: Task, form: Form) -> tuple[Problem, str]:
    problem, where = _first_order(task, form, accelerated=True)
    return problem, f"accelerated proximal gradient with adaptive restart, {where}"


def _ista(task: Task, form: Form) -> tuple[Problem, str]:
    problem, where = _first_order(task, form, accelerated=False)
    return problem, f"proximal gradient, {where}"


def _first_order(task: Task, form: Form, *, accelerated: bool) -> tuple[Problem, str]:
    """By rounds over the strong columns, or on columns that are held where rows are few."""
    if form.kind == "residual":
        held = Held(task)
        return General(task, held, FirstOrder(task, held, accelerated=accelerated)), "on strong columns that are held"
    rounds, batch = Rounds(task), form.blocks.batch if form.blocks else BATCH
    solver = FirstOrder(task, rounds, accelerated=accelerated)
    return General(task, rounds, solver, batch), "all lambdas of a batch in each round over the strong columns"


def _admm(task: Task, form: Form) -> tuple[Problem, str]:
    rounds = Rounds(task)
    reason = "consensus ADMM, rows stay in their bundles, all lambdas of a batch in each round"
    return General(task, rounds, Consensus(task, rounds), LAMBDAS), reason


BUILDERS: dict[str, Callable[[Task, Form], tuple[Problem, str]]] = {
    "bcd": _bcd, "fista": _fista, "ista": _ista, "admm": _admm,
}  # fmt: skip
SOLVERS = ("auto", *BUILDERS)
