"""The textbook model with order variables, for small irregular problems: placement and order in one MIP.

One binary for each operator and device, one for each pair of tasks that may meet on a stream; big-M rows with
windows as tight as heads, tails and the incumbent allow. With one copy it covers every placement that the flags
allow, so that its dual bound is a bound of the problem. Memory, channels' capacity and transfers that occupy a
compute stream are relaxed here: the bound stays valid, and the list scheduler makes a plan of the model's starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.common.budget import Control
from planner.common.highs import Model
from planner.problem import Problem, Step

Floats = npt.NDArray[np.float64]
TASKS_AT_MOST = 160
ROWS_AT_MOST = 6_000
STEPS_AT_MOST = 100_000.0
HORIZON = 1_000.0  # the cutoff of a model without a grid, in its unit
BOUND_SLACK = 1e-4  # what the tolerances of big-M rows could be worth, in the model's unit


@dataclass(frozen=True)
class Relaxed:
    """What the model found: a bound (inf: nothing better than the cutoff exists), a placement and starts."""

    bound: float
    device_of: tuple[int, ...] | None
    start: dict[tuple[int, int, int], float]  # (operator, pass, microbatch) -> seconds


class DisjunctiveModel:
    """Order variables over all tasks of a small problem; one method for each family of constraints.

    ``cutoff``: only schedules of at most this (seconds) are of interest. Microbatches are alike, so each class runs
    them in order. Where all times fall on a grid they are counted in whole steps of it, which keeps the big-M rows
    free of fractions; else in thousandths of the cutoff, since the solver's tolerances are absolute.
    """

    def __init__(self, problem: Problem, cutoff: float) -> None:
        self.problem = problem
        step = Step.of(problem).seconds
        self.whole = step is not None and cutoff / step <= STEPS_AT_MOST
        if step is not None and self.whole:
            self.scale, self.cutoff = 1.0 / step, float(math.floor(cutoff / step * (1 + 1e-12)))
        else:
            self.scale, self.cutoff = HORIZON / cutoff, HORIZON
        self.duration = self._scaled(problem.duration)
        self.tasks = [
            (i, p, m)
            for m in range(problem.microbatches)
            for i in problem.topological
            for p in range(3)
            if problem.has_pass[i, p]
        ]
        self.number = {task: t for t, task in enumerate(self.tasks)}
        self.shortest = np.array([float(self.duration[i, p][problem.runs_on[i]].min()) for i, p, _ in self.tasks])
        self.longest = np.array([float(self.duration[i, p][problem.runs_on[i]].max()) for i, p, _ in self.tasks])
        self.group_of = {i: g for g, members in enumerate(problem.groups) for i in members}
        self.edges = self._precedence()
        self.before = self._closure()
        self.feasible = self._tighten()

    def _scaled(self, seconds: Floats) -> Floats:
        """Seconds in the model's unit."""
        return np.asarray(np.rint(seconds * self.scale) if self.whole else seconds * self.scale)

    @staticmethod
    def carries(problem: Problem) -> bool:
        """Whether the problem is small enough."""
        tasks = problem.microbatches * int(problem.has_pass.sum())
        if tasks > TASKS_AT_MOST or problem.copies > 1:
            return False
        rows = 0  # of big-M constraints: two a pair and a device that both may run on
        for comm in (False, True):
            members = [i for i in range(problem.n_operators) if problem.on_comm[i] == comm]
            for a in members:
                for b in members:
                    shared = int((problem.runs_on[a] & problem.runs_on[b]).sum())
                    if a <= b and shared:
                        per = int(problem.has_pass[a].sum() * problem.has_pass[b].sum()) * problem.microbatches**2
                        rows += 2 * shared * per // (1 if a < b else 2)
        return rows <= ROWS_AT_MOST

    def _precedence(self) -> list[tuple[int, int, int]]:
        """(task, later task, operator whose output travels between them, -1 where nothing does)."""
        problem, number = self.problem, self.number
        edges: list[tuple[int, int, int]] = []
        for m in range(problem.microbatches):
            for i in range(problem.n_operators):
                for j in problem.inputs[i]:
                    edges.append((number[j, 0, m], number[i, 0, m], j))
                    if problem.training:
                        edges.append((number[i, 1, m], number[j, 1, m], j))
                if problem.training:
                    edges.append((number[i, 0, m], number[i, 1, m], -1))
                    if problem.has_pass[i, 2]:
                        edges.append((number[i, 1, m], number[i, 2, m], -1))
                if m:
                    edges.extend((number[i, p, m - 1], number[i, p, m], -1) for p in range(3) if problem.has_pass[i, p])
        return edges

    def _closure(self) -> npt.NDArray[np.bool_]:
        """``[t, u]``: t precedes u in every schedule."""
        n = len(self.tasks)
        before = np.zeros((n, n), dtype=bool)
        for t, u, _ in self.edges:
            before[t, u] = True
        for k in range(n):
            before |= before[:, k : k + 1] & before[k : k + 1, :]
        return before

    def _tighten(self) -> bool:
        """Heads, tails and orders that follow from the cutoff; False where nothing shorter can exist."""
        while True:
            self.head, self.tail = self._windows()
            latest = self.cutoff - self.tail - self.shortest
            if (self.head > latest + 1e-9 * self.cutoff).any():
                return False
            # u cannot start after t's end if that leaves too little: then u precedes t wherever they meet
            impossible = self.head[:, None] + self.shortest[:, None] > latest[None, :] + 1e-9 * self.cutoff
            both = impossible & impossible.T & self._must_meet
            np.fill_diagonal(both, False)
            if both.any():
                return False
            new = impossible.T & self._must_meet & ~self.before
            np.fill_diagonal(new, False)
            if not new.any():
                return True
            self.before |= new
            for k in np.flatnonzero(new.any(axis=0) | new.any(axis=1)):
                self.before |= self.before[:, k : k + 1] & self.before[k : k + 1, :]

    @property
    def _must_meet(self) -> npt.NDArray[np.bool_]:
        """Pairs that share a stream under every placement: one device only, or one operator group."""
        if not hasattr(self, "_meet"):
            problem = self.problem
            only = [int(np.flatnonzero(r)[0]) if r.sum() == 1 else -1 for r in problem.runs_on]
            n = len(self.tasks)
            self._meet = np.zeros((n, n), dtype=bool)
            for t, (i, _, _) in enumerate(self.tasks):
                for u, (j, _, _) in enumerate(self.tasks):
                    same = self.group_of[i] == self.group_of[j] or (only[i] >= 0 and only[i] == only[j])
                    self._meet[t, u] = same and problem.on_comm[i] == problem.on_comm[j]
        return self._meet

    def _windows(self) -> tuple[Floats, Floats]:
        """Longest chains before and after each task, and the one-machine bound over those that must meet it."""
        n = len(self.tasks)
        head, tail = np.zeros(n), np.zeros(n)
        order = np.argsort(self.before.sum(axis=0), kind="stable")
        meet = self._must_meet
        for t in order:
            earlier = np.flatnonzero(self.before[:, t])
            if len(earlier):
                head[t] = (head[earlier] + self.shortest[earlier]).max()
                here = earlier[meet[earlier, t]]
                if len(here):
                    head[t] = max(head[t], _one_machine(head[here], self.shortest[here]))
        for t in order[::-1]:
            later = np.flatnonzero(self.before[t])
            if len(later):
                tail[t] = (tail[later] + self.shortest[later]).max()
                here = later[meet[later, t]]
                if len(here):
                    tail[t] = max(tail[t], _one_machine(tail[here], self.shortest[here]))
        return head, tail

    def solve(self, control: Control, threads: int, nodes: int | None = None) -> Relaxed:
        """Minimise the makespan below the cutoff."""
        if not self.feasible:
            return Relaxed(math.inf, None, {})
        self.model = Model()
        self.makespan = self.model.variable(float((self.head + self.shortest + self.tail).max()), self.cutoff, 1.0)
        self.start = [
            self.model.variable(float(h), float(self.cutoff - q - p))
            for h, q, p in zip(self.head, self.tail, self.shortest, strict=True)
        ]
        self.every_group_runs_on_one_device()
        self.tasks_follow_their_inputs()
        self.nothing_ends_after_the_makespan()
        self.streams_run_one_task_at_a_time()
        self.streams_work_no_longer_than_the_makespan()
        outcome = self.model.solve(control, threads=threads, nodes=nodes, certify=True)
        control.spend(outcome.nodes)
        if outcome.infeasible:
            return Relaxed(math.inf, None, {})
        bound = max(0.0, outcome.bound - BOUND_SLACK) / self.scale if math.isfinite(outcome.bound) else 0.0
        if outcome.values is None:
            return Relaxed(bound, None, {})
        device_of = [0] * self.problem.n_operators
        for (g, d), y in self.y.items():
            if outcome.values[y] > 0.5:
                for i in self.problem.groups[g]:
                    device_of[i] = d
        starts = {task: float(outcome.values[s]) / self.scale for task, s in zip(self.tasks, self.start, strict=True)}
        return Relaxed(bound, tuple(device_of), starts)

    def every_group_runs_on_one_device(self) -> None:
        """y[g, d] over the devices that may run all of group g."""
        problem = self.problem
        self.y = {}
        for g in range(len(problem.groups)):
            allowed = np.flatnonzero(problem.group_runs_on[g]).tolist()
            for d in allowed:
                self.y[g, d] = self.model.binary()
            self.model.row([self.y[g, d] for d in allowed], [1.0] * len(allowed), 1.0, 1.0)

    def _length(self, t: int) -> tuple[list[int], list[float]]:
        """Duration of a task as an expression in y."""
        i, p, _ = self.tasks[t]
        g = self.group_of[i]
        devices = [d for (h, d) in self.y if h == g]
        return [self.y[g, d] for d in devices], [float(self.duration[i, p, d]) for d in devices]

    def tasks_follow_their_inputs(self) -> None:
        """Start after the end of what precedes, and after the transfer where it is elsewhere."""
        problem = self.problem
        for t, u, sender in self.edges:
            columns, values = self._length(t)
            self.model.row([self.start[u], self.start[t], *columns], [1.0, -1.0, *(-v for v in values)], 0.0)
            if sender < 0:
                continue
            g, h = self.group_of[self.tasks[t][0]], self.group_of[self.tasks[u][0]]
            if g == h:
                continue
            for d in np.flatnonzero(problem.group_runs_on[g]).tolist():
                # from d to each other device: the least time that the transfer takes
                times = {
                    e: float(self._scaled(np.array(problem.transfer(sender, d, e))))
                    for e in np.flatnonzero(problem.group_runs_on[h]).tolist()
                    if e != d
                }
                for seconds in sorted({s for s in times.values() if s > 0}):
                    away = [self.y[h, e] for e, s in times.items() if s >= seconds]
                    # seconds x (y[g, d] + sum of y[h, away] - 1) is at most the transfer's time
                    self.model.row(
                        [self.start[u], self.start[t], *columns, self.y[g, d], *away],
                        [1.0, -1.0, *(-v for v in values), *([-seconds] * (1 + len(away)))],
                        -seconds,
                    )

    def nothing_ends_after_the_makespan(self) -> None:
        """The makespan is at least every end and what must follow it."""
        for t in range(len(self.tasks)):
            columns, values = self._length(t)
            self.model.row(
                [self.makespan, self.start[t], *columns], [1.0, -1.0, *(-v for v in values)], float(self.tail[t])
            )

    def streams_run_one_task_at_a_time(self) -> None:
        """For each pair that may meet: one order or the other, wherever both are on one device."""
        problem = self.problem
        for t, (i, _, _) in enumerate(self.tasks):
            for u in range(t + 1, len(self.tasks)):
                j = self.tasks[u][0]
                if problem.on_comm[i] != problem.on_comm[j] or self.longest[t] == 0 == self.longest[u]:
                    continue
                g, h = self.group_of[i], self.group_of[j]
                shared = np.flatnonzero(problem.group_runs_on[g] & problem.group_runs_on[h]).tolist()
                if not shared:
                    continue
                first, second = bool(self.before[t, u]), bool(self.before[u, t])
                always = bool(self._must_meet[t, u])
                if first or second:
                    if always:
                        self._after(t, u, 0.0, []) if first else self._after(u, t, 0.0, [])
                    continue
                order = self.model.binary()  # 1: t before u
                for a, b, sign in ((t, u, 1.0), (u, t, -1.0)):
                    slack = self._slack(a, b)
                    terms = [(order, -sign * slack)]
                    right = -slack if sign > 0 else 0.0
                    if always:
                        self._after(a, b, right, terms)
                        continue
                    for d in shared:
                        # slack x (2 - y[g, d] - y[h, d]) more where they are not both on d
                        both = [(self.y[g, d], -slack), (self.y[h, d], -slack)]
                        self._after(a, b, right - 2 * slack, terms + both)

    def _slack(self, a: int, b: int) -> float:
        """The most by which b may start before the end of a."""
        latest_end = self.cutoff - self.tail[a] + self.longest[a] - self.shortest[a]
        return max(0.0, float(latest_end - self.head[b]))

    def _after(self, a: int, b: int, right: float, terms: list[tuple[int, float]]) -> None:
        """start[b] - start[a] - length[a] + terms >= right, equal columns added up."""
        columns, values = self._length(a)
        total: dict[int, float] = {self.start[b]: 1.0, self.start[a]: -1.0}
        for column, value in [*zip(columns, (-v for v in values), strict=True), *terms]:
            total[column] = total.get(column, 0.0) + value
        self.model.row(list(total), list(total.values()), right)

    def streams_work_no_longer_than_the_makespan(self) -> None:
        """Work on a stream, and what must come before and after it, within the makespan."""
        problem = self.problem
        for d in range(problem.n_devices):
            for comm in (False, True):
                work: dict[int, float] = {}
                heads, tails = [], []
                for t, (i, p, _) in enumerate(self.tasks):
                    g = self.group_of[i]
                    if problem.on_comm[i] == comm and (g, d) in self.y:
                        column = self.y[g, d]
                        work[column] = work.get(column, 0.0) + float(self.duration[i, p, d])
                        heads.append(float(self.head[t]))
                        tails.append(float(self.tail[t]))
                if work:
                    wait = min(heads) + min(tails)
                    certain = any(self.y_is_only(g, d) for (g, e) in self.y if e == d)
                    self.model.row(
                        [self.makespan, *work], [1.0, *(-w for w in work.values())], wait if certain else 0.0
                    )

    def y_is_only(self, g: int, d: int) -> bool:
        """Whether group g runs on d in every placement."""
        return bool(self.problem.group_runs_on[g].sum() == 1 and self.problem.group_runs_on[g, d])


def _one_machine(ready: Floats, lengths: Floats) -> float:
    """The earliest end of all these tasks on one stream, each ready at its time (Jackson; needs no preemption)."""
    end = 0.0
    for k in np.argsort(ready, kind="stable"):
        end = max(end, ready[k]) + lengths[k]
    return float(end)
