"""The books of a round, driven with whatever can happen in whatever order, duplicates and late answers among it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from distlasso.runtime.ledger import Doubt, Drop, GiveUp, Late, Limits, Lost, Round, Send
from distlasso.runtime.placing import Share, rehome, shares

WORKERS = ["a", "b", "c", "d"]
CREWS = st.dictionaries(st.sampled_from(WORKERS), st.integers(1, 3), min_size=1)  # workers and their threads


class World:
    """Workers as the books should see them, and what an ideal bookkeeper would know."""

    def __init__(self, bundles: int, threads: dict[str, int], limits: Limits) -> None:
        self.threads, self.bundles, self.now = dict(threads), bundles, 0.0
        self.round = Round(shares(rehome([""] * bundles, threads), threads), threads, limits, usual=1.0)
        self.sent: dict[int, Send] = {}
        self.out: set[int] = set()
        self.answered: Counter[int] = Counter()
        self.given_up: list[GiveUp] = []
        self.doubted: set[str] = set()  # as far as the books have said so
        self.do(self.round.assign(self.now))

    def do(self, commands: Any) -> None:
        for command in commands:
            match command:
                case Send():
                    assert command.number not in self.sent
                    assert command.worker in self.threads, "work for a worker that is gone"
                    self.sent[command.number] = command
                    self.out.add(command.number)
                    mine = {self.sent[k].first for k in self.out if self.sent[k].worker == command.worker}
                    assert len(mine) <= self.threads[command.worker], "more than it has threads"
                case Drop(number):
                    self.out.discard(number)
                case Doubt(worker):
                    assert worker in self.threads
                    self.doubted.add(worker)
                case GiveUp():
                    self.given_up.append(command)
                case Late(worker):
                    assert worker in self.threads
                case Lost():
                    pass

    def answer(self, number: int) -> None:
        taken = self.round.answered(number, self.now)
        if taken is None:
            return
        one = self.sent[number]
        self.answered.update(range(one.first, one.last))
        self.out.discard(number)
        self.do(taken)

    def fail(self, number: int) -> None:
        self.out.discard(number)
        self.do(self.round.failed(number, self.now))

    def leave(self, worker: str, *, died: bool) -> None:
        self.threads.pop(worker, None)
        commands = self.round.gone(worker, self.now, died=died)
        self.out -= {k for k in self.out if self.sent[k].worker == worker}
        self.do(commands)


happenings = st.lists(
    st.tuples(st.sampled_from(["answer", "answer", "old answer", "fail", "die", "retire", "join", "wait", "refuse"]),
              st.integers(0, 10**6)), max_size=60)  # fmt: skip


@given(st.integers(1, 20), CREWS, happenings)
def test_every_bundle_is_counted_once_whatever_happens(bundles: int, threads: dict[str, int], what: list[tuple[str, int]]) -> None:
    world = World(bundles, threads, Limits(deaths=10**6, failures=10**6))
    for kind, pick in what:
        world.now += 0.5
        out, numbers, present = sorted(world.out), sorted(world.sent), sorted(world.threads)
        match kind:
            case "answer" if out:
                world.answer(out[pick % len(out)])
            case "old answer" if numbers:
                world.answer(numbers[pick % len(numbers)])
            case "fail" if out:
                world.fail(out[pick % len(out)])
            case "refuse" if out:
                number = out[pick % len(out)]
                world.out.discard(number)
                world.do(world.round.refused(number, world.now))
            case "die" | "retire" if present:
                world.leave(present[pick % len(present)], died=kind == "die")
            case "join":
                worker = WORKERS[pick % len(WORKERS)]
                world.threads.setdefault(worker, 1 + pick % 3)
                world.do(world.round.joined(worker, world.threads[worker], world.now))
            case "wait":
                world.now += 20
                world.do(world.round.overdue(world.now))
        assert sorted(world.out) == world.round.outstanding()
        assert max(world.answered.values(), default=1) == 1
    # In quiet times after that everything ends, in as many steps as there is work, once those are heard of who are doubted.
    for worker in [*sorted(world.doubted & set(world.threads)), *([] if world.threads else ["a"])]:
        world.threads.setdefault(worker, 1)
        world.do(world.round.joined(worker, world.threads[worker], world.now))
    for _ in range(bundles + len(WORKERS) * 3):
        for number in sorted(world.out):
            world.answer(number)
    assert world.round.done
    assert world.answered == Counter(range(bundles))


def test_a_poisonous_bundle_is_alone_after_one_death_and_given_up_after_three() -> None:
    world = World(12, dict.fromkeys(WORKERS, 1), Limits())
    deaths = 0
    while not world.given_up:
        for number in sorted(world.out):
            one = world.sent[number]
            if not one.first <= 4 < one.last:
                world.answer(number)
        (poisoned,) = [k for k in world.out if world.sent[k].first <= 4 < world.sent[k].last]
        assert world.sent[poisoned].last - world.sent[poisoned].first == (3 if deaths == 0 else 1)
        world.leave(world.sent[poisoned].worker, died=True)
        deaths += 1
    assert deaths == 3
    assert world.given_up == [GiveUp(4, 5, 3)]


def test_workers_that_are_retired_are_no_deaths() -> None:
    world = World(4, {"a": 1, "b": 1}, Limits())
    for k in range(10):
        world.threads[f"more {k}"] = 1
        world.do(world.round.joined(f"more {k}", 1, 0.0))
        world.leave(world.sent[min(world.out)].worker, died=False)
    assert not world.given_up


def test_what_fails_time_after_time_is_given_up_while_its_workers_live() -> None:
    world = World(1, {"a": 1, "b": 1, "c": 1}, Limits())
    for _ in range(3):
        (number,) = world.out
        world.fail(number)
    assert world.given_up == [GiveUp(0, 1, 0)]


def test_a_worker_that_is_late_is_gone_round_once_another_one_is_free() -> None:
    world = World(2, {"a": 1, "b": 1}, Limits(floor=10, factor=4))
    first, second = sorted(world.out)
    world.now = 9.0
    world.do(world.round.overdue(world.now))
    assert len(world.sent) == 2
    world.answer(second)
    world.now = 30.0
    world.do(world.round.overdue(world.now))  # four times nine seconds are not over
    assert len(world.sent) == 2
    world.now = 37.0
    world.do(world.round.overdue(world.now))
    (copy,) = set(world.sent) - {first, second}
    assert world.sent[copy].worker == world.sent[second].worker
    world.answer(copy)
    assert world.round.done
    assert world.round.answered(first, 38.0) is None


def test_where_nothing_is_known_patience_is_long_and_a_lost_task_is_sent_again_even_to_its_own_worker() -> None:
    lonely = Round([Share("a", 0, 1)], {"a": 1}, Limits(floor=10))
    lonely.assign(0.0)
    assert lonely.overdue(59.0) == []
    assert lonely.overdue(61.0) == [Doubt("a")]
    assert lonely.overdue(62.0) == []  # it may be frozen
    assert lonely.joined("a", 1, 63.0) == []
    assert lonely.overdue(64.0) == [Late("a", 0, 1, 64.0), Send(1, 0, 1, "a", True)]
    assert lonely.overdue(180.0) == []
    assert lonely.answered(0, 181.0) == [Drop(1)]
    assert lonely.done


@given(st.integers(1, 64), st.lists(CREWS, min_size=1, max_size=5))
def test_bundles_are_shared_fairly_and_stay_where_they_are(bundles: int, crews: list[dict[str, int]]) -> None:
    homes = [""] * bundles
    for threads in crews:
        before, homes = homes, rehome(homes, threads)
        assert rehome(homes, threads) == homes
        total = sum(threads.values())
        for worker, own in threads.items():
            assert abs(homes.count(worker) - bundles * own / total) < 1
        if set(before) <= set(threads) and before != [""] * bundles:
            moved = sum(a != b for a, b in zip(before, homes, strict=True))
            assert moved == sum(max(0, before.count(worker) - homes.count(worker)) for worker in threads)
        parts = shares(homes, threads)
        assert [k for part in parts for k in range(part.first, part.last)] == list(range(bundles))
        assert all(homes[k] == part.worker for part in parts for k in range(part.first, part.last))
