"""The optimum of a tiny problem by looking at everything: every placement, every order. Shares no code with the
solver beyond the problem's own tables, and knows nothing but the rules.

Some optimal schedule results from taking tasks and transfers in order of their starts and starting each as early as
the ends of what it waits for, its streams and channels, the start before it and memory allow. So all such sequences
are tried. What is left out: sequences that can no longer be shorter than the best, and states that another of the
same tasks reaches no later in every respect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from planner.problem import Problem

SLACK = 1 + 4e-12  # of memory, for rounding
EPSILON = 1e-9  # seconds


class TooLarge(Exception):
    """More states than a test should look at."""


@dataclass
class Task:
    """A pass of an operator for a microbatch, or a transfer."""

    seconds: float
    resources: list[object]
    waits_for: list[Task] = field(default_factory=list)
    takes: list[Holding] = field(default_factory=list)
    number: int = -1


@dataclass
class Holding:
    """Bytes on a device from the start of a task to the end of the last of ``until``."""

    device: int
    size: float
    until: list[Task]


def placements(problem: Problem, copies: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All placements of exactly so many copies; of copies exchanged, one."""
    one = [d for d in product(range(problem.n_devices), repeat=problem.n_operators) if problem.allows(d)]
    return (p for p in product(one, repeat=copies) if list(p) == sorted(p)) if copies > 1 else ((d,) for d in one)


def tasks_of(problem: Problem, placement: tuple[tuple[int, ...], ...], copy_of: tuple[int, ...]) -> list[Task]:
    """All tasks and transfers of a step, with what they wait for and hold."""
    everything: list[Task] = []

    def add(seconds: float, *resources: object) -> Task:
        everything.append(Task(float(seconds), list(resources), number=len(everything)))
        return everything[-1]

    def transfer(i: int, source: int, target: int) -> Task | None:
        seconds = problem.transfer(i, source, target) if source != target else 0.0
        if seconds == 0:
            return None
        ends = [("stream", d, False) for d in (source, target) if problem.exclusive[d]]
        return add(seconds, ("channel", source, target), *ends)

    first_of_copy: dict[int, Task] = {}
    for copy in copy_of:
        where = placement[copy]
        of = {
            (i, p): add(problem.duration[i, p, where[i]], ("stream", where[i], bool(problem.on_comm[i])))
            for i in range(problem.n_operators)
            for p in range(3)
            if problem.has_pass[i, p]
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
                sent = transfer(i, here, device)
                if sent is not None:
                    sent.waits_for.append(forward)
                    leaving.append(sent)
                for j in readers:
                    of[j, 0].waits_for.append(sent or forward)
                if problem.training:
                    back = transfer(i, device, here)
                    (back or of[i, 1]).waits_for.extend(of[j, 1] for j in readers)
                    if back is not None:
                        of[i, 1].waits_for.append(back)
            size, late = float(problem.activation[i]), float(problem.held[i])
            if problem.training:
                of[i, 1].waits_for.append(forward)
                forward.takes.append(Holding(here, size - late, [of[i, 1]]))
                if (i, 2) in of:
                    of[i, 2].waits_for.append(of[i, 1])
                    forward.takes.append(Holding(here, late, [of[i, 2]]))
            else:
                local = [of[j, 0] for j in problem.consumers[i] if where[j] == here]
                forward.takes.append(Holding(here, size, [forward, *local, *leaving]))
    return everything


class Search:
    """All sequences of the tasks of one placement; ``best`` is the shortest makespan seen, to begin with a limit."""

    def __init__(
        self, problem: Problem, placement: tuple[tuple[int, ...], ...], tasks: list[Task], best: float
    ) -> None:
        self.tasks, self.best, self.states = tasks, best, 0
        self.room = list(problem.cap * SLACK)
        for i in range(problem.n_operators):
            for d in {copy[i] for copy in placement}:
                self.room[d] -= float(problem.parameters[i])
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
            self.best = min(self.best, makespan)
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
    problem: Problem, placement: tuple[tuple[int, ...], ...], limit: float = float("inf")
) -> float:
    """The shortest makespan on one placement; ``limit`` where nothing is shorter than that."""
    for copy_of in splits(problem.microbatches, len(placement)):
        limit = Search(problem, placement, tasks_of(problem, placement, copy_of), limit).run()
    return limit


def optimum(problem: Problem, limit: float = float("inf")) -> tuple[float, tuple[tuple[int, ...], ...] | None]:
    """The shortest makespan of all, and a placement that reaches it: (``limit``, None) where nothing is shorter."""
    best = None
    for copies in range(1, problem.copies + 1):
        for placement in placements(problem, copies):
            found = optimum_of_placement(problem, placement, limit)
            if found < limit:
                limit, best = found, placement
    return limit, best
