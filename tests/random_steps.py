"""Plans of whole steps, with variants that differ by copy: greedy schedules, and a checker of the rules of the step."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
from random_plans import plan_of
from solver_problems import chain, posed, random_placement, random_problem, unit_cluster

from planner.plan.plan import Plan
from planner.problem import NetworkLevel, Operator, Pass, Placement, Problem, Variant
from planner.timetable.timetable import TimedExchange, TimedTransfer, Timetable

STREAM_OF_STEP = (1, 0, 1)  # R and G on the communication stream


def recomputed(operator: Operator, name: str = "recompute") -> Operator:
    """The operator with a variant that holds a quarter of the activation and has no W of its own."""
    times = dict(operator.times)
    if Pass.I in times:
        longer = [times.pop(Pass.W, 0.0), times[Pass.F]]
        times[Pass.I] = 1.0 + sum(t for t in longer if isinstance(t, float))
    variant = Variant(name, times, operator.parameters / 2, operator.activation / 4, 0.0)
    return replace(operator, variants=(variant,))


def with_step(problem: Problem, seed: int = 0, whole: bool = False) -> Problem:
    """The problem with step tasks, gradients to exchange and variants; ``whole``: every operator has all of them."""
    r, operators = random.Random(f"step {seed}"), []
    for operator in problem.operators:
        step = {p: float(r.randint(0 if not whole else 1, 3)) for p in "RUG" if whole or r.random() < 0.7}
        sent = r.choice([0.0, 1e9, 3e9]) if not whole else 1e9
        made = replace(operator, step={Pass(p): time for p, time in step.items()}, gradient=sent)
        operators.append(recomputed(made) if whole or r.random() < 0.6 else made)
    graph = replace(problem.graph, operators=tuple(operators), clip_gradients=whole or r.random() < 0.4)
    return replace(problem, graph=graph)


def greedy(problem: Problem, placement: Placement, seed: int = 0) -> Timetable:
    """Tasks in a random order that precedence allows, each as early as streams and channels then allow.

    Memory is no concern of it.
    """
    made = _Greedy(problem, placement, random.Random(f"greedy {seed}"))
    made.passes()
    return made.with_step_tasks()


class _Greedy:
    def __init__(self, problem: Problem, placement: Placement, r: random.Random) -> None:
        self.problem, self.placement, self.r = problem, placement, r
        self.own = problem.of_copies(placement)
        self.free: defaultdict[tuple[int, ...], float] = defaultdict(float)
        self.copy_of = tuple(m % placement.copies for m in range(problem.microbatches))
        self.start = np.full((problem.n_operators, 3, problem.microbatches), np.nan)
        self.end = np.zeros(self.start.shape)
        self.transfers: list[TimedTransfer] = []
        self.arrived: dict[tuple[int, int, int, int, int], float] = {}

    def passes(self) -> None:
        n, microbatches = self.problem.n_operators, self.problem.microbatches
        left = {(i, p, m) for m in range(microbatches) for i in range(n) for p in range(3) if self._has(i, p, m)}
        while left:
            ready = sorted(t for t in left if not any(b in left for b in self._before(*t)))
            i, p, m = self.r.choice(ready)
            d = self.placement.device_of[self.copy_of[m]][i]
            at = max([0.0, *(self._arrival(b, d, i) for b in self._before(i, p, m))])
            seconds = float(self.own[self.copy_of[m]].duration[i, p, d])
            self.start[i, p, m], self.end[i, p, m] = self._take([(d, int(self.problem.on_comm[i]))], at, seconds)
            left.remove((i, p, m))

    def _has(self, i: int, p: int, m: int) -> bool:
        return bool(self.own[self.copy_of[m]].has_pass[i, p])

    def _before(self, i: int, p: int, m: int) -> list[tuple[int, int, int]]:
        others = (self.problem.inputs, self.problem.consumers, ((),) * self.problem.n_operators)[p][i]
        own = [(i, p - 1, m)] if p else []
        return own + [(j, p, m) for j in others]

    def _arrival(self, before: tuple[int, int, int], d: int, i: int) -> float:
        """When what a task makes is on device d; operator i reads it there (or made what it is the gradient of)."""
        j, p, m = before
        where = self.placement.device_of[self.copy_of[m]]
        made, sender = float(self.end[j, p, m]), where[j]
        if sender == d:
            return made
        producer = j if p == 0 else i
        key = (producer, p, m, sender, d)
        if key not in self.arrived:
            if p:  # the gradient leaves once, after the I of all readers there
                readers = [k for k in self.problem.consumers[i] if where[k] == sender]
                made = max(float(self.end[k, 1, m]) for k in readers)
            start, end = self._send(sender, d, made, self.problem.transfer(producer, sender, d))
            if end > start:
                self.transfers.append(TimedTransfer(producer, p, m, sender, d, start, end))
            self.arrived[key] = end
        return self.arrived[key]

    def _send(self, source: int, target: int, at: float, seconds: float) -> tuple[float, float]:
        exclusive = [(d, 0) for d in (source, target) if self.problem.exclusive[d]]
        return self._take([(source, target, -1), *exclusive], at, seconds) if seconds > 0 else (at, at)

    def _take(self, lanes: list[tuple[int, ...]], at: float, seconds: float) -> tuple[float, float]:
        start = max([at, *(self.free[lane] for lane in lanes)])
        for lane in lanes:
            self.free[lane] = start + seconds
        return start, start + seconds

    def with_step_tasks(self) -> Timetable:
        problem, copies = self.problem, range(self.placement.copies)
        n, device_of = problem.n_operators, self.placement.device_of
        step, ends = np.full((len(copies), n, 3), np.nan), np.zeros((len(copies), n, 3))
        done = np.zeros((len(copies), n))
        for k in copies:
            own = [m for m in range(problem.microbatches) if self.copy_of[m] == k]
            if problem.training and own:
                done[k] = np.nanmax(np.where(np.isnan(self.start), 0, self.end)[:, 1:, own], axis=(1, 2))
        exchanges: list[TimedExchange] = []
        ready = done.copy()  # with the gradients of other copies
        pairs = sorted((done[k, i], k, i) for k in copies for i in range(n) if problem.gradient[i] > 0)
        for _, k, i in pairs:
            source = device_of[k][i]
            for d in sorted({device_of[other][i] for other in copies} - {source}):
                start, end = self._send(source, d, done[k, i], problem.gradient_transfer(i, source, d))
                if end > start:
                    exchanges.append(TimedExchange(i, k, source, d, start, end))
                for other in copies:
                    if device_of[other][i] == d:
                        ready[other, i] = max(ready[other, i], end)
        for s in range(3):
            reduced = float(np.nanmax(ends[:, :, 0], initial=0.0))
            for k, i in sorted(np.ndindex(ready.shape), key=lambda t: (ready[t], t)):
                if not problem.has_step[i, s]:
                    continue
                d = device_of[k][i]
                at = max(ready[k, i], reduced) if s == 1 and problem.graph.clip_gradients else ready[k, i]
                seconds = float(problem.step_duration[i, s, d])
                step[k, i, s], ends[k, i, s] = self._take([(d, STREAM_OF_STEP[s])], at, seconds)
            ready = np.where(np.isnan(step[:, :, s]), ready, ends[:, :, s])
        some = step if problem.has_step.any() else None
        order = sorted(exchanges, key=lambda x: x.start)
        return Timetable(self.placement, self.copy_of, self.start, tuple(self.transfers), some, tuple(order))


def random_versions(problem: Problem, placement: Placement, seed: int) -> Placement:
    """The placement with versions drawn for every copy."""
    r = random.Random(f"versions {seed}")
    drawn = [tuple(r.choice(some) for some in problem.versions) for _ in range(placement.copies)]
    return problem.in_versions(placement, drawn)


def random_whole_step(seed: int) -> tuple[Problem, Plan] | None:
    """A greedy plan of a random training problem; None where a variant cannot run where it is placed.

    It may be over the cap of memory: replays then stay within its own peaks.
    """
    plain = random_problem(seed, operators=5, devices=3, training=True)
    if plain is None:
        return None
    problem = with_step(plain, seed)
    placement = random_versions(problem, random_placement(problem, seed), seed)
    if not problem.allows_copies(placement):
        return None
    return problem, plan_of(problem, greedy(problem, placement, seed))


def broken(problem: Problem, table: Timetable) -> list[str]:
    """The rules of order, transfers, streams and the step that a timetable breaks, in words."""
    found: list[str] = []
    close = 1e-9 * table.makespan(problem)
    ends, step_ends, where = table.ends(problem), table.step_ends(problem), table.placement.device_of
    lanes: defaultdict[tuple[int, ...], list[tuple[float, float]]] = defaultdict(list)
    for i, p, m in np.argwhere(~np.isnan(table.start)).tolist():
        lanes[table.device(i, m), int(problem.on_comm[i])].append((table.start[i, p, m], ends[i, p, m]))
        before = [(i, p - 1)] if p else []
        before += [(j, p) for j in (problem.inputs, problem.consumers, [()] * problem.n_operators)[p][i]]
        if any(ends[j, q, m] > table.start[i, p, m] + close for j, q in before):
            found.append(f"order of {i} {p} {m}")
    for t in (*table.transfers, *table.exchanges):
        lanes[t.source, t.target, -1].append((t.start, t.end))
        for d in (t.source, t.target):
            if problem.exclusive[d]:
                lanes[d, 0].append((t.start, t.end))
    step = np.full(step_ends.shape, np.nan) if table.step is None else table.step
    if not np.array_equal(~np.isnan(step), np.broadcast_to(problem.has_step, step.shape)):
        found.append("step tasks are missing")
    for k, i, s in np.argwhere(~np.isnan(step)).tolist():
        lanes[where[k][i], STREAM_OF_STEP[s]].append((step[k, i, s], step_ends[k, i, s]))
        earlier = [step_ends[k, i, q] for q in range(s) if not np.isnan(step[k, i, q])]
        if not earlier:
            earlier = [_done(table, ends, k, i)] + [
                x.end for x in table.exchanges if x.operator == i and x.target == where[k][i]
            ]
            earlier += [
                _done(table, ends, other, i)
                for other, there in enumerate(where)
                if problem.gradient[i] > 0 and there[i] != where[k][i]
            ]
        if s == 1 and problem.graph.clip_gradients and problem.has_step[:, 0].any():
            earlier.append(float(np.nanmax(step_ends[:, :, 0])))
        if max(earlier) > step[k, i, s] + close:
            found.append(f"step task {s} of {i}, copy {k}")
    for x in table.exchanges:
        if _done(table, ends, x.copy, x.operator) > x.start + close:
            found.append(f"exchange of {x.operator} from copy {x.copy}")
    for lane, taken in lanes.items():
        taken = sorted((a, b) for a, b in taken if b > a)  # noqa: PLW2901
        found += [f"{lane} at {b[0]}" for a, b in pairwise(taken) if a[1] > b[0] + close]
    return found


def _done(table: Timetable, ends: np.ndarray, copy: int, operator: int) -> float:
    """When the last backward pass of a copy of an operator has ended."""
    own = [m for m, k in enumerate(table.copy_of) if k == copy]
    return float(np.nanmax(ends[operator, 1:, own], initial=0.0)) if own else 0.0


def two_copies(microbatches: int = 4, varied: bool = True) -> tuple[Problem, Plan]:
    """Two devices, two operators in two copies that run in opposite directions; copy 1 recomputes the first one."""
    cluster = unit_cluster(2, 40.0, NetworkLevel(2e9, 0.25))
    plain = posed(*chain(2, activation=4.0, parameters=2.0), devices=cluster, microbatches=microbatches, copies=2)
    problem = with_step(plain, 0, whole=True)
    placement = Placement(((0, 1), (1, 0)), "by hand", ((0, 0), (1, 0)) if varied else ())
    return problem, plan_of(problem, greedy(problem, placement, 1))
