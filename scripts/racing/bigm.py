"""The rival in HiGHS: one binary for the order of each pair of tasks, plain big-M rows.

M is as tight as heads, tails and the horizon of a greedy schedule allow, and the solver starts from that schedule.
Pairs that precedence orders have no binary. Memory is linear in the order: when a task takes memory, the memory of all
tasks that took it before and have not released it is held, and the order on the stream determines which those are.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import highspy
import numpy as np

from racing.child import Reporter, arguments
from racing.rows import Rows, Terms

THREADS = 2
ORDERS_AT_MOST = 60_000
"""Most order variables of a model: with more, building alone takes most of the limit."""

PAIRS_AT_MOST = 1_000_000
"""Most pairs of tasks on one resource for which the pairs that precedence orders are counted."""


class NotBuilt(Exception):
    """The model is too large, or does not cover the case."""


class Model:
    """Variables for starts, orders, and the options of tasks that have several."""

    def __init__(self, shop: dict[str, Any]) -> None:
        self.shop, self.rows = shop, Rows()
        self.options: list[list[list[int]]] = shop["options"]
        n = len(self.options)
        self._not_too_large()
        self.shortest = [min(ticks for _, ticks in options) for options in self.options]
        self.after = self._reach()
        head, tail = self._heads_and_tails()
        horizon = max(s + o[w][1] for s, o, w in zip(shop["start"], self.options, shop["way"], strict=True))
        self.latest = [horizon - tail[t] for t in range(n)]  # by when task t has ended
        self.head = head
        self.start = [self.rows.column(head[t], max(head[t], self.latest[t] - self.shortest[t])) for t in range(n)]
        self.one = self.rows.column(1, 1)  # carries the constants of rows
        self.makespan = self.rows.column(max(map(sum, zip(head, self.shortest, tail, strict=True))), horizon)
        self.takes = [
            [self.rows.column(0, 1, True) for _ in options] if len(options) > 1 else [] for options in self.options
        ]
        for columns in self.takes:
            if columns:
                self.rows.at_least([(c, 1.0) for c in columns], 1.0)
                self.rows.at_least([(c, -1.0) for c in columns], -1.0)
        for a, b in [*shop["waits"], *self._in_order()]:
            self._follows(a, b)
        for t in range(n):
            self.rows.at_least([(self.makespan, 1.0), *self._minus_end(t)], 0.0)
        self.orders: dict[tuple[int, int], int] = {}
        self._order()
        self._memory()

    def _not_too_large(self) -> None:
        on = Counter(resource for options in self.options for resource, _ in options)
        pairs = sum(n * (n - 1) // 2 for n in on.values())
        if pairs > PAIRS_AT_MOST:
            raise NotBuilt(f"{pairs} pairs of tasks on one resource; built up to {PAIRS_AT_MOST}")

    def _in_order(self) -> list[tuple[int, int]]:
        """Pairs of successive tasks of a chain: microbatches of a copy are alike, so their order costs nothing."""
        return [pair for chain in self.shop["chains"] for pair in pairwise(chain)]

    def _reach(self) -> list[int]:
        """The tasks after each task by precedence or the order of microbatches, as bits."""
        n = len(self.options)
        followers: list[list[int]] = [[] for _ in range(n)]
        left = [0] * n
        for a, b in [*self.shop["waits"], *self._in_order()]:
            followers[a].append(b)
            left[b] += 1
        self.topological = [t for t in range(n) if not left[t]]
        for t in self.topological:
            for u in followers[t]:
                left[u] -= 1
                if not left[u]:
                    self.topological.append(u)
        self.followers = followers
        reach = [0] * n
        for t in reversed(self.topological):
            for u in followers[t]:
                reach[t] |= reach[u] | 1 << u
        return reach

    def _heads_and_tails(self) -> tuple[list[int], list[int]]:
        """Earliest starts, and the least time that follows each task."""
        head, tail = [0] * len(self.options), [0] * len(self.options)
        for t in self.topological:
            for u in self.followers[t]:
                head[u] = max(head[u], head[t] + self.shortest[t])
        for t in reversed(self.topological):
            tail[t] = max((tail[u] + self.shortest[u] for u in self.followers[t]), default=0)
        return head, tail

    def _minus_end(self, t: int) -> Terms:
        """- (start + duration of the option taken), without the constant of a single option's duration."""
        if not self.takes[t]:
            return [(self.start[t], -1.0), (self.one, -float(self.options[t][0][1]))]
        return [
            (self.start[t], -1.0),
            *((c, -float(ticks)) for c, (_, ticks) in zip(self.takes[t], self.options[t], strict=True)),
        ]

    def _follows(self, a: int, b: int) -> None:
        """Task b starts when a has ended; so do microbatches of one task in order, since they share a resource."""
        self.rows.at_least([(self.start[b], 1.0), *self._minus_end(a)], 0.0)

    def _order(self) -> None:
        """A binary for each pair that may meet on a resource and that precedence does not order."""
        on: dict[int, list[int]] = {}
        for t, options in enumerate(self.options):
            for resource, _ in options:
                on.setdefault(resource, []).append(t)
        pairs = {
            (a, b): None
            for tasks in on.values()
            for a, b in combinations(tasks, 2)
            if not (self.after[a] >> b & 1 or self.after[b] >> a & 1)
        }
        if len(pairs) > ORDERS_AT_MOST:
            raise NotBuilt(f"{len(pairs)} order variables; built up to {ORDERS_AT_MOST}")
        for a, b in pairs:
            self.orders[a, b] = order = self.rows.column(0, 1, True)
            shared = {r for r, _ in self.options[a]} & {r for r, _ in self.options[b]}
            for resource in sorted(shared):
                self._apart(a, b, resource, [(order, -1.0)], 1.0)  # order 1: a before b
                self._apart(b, a, resource, [(order, 1.0)], 0.0)

    def _apart(self, a: int, b: int, resource: int, order: Terms, ones: float) -> None:
        """Task a ends before b starts, unless the order is reversed or one of them is elsewhere.

        start b - end a + M (ones + order + those elsewhere) >= 0, where M is what start b - end a may lack at most.
        """
        big = float(max(0, self.latest[a] - self.head[b]))
        elsewhere, both = [], ones
        for t in (a, b):
            if self.takes[t]:
                here = next(c for c, (r, _) in zip(self.takes[t], self.options[t], strict=True) if r == resource)
                elsewhere.append((here, -1.0))
                both += 1.0
        terms = [(self.start[b], 1.0), *self._minus_end(a)]
        self.rows.at_least([*terms, *((c, big * v) for c, v in [*order, *elsewhere])], -big * both)

    def _before(self, a: int, b: int) -> tuple[Terms, float]:
        """Whether a comes before b on their resource: terms and a constant."""
        if a == b or self.after[b] >> a & 1:
            return [], 0.0
        if self.after[a] >> b & 1:
            return [], 1.0
        if (a, b) in self.orders:
            return [(self.orders[a, b], 1.0)], 0.0
        if (b, a) in self.orders:
            return [(self.orders[b, a], -1.0)], 1.0
        raise NotBuilt("memory that tasks of another stream release is not in the model")

    def _memory(self) -> None:
        """When a task takes memory, its own and that held by others fit."""
        by_device: dict[int, list[list[Any]]] = {}
        for device, *hold in self.shop["holds"]:
            by_device.setdefault(device, []).append(hold)
        for device, holds in by_device.items():
            cap = self.shop["cap"].get(str(device))
            if cap is None:
                continue
            for taker in sorted({hold[1] for hold in holds}):
                terms: Terms = []
                room = float(cap)
                for size, other, releases in holds:
                    if other == taker:
                        room -= size
                        continue
                    if len(releases) != 1:
                        raise NotBuilt("memory with several releases is not in the model")
                    for task, sign in ((other, 1.0), (releases[0], -1.0)):
                        more, constant = self._before(task, taker)
                        terms += [(c, -sign * size * v) for c, v in more]
                        room -= sign * size * constant
                self.rows.at_least(terms, -room)

    def first(self) -> highspy.HighsSolution:
        """The greedy schedule as the initial solution."""
        start, way = self.shop["start"], self.shop["way"]
        value = np.zeros(len(self.rows.lower))
        value[self.one] = 1.0
        value[self.start] = start
        value[self.makespan] = max(s + o[w][1] for s, o, w in zip(start, self.options, way, strict=True))
        for columns, w in zip(self.takes, way, strict=True):
            if columns:
                value[columns[w]] = 1.0
        for (a, b), order in self.orders.items():
            value[order] = start[a] < start[b]
        solution = highspy.HighsSolution()
        solution.col_value, solution.value_valid = value.tolist(), True
        return solution


def solve(shop: dict[str, Any], reporter: Reporter, limit: float) -> None:
    """Build and solve, and report progress."""
    try:
        model = Model(shop)
    except NotBuilt as reason:
        reporter.news(status="not built", reason=str(reason))
        return
    solver, tick = highspy.Highs(), shop["tick"]
    for option, value in (("output_flag", False), ("threads", THREADS), ("mip_rel_gap", 0.0), ("mip_abs_gap", 1e-6)):
        solver.setOptionValue(option, value)
    solver.passModel(model.rows.lp(model.makespan))
    solver.setSolution(model.first())
    reporter.news(built=len(model.orders))
    if limit - reporter.elapsed <= 0:
        reporter.news(status="not built", reason=f"{len(model.orders)} order variables take longer than the limit")
        return
    solver.setOptionValue("time_limit", limit - reporter.elapsed)

    def improved(event: Any) -> None:
        reporter.news(best=round(event.data_out.objective_function_value) * tick)

    def asked(event: Any) -> None:
        bound = event.data_out.mip_dual_bound
        if np.isfinite(bound) and bound > 0:
            reporter.news(bound=float(np.ceil(bound - 1e-5)) * tick)
        if reporter.elapsed > limit:
            event.interrupt()

    solver.cbMipImprovingSolution.subscribe(improved)
    solver.cbMipInterrupt.subscribe(asked)
    solver.cbSimplexInterrupt.subscribe(lambda event: event.interrupt() if reporter.elapsed > limit else None)
    solver.run()
    info, status = solver.getInfo(), solver.getModelStatus()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    values = solver.getSolution().col_value
    optimal = status == highspy.HighsModelStatus.kOptimal
    reporter.news(
        round(info.objective_function_value) * tick if found else None,
        round(info.objective_function_value) * tick if found and optimal else None,
        status="optimal" if optimal else "feasible" if found else str(solver.modelStatusToString(status)).lower(),
        start=[round(values[c]) for c in model.start] if found else None,
        way=[max(range(len(t)), key=lambda k: values[t[k]]) if t else 0 for t in model.takes] if found else None,
    )


def main() -> None:
    """Solve a shop until the limit."""
    path, reporter, limit, _ = arguments()
    solve(json.loads(Path(path).read_text(encoding="utf-8")), reporter, limit)


if __name__ == "__main__":
    main()
