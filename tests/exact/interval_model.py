"""The whole problem as an interval model of OR-Tools CP-SAT: a judge at sizes that looking at everything cannot reach.

It shares the problem's own tables with the solver, and nothing else: optional intervals by device, no-overlap on
streams and channels, cumulative memory. Which copy a microbatch uses is a variable, so every split is allowed. Needs
``ortools`` (``make rivals``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ortools.sat.python import cp_model

from planner.problem import Problem

WHOLE_BYTES = 1e9
"""Parts of the largest cap in which bytes are counted. Sizes are rounded down, so that what fits exactly does fit."""


@dataclass(frozen=True)
class Judged:
    """The best makespan (seconds; inf: none found), the bound, and whether the two are proven to be the same."""

    makespan: float
    bound: float
    proven: bool
    infeasible: bool


def judge(problem: Problem, tick: float, seconds: float, workers: int = 1) -> Judged:
    """Solve on a grid of ``tick`` seconds, on which all times must fall."""
    model = _Model(problem, tick)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = workers
    status = solver.Solve(model.model)
    if status == cp_model.INFEASIBLE:
        return Judged(float("inf"), float("inf"), True, True)
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    makespan = solver.ObjectiveValue() * tick if found else float("inf")
    return Judged(makespan, solver.BestObjectiveBound() * tick, status == cp_model.OPTIMAL, False)


class _Model:
    def __init__(self, problem: Problem, tick: float) -> None:
        self.problem, self.tick = problem, tick
        self.model = cp_model.CpModel()
        n, m, d = problem.n_operators, problem.microbatches, problem.n_devices
        worst = (
            sum(self.ticks(problem.duration[i, p][problem.runs_on[i]].max()) for i in range(n) for p in range(3))
            + 2
            * sum(
                max(self.ticks(problem.transfer(i, a, b)) for a in range(d) for b in range(d) if a != b or d == 1)
                for i in range(n)
            )
            * d
        )
        self.horizon = max(1, worst * m)
        self.streams: dict[tuple[int, int], list[Any]] = {}
        self.channels: dict[tuple[int, int], list[Any]] = {}
        self.memory: dict[int, list[tuple[Any, int]]] = {}
        self._placement()
        self._tasks()
        self._transfers()
        self._held()
        for those in (*self.streams.values(), *self.channels.values()):
            self.model.AddNoOverlap(those)
        makespan = self.model.NewIntVar(0, self.horizon, "makespan")
        for end in self.end.values():
            self.model.Add(makespan >= end)
        self.model.Minimize(makespan)

    def ticks(self, seconds: float) -> int:
        return round(float(seconds) / self.tick)

    def _placement(self) -> None:
        """``on[i, m, d]``: operator i runs microbatch m on device d."""
        problem, model = self.problem, self.model
        copies, devices = range(problem.copies), range(problem.n_devices)
        uses = {(m, c): model.NewBoolVar("") for m in range(problem.microbatches) for c in copies}
        for m in range(problem.microbatches):
            model.AddExactlyOne(uses[m, c] for c in copies)
        at: dict[tuple[int, int, int], Any] = {}
        for members in problem.groups:
            for c in copies:
                shared = {d: model.NewBoolVar("") for d in devices}
                model.AddExactlyOne(shared.values())
                for d in devices:
                    if not problem.runs_on[list(members), d].all():
                        model.Add(shared[d] == 0)
                    for i in members:
                        at[c, i, d] = shared[d]
        self.on: dict[tuple[int, int, int], Any] = {}
        for i in range(problem.n_operators):
            for m in range(problem.microbatches):
                for d in devices:
                    self.on[i, m, d] = model.NewBoolVar("")
                    for c in copies:
                        model.Add(self.on[i, m, d] == at[c, i, d]).OnlyEnforceIf(uses[m, c])
        for i in range(problem.n_operators):
            for d in devices:
                there = model.NewBoolVar("")
                for m in range(problem.microbatches):
                    model.AddImplication(self.on[i, m, d], there)
                always = model.NewOptionalFixedSizeIntervalVar(0, self.horizon, there, "")
                self._holds(d, always, float(problem.parameters[i]))

    def _tasks(self) -> None:
        problem, model = self.problem, self.model
        self.start: dict[tuple[int, int, int], Any] = {}
        self.end: dict[tuple[int, int, int], Any] = {}
        for i in range(problem.n_operators):
            for p in np.flatnonzero(problem.has_pass[i]).tolist():
                for m in range(problem.microbatches):
                    start, end = (model.NewIntVar(0, self.horizon, "") for _ in "se")
                    self.start[i, p, m], self.end[i, p, m] = start, end
                    for d in np.flatnonzero(problem.runs_on[i]).tolist():
                        lasts = self.ticks(problem.duration[i, p, d])
                        here = model.NewOptionalIntervalVar(start, lasts, end, self.on[i, m, d], "")
                        self.streams.setdefault((d, int(problem.on_comm[i])), []).append(here)
                    if problem.copies == 1 and m:
                        model.Add(self.start[i, p, m - 1] <= start)
        for i in range(problem.n_operators):
            for m in range(problem.microbatches):
                for j in problem.inputs[i]:
                    model.Add(self.start[i, 0, m] >= self.end[j, 0, m])
                    if problem.training:
                        model.Add(self.start[j, 1, m] >= self.end[i, 1, m])
                if problem.training:
                    model.Add(self.start[i, 1, m] >= self.end[i, 0, m])
                    if problem.has_pass[i, 2]:
                        model.Add(self.start[i, 2, m] >= self.end[i, 1, m])

    def _transfers(self) -> None:
        problem = self.problem
        self.leaves: dict[tuple[int, int, int], list[tuple[Any, Any]]] = {}  # (operator, microbatch, device)
        for i, readers in enumerate(problem.consumers):
            for m in range(problem.microbatches):
                for d in range(problem.n_devices):
                    for e in range(problem.n_devices):
                        if d != e and readers:
                            self._between(i, m, d, e, readers)

    def _between(self, i: int, m: int, d: int, e: int, readers: tuple[int, ...]) -> None:
        """Operator i on d, readers on e: its output from d to e, its gradient back."""
        problem, model = self.problem, self.model
        sent = model.NewBoolVar("")
        for j in readers:
            model.AddBoolOr([sent, self.on[i, m, d].Not(), self.on[j, m, e].Not()])
        model.AddImplication(sent, self.on[i, m, d])
        model.AddBoolOr([sent.Not(), *(self.on[j, m, e] for j in readers)])
        for p, source, target in ((0, d, e), (1, e, d)) if problem.training else ((0, d, e),):
            lasts = self.ticks(problem.transfer(i, source, target))
            if lasts == 0:
                continue
            start, end = (model.NewIntVar(0, self.horizon, "") for _ in "se")
            there = model.NewOptionalIntervalVar(start, lasts, end, sent, "")
            self.channels.setdefault((source, target), []).append(there)
            for one in (source, target):
                if problem.exclusive[one]:
                    self.streams.setdefault((one, 0), []).append(there)
            if p == 0:
                model.Add(start >= self.end[i, 0, m]).OnlyEnforceIf(sent)
                self.leaves.setdefault((i, m, d), []).append((sent, end))
                for j in readers:
                    model.Add(self.start[j, 0, m] >= end).OnlyEnforceIf(sent, self.on[j, m, e])
            else:
                model.Add(self.start[i, 1, m] >= end).OnlyEnforceIf(sent)
                for j in readers:
                    model.Add(start >= self.end[j, 1, m]).OnlyEnforceIf(sent, self.on[j, m, e])

    def _held(self) -> None:
        problem, model = self.problem, self.model
        for i in range(problem.n_operators):
            for m in range(problem.microbatches):
                for d in np.flatnonzero(problem.runs_on[i]).tolist():
                    size, late = float(problem.activation[i]), float(problem.held[i])
                    if not size:
                        continue
                    if problem.training:
                        self._until(i, m, d, self.end[i, 1, m], size - late)
                        if late:
                            self._until(i, m, d, self.end[i, 2, m], late)
                        continue
                    released = model.NewIntVar(0, self.horizon, "")
                    model.Add(released >= self.end[i, 0, m])
                    for j in problem.consumers[i]:
                        model.Add(released >= self.end[j, 0, m]).OnlyEnforceIf(self.on[j, m, d])
                    for sent, end in self.leaves.get((i, m, d), []):
                        model.Add(released >= end).OnlyEnforceIf(sent)
                    self._until(i, m, d, released, size)
        scale = self._bytes_each()
        for d, cap in enumerate(problem.cap.tolist()):
            if np.isfinite(cap) and d in self.memory:
                intervals, sizes = zip(*self.memory[d], strict=True)
                model.AddCumulative(list(intervals), list(sizes), round(cap / scale * (1 + 1e-9)))

    def _until(self, i: int, m: int, d: int, released: Any, size: float) -> None:
        lasts = self.model.NewIntVar(0, self.horizon, "")
        held = self.model.NewOptionalIntervalVar(self.start[i, 0, m], lasts, released, self.on[i, m, d], "")
        self._holds(d, held, size)

    def _holds(self, d: int, interval: Any, size: float) -> None:
        if size > 0 and np.isfinite(self.problem.cap[d]):
            self.memory.setdefault(d, []).append((interval, int(size / self._bytes_each())))

    def _bytes_each(self) -> float:
        return float(self.problem.cap[np.isfinite(self.problem.cap)].max(initial=1.0)) / WHOLE_BYTES
