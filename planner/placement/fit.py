"""Does anything fit at all? A placement within memory, or the proof that there is none and by how much.

A placement fits if one microbatch alone does (see ``memory``). What every placement must hold on a device is linear
in the assignment: parameters, and all activations of the operators there that lead to one sink (at the end of the
sink's F they are all held, in training), or those of one operator and its inputs (in inference). So a small MIP over
whole bytes says how much every assignment lacks, and where it finds one that lacks nothing, that is tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce

import networkx as nx
import numpy as np

from planner.control import Control
from planner.highs import Model
from planner.placement.memory import Need, microbatch_need, parameters_on
from planner.problem import Impossible, Placement, Problem
from planner.problem.problem import MEMORY_SLACK

CUTS_AT_MOST = 50
SINKS_AT_MOST = 24


def fits(problem: Problem, placement: Placement) -> bool | None:
    """Whether one microbatch of each copy fits; None where that could not be decided."""
    room = problem.cap_with_slack - parameters_on(problem, placement)
    answers = [microbatch_need(problem, copy, room) for copy in placement.device_of]
    if all(isinstance(answer, Need) for answer in answers):
        return True
    return False if any(answer is None for answer in answers) else None


def find_fit(problem: Problem, control: Control, threads: int) -> Placement | None:
    """Look for a placement of one copy that fits; None if time or patience ran out.

    One copy is enough: a plan of several copies leaves one of one copy, which holds no more. Raises ``Impossible``
    with the least amount that is missing where no placement fits.
    """
    if not np.isfinite(problem.cap).any():
        return Placement.single(_first_devices(problem), "any")
    _operators_fit_alone(problem)
    _all_together_fit(problem)
    model = _FitModel(problem)
    for _ in range(CUTS_AT_MOST):
        device_of, short = model.solve(control, threads)
        if device_of is None:
            return None
        placement = Placement.single(device_of, "least memory")
        if short > 0:
            raise Impossible(_shortfall(problem, placement, short))
        answer = fits(problem, placement)
        if answer:
            return placement
        if answer is None:
            return None
        model.forbid(device_of)
    return None


def _first_devices(problem: Problem) -> list[int]:
    device_of = [0] * problem.n_operators
    for g, members in enumerate(problem.groups):
        for i in members:
            device_of[i] = int(np.argmax(problem.group_runs_on[g]))
    return device_of


def _operators_fit_alone(problem: Problem) -> None:
    """An operator (or a colocated group) that no device can hold by itself."""
    for members in problem.groups:
        parameters = math.fsum(problem.parameters[list(members)])
        activation = max(float(problem.activation[i]) for i in members)
        allowed = [d for d in range(problem.n_devices) if problem.runs_on[list(members), d].all()]
        room = max(float(problem.cap[d]) for d in allowed)
        if parameters + activation > room * (1 + MEMORY_SLACK):
            names = ", ".join(repr(problem.operators[i].name) for i in members[:3]) + (", ..." if members[3:] else "")
            best = problem.cluster.devices[max(allowed, key=lambda d: problem.cap[d])].name
            raise Impossible(
                f"operator {names} needs {show_bytes(parameters + activation)} (parameters and one activation), but "
                f"the largest device that may run it, {best}, offers {show_bytes(room)}: "
                f"{show_bytes(parameters + activation - room)} short"
            )


def _all_together_fit(problem: Problem) -> None:
    """All parameters, and all that one microbatch holds at the sink that most operators lead to, on all devices."""
    needed = math.fsum(problem.parameters)
    if problem.training:  # in inference two activations need not be held at the same time
        needed += max(math.fsum(problem.activation[list(together)]) for together in _held_together(problem))
    offered = math.fsum(problem.cap) if np.isfinite(problem.cap).all() else math.inf
    if needed > offered * (1 + MEMORY_SLACK):
        each = (needed - offered) / problem.n_devices
        what = "parameters and activations of one microbatch" if problem.training else "parameters"
        raise Impossible(
            f"{what} take {show_bytes(needed)}, the {problem.n_devices} devices "
            f"offer {show_bytes(offered)} together: {show_bytes(needed - offered)} short in all, at least "
            f"{show_bytes(math.ceil(each) if each >= 1 else each)} on one of them"
        )


def _held_together(problem: Problem) -> list[tuple[int, ...]]:
    """Sets of operators whose activations one microbatch holds at the same instant under every order."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(problem.n_operators))
    graph.add_edges_from((j, i) for i, inputs in enumerate(problem.inputs) for j in inputs)
    if not problem.training:
        return [(i,) for i in range(problem.n_operators)]
    sinks = [i for i in range(problem.n_operators) if not problem.consumers[i]]
    sets = [tuple(sorted({*nx.ancestors(graph, s), s})) for s in sinks]
    return sorted(sets, key=len, reverse=True)[:SINKS_AT_MOST]


class _FitModel:
    """y[g, d] and the least shortfall of the worst device, in whole units of the sizes' common divisor."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.unit, whole = _unit(problem)
        self.together = _held_together(problem)
        self.model = Model()
        self.short = self.model.variable(0.0, cost=1.0)
        self.y: dict[tuple[int, int], int] = {}
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
        problem = self.problem
        for together in self.together:
            total: dict[int, float] = {}
            for g, members in enumerate(problem.groups):
                if (g, d) in self.y:
                    size = math.fsum(problem.parameters[list(members)])
                    total[self.y[g, d]] = size / self.unit
            for i in together:
                if (self.group_of[i], d) in self.y:
                    total[self.y[self.group_of[i], d]] += float(problem.activation[i]) / self.unit
            total = {c: v for c, v in total.items() if v}
            if total:
                self.model.row([*total, self.short], [*total.values(), -1.0], upper=cap)

    def solve(self, control: Control, threads: int) -> tuple[tuple[int, ...] | None, float]:
        """The assignment that lacks least, and how much the worst device lacks (bytes, 0 where all is well)."""
        outcome = self.model.solve(control, seconds=max(1.0, control.remaining / 3), threads=threads, gap=1e-9)
        if outcome.values is None:
            return None, 0.0
        device_of = [0] * self.problem.n_operators
        for (g, d), y in self.y.items():
            if outcome.values[y] > 0.5:
                for i in self.problem.groups[g]:
                    device_of[i] = d
        lacking = self._lacking(device_of)
        if lacking > 0 and not outcome.bound > 1e-4:
            return None, 0.0  # it lacks something, but that every assignment does is not proven
        return tuple(device_of), lacking

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


def _shortfall(problem: Problem, placement: Placement, short: float) -> str:
    """Which device lacks how much in the placement that lacks least."""
    needs = parameters_on(problem, placement)
    for together in _held_together(problem)[:1] if problem.training else []:
        for i in together:
            needs[placement.device_of[0][i]] += problem.activation[i]
    worst = int(np.argmax(needs - problem.cap))
    name = problem.cluster.devices[worst].name
    return (
        f"no placement fits: even in the one that lacks least, device {name} is {show_bytes(short)} short for its "
        f"parameters and one microbatch's activations ({show_bytes(float(problem.cap[worst]) + short)} needed, "
        f"{show_bytes(float(problem.cap[worst]))} offered)"
    )


def show_bytes(size: float) -> str:
    """Bytes in full and, where that helps, in a larger unit."""
    exact = f"{size:,.0f} B" if size == int(size) else f"{size:,.3f} B"
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{exact} ({size / factor:.2f} {unit})"
    return exact
