"""The optimum of a tiny problem by looking at everything: every placement, variant, split and order. Shares no code
with the solver beyond the problem's own tables, and knows nothing but the rules.

Some optimal schedule results from taking tasks and transfers, those at the end of the step too, in order of their
starts and starting each as early as the ends of what it waits for, its streams and channels, the start before it and
memory allow. So all such sequences are tried. What is left out: sequences that can no longer be shorter than the best,
and states that another of the same tasks reaches no later in every respect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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


@dataclass
class Reached:
    """What follows from which tasks are done, whenever they ended."""

    ready: list[int]
    """Tasks that may be next."""
    open_ends: list[int]
    """Done tasks whose ends still matter: something waits for them, or they release memory."""
    left: list[tuple[int, float]]
    """Resources with the seconds of work that they have yet to do."""


class Search:
    """All sequences of the tasks of one placement; ``best`` is the shortest makespan seen, to begin with a limit.

    It takes most of the time of many tests, so that tasks and resources are numbers, sets of tasks bits, and what
    follows from a set alone is kept.
    """

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
        resources = sorted({r for t in tasks for r in t.resources}, key=repr)
        number = {r: k for k, r in enumerate(resources)}
        self.resources = [[number[r] for r in t.resources] for t in tasks]
        self.waits_for = [[u.number for u in t.waits_for] for t in tasks]
        self.needs = [_bits(waits) for waits in self.waits_for]
        self.followers: list[list[int]] = [[] for _ in tasks]
        for t in tasks:
            for u in t.waits_for:
                self.followers[u.number].append(t.number)
        self.later = [_bits(followers) for followers in self.followers]
        self.releasing = {u.number for t in tasks for h in t.takes if h.size for u in h.until}
        self.size = [sum(h.size for h in t.takes) for t in tasks]
        self.holdings: dict[
            int, list[tuple[int, float, list[int], int]]
        ] = {}  # by device: holder, bytes, until, as bits
        for t in tasks:
            for h in t.takes:
                until = [u.number for u in h.until]
                self.holdings.setdefault(h.device, []).append((t.number, h.size, until, _bits(until)))
        self.tail = [0.0] * len(tasks)  # from the end of a task to the end of the step
        for k in reversed(self._topological()):
            self.tail[k] = max((self.tasks[u].seconds + self.tail[u] for u in self.followers[k]), default=0.0)
        self.seen: dict[int, list[tuple[float, ...]]] = {}
        self.reached: dict[int, Reached] = {}
        self.end = [0.0] * len(tasks)  # of the sequence so far
        self.free = [0.0] * len(resources)  # when it leaves each resource free

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
            self._next(0, 0.0, 0.0)
        return self.best

    def _next(self, done: int, last: float, makespan: float) -> None:
        """Extend a sequence: ``done`` as bits, the last start; ``end`` and ``free`` are those of the sequence."""
        if done == (1 << len(self.tasks)) - 1:
            if makespan < self.best:
                self.best, self.ends = makespan, dict(enumerate(self.end))
            return
        self.states += 1
        if self.states > 20_000:
            raise TooLarge
        reached = self.reached.get(done)
        if reached is None:
            reached = self.reached[done] = self._reached(done)
        end, free = self.end, self.free
        if self._dominated(done, reached, last, makespan):
            return
        late = self.best - EPSILON
        if any(max(free[r], last) + work >= late for r, work in reached.left):
            return  # the work that is left on some resource is too much
        choices = []
        for k in reached.ready:
            start = last
            for u in self.waits_for[k]:
                start = max(start, end[u])
            for r in self.resources[k]:
                start = max(start, free[r])
            at = self._when_memory_suffices(k, start, done) if self.size[k] else start
            if at is not None and at + self.tasks[k].seconds + self.tail[k] < late:
                choices.append((at, k))
        choices.sort()
        for at, k in choices:
            after = at + self.tasks[k].seconds
            if after + self.tail[k] < self.best - EPSILON:
                before = [free[r] for r in self.resources[k]]
                end[k] = after
                for r in self.resources[k]:
                    free[r] = after
                self._next(done | 1 << k, at, max(makespan, after))
                for r, was in zip(self.resources[k], before, strict=True):
                    free[r] = was

    def _reached(self, done: int) -> Reached:
        numbers = range(len(self.tasks))
        left: dict[int, float] = {}
        for k in numbers:
            if not done >> k & 1:
                for r in self.resources[k]:
                    left[r] = left.get(r, 0.0) + self.tasks[k].seconds
        return Reached(
            [k for k in numbers if not done >> k & 1 and not self.needs[k] & ~done],
            [k for k in numbers if done >> k & 1 and (k in self.releasing or self.later[k] & ~done)],
            [(r, work) for r, work in left.items() if work],
        )

    def _when_memory_suffices(self, k: int, start: float, done: int) -> float | None:
        """The first instant from ``start`` on at which what the task takes fits, as far as it is known."""
        device = self.tasks[k].takes[0].device
        room, size, end = self.room[device], self.size[k], self.end
        held = [
            (float("inf") if bits & ~done else max(end[u] for u in until), some)
            for holder, some, until, bits in self.holdings[device]
            if done >> holder & 1
        ]
        for at in sorted({start, *(until for until, _ in held if start < until < float("inf"))}):
            if size + sum(some for until, some in held if until > at) <= room:
                return at
        return None

    def _dominated(self, done: int, reached: Reached, last: float, makespan: float) -> bool:
        """Whether another sequence of the same tasks is no later in every respect."""
        end = self.end
        state = (
            last,
            makespan,
            *[time if time > last else last for time in self.free],
            *[end[k] if end[k] > last else last for k in reached.open_ends],
        )
        others = self.seen.setdefault(done, [])
        for other in others:
            for a, b in zip(other, state, strict=True):
                if a > b + EPSILON:
                    break
            else:
                return True
        others.append(state)
        return False


def _bits(numbers: Iterable[int]) -> int:
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


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
