"""The MIP behind ``fit``: what every assignment lacks in memory, in whole units of bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from planner.common.budget import Control
from planner.common.highs import Model
from planner.problem import Problem

SINKS_AT_MOST = 24


@dataclass(frozen=True)
class Proposal:
    """An assignment and what its worst device provably lacks (bytes, 0 where nothing is known to be missing).

    ``none_left``: no assignment is left that has not been excluded.
    """

    device_of: tuple[int, ...] | None
    lacking: float
    none_left: bool


def held_together(problem: Problem) -> list[tuple[int, ...]]:
    """Sets of operators whose activations one microbatch holds at the same instant under every order."""
    import networkx as nx  # here, since most solves start without it, and it is slow to load

    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(problem.n_operators))
    graph.add_edges_from((j, i) for i, inputs in enumerate(problem.inputs) for j in inputs)
    if not problem.training:
        return [(i,) for i in range(problem.n_operators)]
    sinks = [i for i in range(problem.n_operators) if not problem.consumers[i]]
    sets = [tuple(sorted({*nx.ancestors(graph, s), s})) for s in sinks]
    return sorted(sets, key=len, reverse=True)[:SINKS_AT_MOST]


class FitModel:
    """y[g, d] and the least shortfall of the worst device, in whole units of the sizes' common divisor."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.unit, whole = _unit(problem)
        self.together = held_together(problem)
        self.model = Model()
        self.short = self.model.variable(0.0, cost=1.0)
        self.y: dict[tuple[int, int], int] = {}
        self.parameters = [math.fsum(problem.parameters[list(members)]) for members in problem.groups]
        self.group_of = {i: g for g, members in enumerate(problem.groups) for i in members}
        for g in range(len(problem.groups)):
            allowed = np.flatnonzero(problem.group_runs_on[g]).tolist()
            for d in allowed:
                self.y[g, d] = self.model.binary()
            self.model.row([self.y[g, d] for d in allowed], [1.0] * len(allowed), 1.0, 1.0)
        for d, cap in enumerate(problem.cap_with_slack.tolist()):
            if math.isfinite(cap):
                self._device_holds(d, math.floor(cap / self.unit) if whole else cap / self.unit)

    def _device_holds(self, d: int, cap: float) -> None:
        """Parameters and what is held together on d, less the shortfall, within the cap."""
        parameters = {
            self.y[g, d]: float(size) / self.unit for g, size in enumerate(self.parameters) if (g, d) in self.y and size
        }
        if not self.problem.training:
            total = {**parameters, self._largest_activation(d): 1.0}
            self.model.row([*total, self.short], [*total.values(), -1.0], upper=cap)
            return
        for together in self.together:
            total = dict(parameters)
            for i in together:
                y = self.y.get((self.group_of[i], d))
                if y is not None and self.problem.activation[i]:
                    total[y] = total.get(y, 0.0) + float(self.problem.activation[i]) / self.unit
            if total:
                self.model.row([*total, self.short], [*total.values(), -1.0], upper=cap)

    def _largest_activation(self, d: int) -> int:
        """A column for the largest activation of an operator on d: in inference that much is held at some instant."""
        largest = self.model.variable(0.0)
        for g, members in enumerate(self.problem.groups):
            size = max(float(self.problem.activation[i]) for i in members)
            if (g, d) in self.y and size:
                self.model.row([self.y[g, d], largest], [size / self.unit, -1.0], upper=0.0)
        return largest

    def solve(self, control: Control) -> Proposal:
        """The assignment that lacks least of those not yet excluded."""
        outcome = self.model.solve(control, gap=1e-9, certify=True)
        if outcome.values is None:
            return Proposal(None, 0.0, outcome.infeasible)
        device_of = [0] * self.problem.n_operators
        for (g, d), y in self.y.items():
            if outcome.values[y] > 0.5:
                for i in self.problem.groups[g]:
                    device_of[i] = d
        lacking = self._lacking(device_of)
        if lacking > 0 and not outcome.bound > 1e-4:
            return Proposal(None, 0.0, False)  # it lacks something, but that every assignment does is not proven
        return Proposal(tuple(device_of), lacking, False)

    def _lacking(self, device_of: Iterable[int]) -> float:
        """What the worst device lacks, recomputed in bytes."""
        problem = self.problem
        where = np.fromiter(device_of, dtype=int)
        worst = 0.0
        for d in range(problem.n_devices):
            here = np.flatnonzero(where == d)
            parameters = math.fsum(problem.parameters[here])
            for together in self.together:
                held = math.fsum(problem.activation[[i for i in together if where[i] == d]])
                if parameters + held > problem.cap_with_slack[d]:
                    worst = max(worst, parameters + held - float(problem.cap[d]))
        return worst

    def forbid_together(self, device: int, operators: Sequence[int]) -> None:
        """Exclude a set of operators from a device, and from all that offer no more memory."""
        groups = sorted({self.group_of[i] for i in operators})
        for d in range(self.problem.n_devices):
            columns = [self.y[g, d] for g in groups if (g, d) in self.y]
            if self.problem.cap[d] <= self.problem.cap[device] and len(columns) == len(groups):
                self.model.row(columns, [1.0] * len(columns), upper=len(columns) - 1.0)

    def forbid(self, device_of: tuple[int, ...]) -> None:
        """Exclude one assignment."""
        columns = sorted({self.y[self.group_of[i], d] for i, d in enumerate(device_of)})
        self.model.row(columns, [1.0] * len(columns), upper=len(columns) - 1.0)


def _unit(problem: Problem) -> tuple[float, bool]:
    """Bytes a unit of the model, and whether all sizes are whole multiples of it (then a cap is rounded down)."""
    sizes = [*problem.parameters.tolist(), *problem.activation.tolist()]
    if all(s == int(s) for s in sizes):
        return float(reduce(math.gcd, (int(s) for s in sizes), 0) or 1), True
    return float(problem.cap[np.isfinite(problem.cap)].max()) / 1e4 or 1.0, False
