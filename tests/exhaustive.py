"""The optimum of a tiny problem by looking at everything: every placement, variant, split and order. Shares no code
with the solver beyond the problem's own tables, and knows nothing but the rules.

Some optimal schedule results from taking tasks and transfers, those at the end of the step too, in order of their
starts and starting each as early as the ends of what it waits for, its streams and channels, the start before it and
memory allow. So all such sequences are tried. What is left out: sequences that can no longer be shorter than the best,
and states that another of the same tasks reaches no later in every respect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from planner.problem import Placement, Problem
from planner.timetable.timetable import TimedExchange, TimedTransfer, Timetable

Devices = tuple[tuple[int, ...], ...]
"""By copy and operator."""

Row = tuple[int, ...] | TimedTransfer | TimedExchange
"""A pass (operator, pass, microbatch), a step task (copy, operator, step task, -1), or a transfer without its times."""

Variants = Sequence[tuple[int, ...]]
"""By copy and operator; empty: the first that is allowed."""

SLACK = 1 + 4e-12  # of memory, for rounding
EPSILON = 1e-9  # seconds


class TooLarge(Exception):
    """More states than a test should look at."""


@dataclass
class Task:
    """A pass of an operator for a microbatch, a step task, or a transfer; ``row`` is what a timetable calls it."""

    seconds: float
    resources: list[object]
    row: Row
    waits_for: list[Task] = field(default_factory=list)
    takes: list[Holding] = field(default_factory=list)
    number: int = -1


@dataclass
class Holding:
    """Bytes on a device from the start of a task to the end of the last of ``until``."""

    device: int
    size: float
    until: list[Task]


def placements(problem: Problem, copies: int) -> Iterator[Placement]:
    """All placements of exactly so many copies, in all variants; of copies exchanged, one."""
    every = product(range(problem.n_devices), repeat=problem.n_operators)
    versions = list(product(*problem.versions))
    one = [(d, v) for d in every for v in versions if problem.chosen(v).allows(d)]
    for some in product(one, repeat=copies):
        if list(some) == sorted(some):
            yield problem.in_versions(Placement(tuple(d for d, _ in some)), [v for _, v in some])


def tasks_of(problem: Problem, placement: Devices, copy_of: Sequence[int], variant_of: Variants = ()) -> list[Task]:
    """All tasks and transfers of a step, with what they wait for and hold."""
    problems = problem.of_copies(Placement(placement, variant_of=tuple(variant_of)))
    everything: list[Task] = []

    def add(seconds: float, row: Row, *resources: object) -> Task:
        everything.append(Task(float(seconds), list(resources), row, number=len(everything)))
        return everything[-1]

    def sent(seconds: float, row: TimedTransfer | TimedExchange) -> Task | None:
        if seconds == 0 or row.source == row.target:
            return None
        ends = [("stream", d, False) for d in (row.source, row.target) if problem.exclusive[d]]
        return add(seconds, row, ("channel", row.source, row.target), *ends)

    def transfer(i: int, p: int, m: int, source: int, target: int) -> Task | None:
        return sent(problem.transfer(i, source, target), TimedTransfer(i, p, m, source, target, 0.0, 0.0))

    first_of_copy: dict[int, Task] = {}
    gradients: dict[tuple[int, int], list[Task]] = {}  # I and W by copy and operator
    for m, copy in enumerate(copy_of):
        where, own = placement[copy], problems[copy]
        of = {
            (i, p): add(own.duration[i, p, where[i]], (i, p, m), ("stream", where[i], bool(problem.on_comm[i])))
            for i in range(problem.n_operators)
            for p in range(3)
            if own.has_pass[i, p]
        }
        # microbatches of one copy are alike: number them by the start of one task
        named = of[problem.topological[0], 0]
        if copy in first_of_copy:
            named.waits_for.append(first_of_copy[copy])
        first_of_copy[copy] = named
        for i in range(problem.n_operators):
            here, forward, leaving = where[i], of[i, 0], []
            for device in sorted({where[j] for j in problem.consumers[i]}):
                readers = [j for j in problem.consumers[i] if where[j] == device]
                there = transfer(i, 0, m, here, device)
                if there is not None:
                    there.waits_for.append(forward)
                    leaving.append(there)
                for j in readers:
                    of[j, 0].waits_for.append(there or forward)
                if problem.training:
                    back = transfer(i, 1, m, device, here)
                    (back or of[i, 1]).waits_for.extend(of[j, 1] for j in readers)
                    if back is not None:
                        of[i, 1].waits_for.append(back)
            size, late = float(own.activation[i]), float(own.held[i])
            if problem.training:
                of[i, 1].waits_for.append(forward)
                forward.takes.append(Holding(here, size - late, [of[i, 1]]))
                if (i, 2) in of:
                    of[i, 2].waits_for.append(of[i, 1])
                    forward.takes.append(Holding(here, late, [of[i, 2]]))
            else:
                local = [of[j, 0] for j in problem.consumers[i] if where[j] == here]
                forward.takes.append(Holding(here, size, [forward, *local, *leaving]))
        for (i, p), task in of.items():
            if p > 0:
                gradients.setdefault((copy, i), []).append(task)

    # the end of the step: exchanges, then R, U and G of every copy, those that no microbatch uses too
    copies = range(len(placement))
    arrived: dict[tuple[int, int], list[Task]] = {(k, i): [] for k in copies for i in range(problem.n_operators)}
    for k, i in arrived:
        source = placement[k][i]
        for device in sorted({placement[j][i] for j in copies} - {source}):
            if problem.gradient[i] <= 0:
                continue
            exchange = sent(problem.gradient_transfer(i, source, device), TimedExchange(i, k, source, device, 0.0, 0.0))
            if exchange is not None:
                exchange.waits_for.extend(gradients.get((k, i), []))
            for j in copies:
                if placement[j][i] == device:
                    arrived[j, i].extend([exchange] if exchange is not None else gradients.get((k, i), []))
    reductions: list[Task] = []
    updates: list[Task] = []
    for (k, i), waiting in arrived.items():
        before = [*gradients.get((k, i), []), *waiting]
        for step in range(3):
            if not problem.has_step[i, step]:
                continue
            device = placement[k][i]
            task = add(problem.step_duration[i, step, device], (k, i, step, -1), ("stream", device, step != 1))
            task.waits_for.extend(before)
            before = [task]
            (reductions, updates, [])[step].append(task)
    if problem.graph.clip_gradients:
        for update in updates:
            update.waits_for.extend(reductions)
    return everything


class Search:
    """All sequences of the tasks of one placement; ``best`` is the shortest makespan seen, to begin with a limit."""

    def __init__(
        self, problem: Problem, placement: Devices, tasks: list[Task], best: float, variant_of: Variants = ()
    ) -> None:
        self.tasks, self.best, self.states = tasks, best, 0
        self.ends: dict[int, float] = {}  # of the best sequence
        self.room = list(problem.cap * SLACK)
        problems = problem.of_copies(Placement(placement, variant_of=tuple(variant_of)))
        for i in range(problem.n_operators):
            for d in {copy[i] for copy in placement}:  # copies on one device share them: the largest count
                own = [o.parameters[i] for o, copy in zip(problems, placement, strict=True) if copy[i] == d]
                self.room[d] -= float(max(own))
        self.resources = sorted({r for t in tasks for r in t.resources}, key=repr)
        self.followers: list[list[int]] = [[] for _ in tasks]
        for t in tasks:
            for u in t.waits_for:
                self.followers[u.number].append(t.number)
        self.releasing = {u.number for t in tasks for h in t.takes if h.size for u in h.until}
        self.tail = [0.0] * len(tasks)  # from the end of a task to the end of the step
        for t in reversed(self._topological()):
            self.tail[t] = max((self.tasks[u].seconds + self.tail[u] for u in self.followers[t]), default=0.0)
        self.seen: dict[int, list[tuple[float, ...]]] = {}

    def _topological(self) -> list[int]:
        left = [len(t.waits_for) for t in self.tasks]
        order = [k for k, n in enumerate(left) if not n]
        for k in order:
            for u in self.followers[k]:
                left[u] -= 1
                if not left[u]:
                    order.append(u)
        return order

    def run(self) -> float:
        if min(self.room) >= 0:
            self._next(0, {}, dict.fromkeys(self.resources, 0.0), 0.0, 0.0)
        return self.best

    def _next(self, done: int, end: dict[int, float], free: dict[object, float], last: float, makespan: float) -> None:
        """Extend a sequence: ``done`` as bits, ends so far, when resources are free, the last start."""
        if len(end) == len(self.tasks):
            if makespan < self.best:
                self.best, self.ends = makespan, end
            return
        self.states += 1
        if self.states > 20_000:
            raise TooLarge
        if self._dominated(done, end, free, last, makespan) or self._hopeless(end, free, last):
            return
        choices = []
        for t in self.tasks:
            if t.number in end or any(u.number not in end for u in t.waits_for):
                continue
            start = max([last, *(end[u.number] for u in t.waits_for), *(free[r] for r in t.resources)])
            at = self._when_memory_suffices(t, start, end)
            if at is not None and at + t.seconds + self.tail[t.number] < self.best - EPSILON:
                choices.append((at, t.number))
        for at, k in sorted(choices):
            t = self.tasks[k]
            after = at + t.seconds
            if after + self.tail[k] < self.best - EPSILON:
                self._next(
                    done | 1 << k, {**end, k: after}, {**free, **dict.fromkeys(t.resources, after)}, at,
                    max(makespan, after),
                )  # fmt: skip

    def _when_memory_suffices(self, task: Task, start: float, end: dict[int, float]) -> float | None:
        """The first instant from ``start`` on at which what the task takes fits, as far as it is known."""
        size = sum(h.size for h in task.takes)
        if not size:
            return start
        device = task.takes[0].device
        held = [
            (max(end.get(u.number, float("inf")) for u in h.until), h.size)
            for t in self.tasks
            if t.number in end
            for h in t.takes
            if h.device == device
        ]
        for at in sorted({start, *(until for until, _ in held if start < until < float("inf"))}):
            if size + sum(s for until, s in held if until > at) <= self.room[device]:
                return at
        return None

    def _hopeless(self, end: dict[int, float], free: dict[object, float], last: float) -> bool:
        """Whether the work that is left on some resource is too much."""
        left = dict.fromkeys(self.resources, 0.0)
        for t in self.tasks:
            if t.number not in end:
                for r in t.resources:
                    left[r] += t.seconds
        return any(w and max(free[r], last) + w >= self.best - EPSILON for r, w in left.items())

    def _dominated(
        self, done: int, end: dict[int, float], free: dict[object, float], last: float, makespan: float
    ) -> bool:
        ends = (
            max(e, last)
            for k, e in sorted(end.items())
            if k in self.releasing or any(u not in end for u in self.followers[k])
        )
        state = (last, makespan, *(max(free[r], last) for r in self.resources), *ends)
        others = self.seen.setdefault(done, [])
        if any(all(a <= b + EPSILON for a, b in zip(other, state, strict=True)) for other in others):
            return True
        others.append(state)
        return False


def splits(microbatches: int, copies: int) -> Iterator[tuple[int, ...]]:
    """Which copy runs each microbatch, exchanges of microbatches aside."""
    return (c for c in product(range(copies), repeat=microbatches) if list(c) == sorted(c))


def optimum_of_placement(
    problem: Problem, placement: Devices, limit: float = float("inf"), variant_of: Variants = ()
) -> float:
    """The shortest makespan on one placement; ``limit`` where nothing is shorter than that."""
    for copy_of in splits(problem.microbatches, len(placement)):
        tasks = tasks_of(problem, placement, copy_of, variant_of)
        limit = Search(problem, placement, tasks, limit, variant_of).run()
    return limit


def best_step(problem: Problem, limit: float = float("inf")) -> tuple[float, Timetable | None]:
    """The shortest makespan of all, and a timetable that reaches it: (``limit``, None) where nothing is shorter."""
    best = None
    for copies in range(1, problem.copies + 1):
        for placement in placements(problem, copies):
            device_of, variant_of = placement.device_of, placement.variant_of
            for copy_of in splits(problem.microbatches, copies):
                tasks = tasks_of(problem, device_of, copy_of, variant_of)
                search = Search(problem, device_of, tasks, limit, variant_of)
                if search.run() < limit:
                    limit, best = search.best, _timetable(problem, placement, copy_of, search)
    return limit, best


def _timetable(problem: Problem, placement: Placement, copy_of: tuple[int, ...], search: Search) -> Timetable:
    """The best sequence that a search has found."""
    start = np.full((problem.n_operators, 3, problem.microbatches), np.nan)
    step = np.full((placement.copies, problem.n_operators, 3), np.nan)
    transfers, exchanges = [], []
    for task in search.tasks:
        end = search.ends[task.number]
        begin = end - task.seconds
        match task.row:
            case TimedTransfer():
                transfers.append(task.row._replace(start=begin, end=end))
            case TimedExchange():
                exchanges.append(task.row._replace(start=begin, end=end))
            case (k, i, s, -1):
                step[k, i, s] = begin
            case (i, p, m):
                start[i, p, m] = begin
    steps = step if problem.has_step.any() else None
    return Timetable(placement, copy_of, start, tuple(transfers), steps, tuple(exchanges))


def optimum(problem: Problem, limit: float = float("inf")) -> tuple[float, Devices | None]:
    """The same with the devices alone, for problems without variants."""
    found, timetable = best_step(problem, limit)
    return found, None if timetable is None else timetable.placement.device_of
