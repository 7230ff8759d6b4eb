"""The placement of the least period as a mixed-integer program: one copy, all transfers counted.

``y[g, d]``: group g runs on device d. ``x[i, d, e]``: operator i on d sends its output to e. An operator sends from its
own device to every other device that has a reader. The load of the busiest stream or channel is minimised. Groups take
like devices in order. The best bound of the solver holds for every placement of one copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.common.budget import Control
from planner.common.highs import Model, Outcome
from planner.placement.loads import Loads, Parts
from planner.problem import Problem

COLUMNS_AT_MOST = 40_000


@dataclass
class PeriodModel:
    """The program of a problem; ``None`` from ``of`` where it would be too large."""

    problem: Problem
    parts: Parts
    scale: float
    model: Model = field(default_factory=Model)
    y: dict[tuple[int, int], int] = field(default_factory=dict)
    x: dict[tuple[int, int, int], int] = field(default_factory=dict)
    streams: dict[int, dict[int, float]] = field(default_factory=dict)  # resource: seconds by column

    @staticmethod
    def of(loads: Loads) -> PeriodModel | None:
        """Build the program."""
        problem, n = loads.problem, loads.problem.n_devices
        columns = len(problem.groups) * n + sum(bool(c) for c in problem.consumers) * n * n
        if columns > COLUMNS_AT_MOST:
            return None
        scale = float(loads.parts.work.max()) or 1.0
        self = PeriodModel(problem, loads.parts, scale)
        busiest = self.model.variable(0.0, cost=1.0)
        self.groups_have_one_device()
        self.outputs_are_sent_to_their_readers()
        self.nothing_is_busier_than(busiest)
        self.what_is_held_fits()
        return self

    def _add(self, resource: int, column: int, seconds: float) -> None:
        row = self.streams.setdefault(resource, {})
        row[column] = row.get(column, 0.0) + seconds / self.scale

    def groups_have_one_device(self) -> None:
        """Every group runs on one device that may run it; of like devices the first groups take the first ones."""
        problem, n = self.problem, self.problem.n_devices
        rank = {d: k for members in problem.device_classes for k, d in enumerate(members)}
        for g, members in enumerate(problem.groups):
            here = []
            for d in range(n):
                if problem.group_runs_on[g, d]:
                    column = self.model.variable(0.0, 1.0 if rank[d] <= g else 0.0, 0.0, True)
                    self.y[g, d] = column
                    here.append(column)
                    for i in members:
                        self._add(d + (n if problem.on_comm[i] else 0), column, float(self.parts.work[i, d]))
            self.model.row(here, [1.0] * len(here), 1.0, 1.0)

    def outputs_are_sent_to_their_readers(self) -> None:
        """``x`` where a transfer takes time; it loads channels, and the compute streams of exclusive ends."""
        problem, p, n = self.problem, self.parts, self.problem.n_devices
        group_of = {i: g for g, members in enumerate(problem.groups) for i in members}
        for i, readers in enumerate(problem.consumers):
            others = sorted({group_of[j] for j in readers} - {group_of[i]})
            cost = p.latency + p.sent[i] * p.per_byte
            back = cost.T if p.both_ways else np.zeros_like(cost)
            if not others or not (cost + back).any():
                continue
            leaving: dict[int, list[int]] = {}
            for e in range(n):
                if not any((h, e) in self.y for h in others):
                    continue
                arriving = []
                for d in range(n):
                    if d != e and (group_of[i], d) in self.y:
                        column = self.x[i, d, e] = self.model.variable(0.0, 1.0)
                        arriving.append(column)
                        leaving.setdefault(d, []).append(column)
                        self.model.row([column, self.y[group_of[i], d]], [1.0, -1.0], upper=0.0)
                        self._add(2 * n + d * n + e, column, float(cost[d, e]))
                        self._add(2 * n + e * n + d, column, float(back[d, e]))
                        for end in (d, e):
                            if p.exclusive[end]:
                                self._add(end, column, float(cost[d, e] + back[d, e]))
                own = [self.y[group_of[i], e]] if (group_of[i], e) in self.y else []
                for h in others:
                    if (h, e) in self.y:
                        row = [*arriving, *own, self.y[h, e]]
                        self.model.row(row, [*([1.0] * (len(row) - 1)), -1.0], lower=0.0)

    def nothing_is_busier_than(self, busiest: int) -> None:
        """Streams and channels, in multiples of ``scale``."""
        for row in self.streams.values():
            self.model.row([*row, busiest], [*row.values(), -1.0], upper=0.0)

    def what_is_held_fits(self) -> None:
        """What operators take at least (see ``loads.Parts.bytes``) in each device's memory."""
        for d in range(self.problem.n_devices):
            cap = float(self.parts.cap[d])
            here = {y: g for (g, e), y in self.y.items() if e == d}
            if np.isfinite(cap) and cap > 0:
                sizes = [float(self.parts.bytes[list(self.problem.groups[g])].sum()) / cap for g in here.values()]
                self.model.row(list(here), sizes, upper=1.0)

    def solve(
        self, start: Sequence[int] | None, control: Control, gap: float, nodes: int | None
    ) -> tuple[tuple[int, ...] | None, float]:
        """The best placement found from ``start`` and seconds that no placement of one copy can beat."""
        outcome = self.model.solve(control, gap=gap, nodes=nodes, start=None if start is None else self._point(start))
        control.spend(outcome.nodes)
        # the solver's tolerances are 1e-6 of the scale
        return self._placement(outcome), max(0.0, (outcome.bound - 2e-6) * self.scale)

    def _point(self, device_of: Sequence[int]) -> list[float]:
        """A placement as values of the columns, its like devices renamed so that groups take them in order."""
        problem, n = self.problem, self.problem.n_devices
        at = [device_of[members[0]] for members in problem.groups]
        name: dict[int, int] = {}
        for members in problem.device_classes:
            used = [d for d in dict.fromkeys(at) if d in members]
            unused = [d for d in members if d not in used]
            name |= dict(zip([*used, *unused], members, strict=True))
        at = [name[d] for d in at]
        where = {i: at[g] for g, members in enumerate(problem.groups) for i in members}
        values = [0.0] * len(self.model.cost)
        for g, d in enumerate(at):
            values[self.y[g, d]] = 1.0
        for i, readers in enumerate(problem.consumers):
            for e in {where[j] for j in readers} - {where[i]}:
                if (i, where[i], e) in self.x:
                    values[self.x[i, where[i], e]] = 1.0
        loads = np.zeros(2 * n + n * n)
        for resource, row in self.streams.items():
            loads[resource] = sum(seconds * values[column] for column, seconds in row.items())
        values[0] = float(loads.max())
        return values

    def _placement(self, outcome: Outcome) -> tuple[int, ...] | None:
        if outcome.values is None:
            return None
        device_of = [0] * self.problem.n_operators
        for (g, d), column in self.y.items():
            if outcome.values[column] > 0.5:
                for i in self.problem.groups[g]:
                    device_of[i] = d
        return tuple(device_of)
