"""The rival in OR-Tools CP-SAT: the standard interval model, on two workers.

Constraints that keep the microbatches of a copy in order help CP-SAT on some cases and slow it down on others. So there
are two models: the plain one, and the one with these constraints (argument ``ordered``).
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from ortools.sat.python import cp_model

from racing.child import Reporter, arguments

WORKERS = 2


class Model:
    """An interval a task, optional ones where it has several options, no overlap on a stream or channel."""

    def __init__(self, shop: dict[str, Any], ordered: bool) -> None:
        self.model = model = cp_model.CpModel()
        self.start: list[Any] = []
        self.end: list[Any] = []
        self.takes: list[list[Any]] = []  # a literal an option, none where there is one
        # The sum of all durations: with a greedy schedule's horizon CP-SAT takes far longer to its first plan.
        self.horizon = sum(max(ticks for _, ticks in options) for options in shop["options"])
        on: dict[int, list[Any]] = {}
        for options in shop["options"]:
            self._task(options, on)
        for intervals in on.values():
            model.add_no_overlap(intervals)
        for a, b in shop["waits"]:
            model.add(self.start[b] >= self.end[a])
        if ordered:  # microbatches of a copy are alike, so their order costs nothing
            for chain in shop["chains"]:
                for a, b in pairwise(chain):
                    model.add(self.start[b] >= self.end[a])
        self._memory(shop)
        self.makespan = model.new_int_var(0, self.horizon, "makespan")
        last = set(range(len(self.start))) - {a for a, _ in shop["waits"]}
        for t in last:
            model.add(self.makespan >= self.end[t])
        model.minimize(self.makespan)

    def _task(self, options: list[list[int]], on: dict[int, list[Any]]) -> None:
        model, start = self.model, self.model.new_int_var(0, self.horizon, "")
        self.start.append(start)
        if len(options) == 1:
            ((resource, ticks),) = options
            on.setdefault(resource, []).append(model.new_fixed_size_interval_var(start, ticks, ""))
            self.end.append(start + ticks)
            self.takes.append([])
            return
        end = model.new_int_var(0, self.horizon, "")
        literals = [model.new_bool_var("") for _ in options]
        model.add_exactly_one(literals)
        for (resource, ticks), literal in zip(options, literals, strict=True):
            on.setdefault(resource, []).append(
                model.new_optional_interval_var(start, ticks, end, literal, "")  # which ties end to start + ticks
            )
        self.end.append(end)
        self.takes.append(literals)

    def _memory(self, shop: dict[str, Any]) -> None:
        """The memory of a task is an interval from its start to the end of the last task that releases it."""
        held: dict[str, list[tuple[Any, int]]] = {}
        for device, size, taker, releases in shop["holds"]:
            if str(device) not in shop["cap"]:
                continue
            span = self.model.new_int_var(0, self.horizon, "")
            until = self.end[releases[0]]
            if len(releases) > 1:
                until = self.model.new_int_var(0, self.horizon, "")
                for t in releases:
                    self.model.add(until >= self.end[t])
            interval = self.model.new_interval_var(self.start[taker], span, until, "")
            held.setdefault(str(device), []).append((interval, size))
        for device, those in held.items():
            intervals, sizes = zip(*those, strict=True)
            self.model.add_cumulative(intervals, sizes, shop["cap"][device])


class Listener(cp_model.CpSolverSolutionCallback):
    """Reports every solution."""

    def __init__(self, reporter: Reporter, tick: float) -> None:
        super().__init__()
        self.reporter, self.tick = reporter, tick

    def on_solution_callback(self) -> None:
        """Called by the solver."""
        self.reporter.news(best=self.objective_value * self.tick)


def main() -> None:
    """Solve a shop until the limit."""
    path, reporter, limit, variant = arguments()
    shop = json.loads(Path(path).read_text(encoding="utf-8"))
    built = Model(shop, ordered="ordered" in variant)
    reporter.news(built=len(built.start))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = WORKERS
    solver.parameters.max_time_in_seconds = max(0.1, limit - reporter.elapsed)
    solver.best_bound_callback = lambda bound: reporter.news(bound=bound * shop["tick"])
    status = solver.solve(built.model, Listener(reporter, shop["tick"]))
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    reporter.news(
        solver.objective_value * shop["tick"] if found else None,
        solver.best_objective_bound * shop["tick"] if found else None,
        status=solver.status_name(status).lower(),
        start=[solver.value(s) for s in built.start] if found else None,
        way=[next((k for k, x in enumerate(t) if solver.value(x)), 0) for t in built.takes] if found else None,
    )


if __name__ == "__main__":
    main()
