"""A problem in which layers run as wholes: what bounds of a runtime's plans are proven on.

Everything between two cuts becomes one operator of the compute stream, as long as its computation and the collectives
that the runtime exposes. A stage pass of the runtime runs such operators one after another, so each of its plans is a
plan of this problem that is as long: a bound here is a bound there. Collectives that it hides and the reduction of
gradients are left out, which only lowers bounds.

Memory is that of whole passes: from the start of F to the end of the backward pass. Within a stage pass nothing else
runs on the device; memory only grows in a forward and only shrinks in a backward. So the largest sum is reached
between passes, and is the same. It is not where a forward and a backward run as a pair: then memory is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from planner.baselines import SCHEDULES
from planner.bounds import BOUNDS, problem_bound
from planner.common.budget import Control
from planner.problem import PASS_ORDER, ByDevice, Cluster, Graph, Operator, Pass, Problem
from planner.problem.graph import PassTime
from planner.runtimes.cuts import cut_for
from planner.runtimes.runtime import Runtime, Transfers

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

WHOLE_BACKWARD = {"gpipe", "1f1b", "interleaved-1f1b"}
"""Schedules whose backward passes are always whole: weight gradients right after input gradients."""


def exposed(problem: Problem, runtime: Runtime) -> Bools:
    """The operators of the comm stream during which the runtime computes nothing."""
    hidden = np.array([operator.collective in runtime.hides for operator in problem.operators])
    return np.asarray(problem.on_comm & ~hidden, dtype=np.bool_)


def with_transfers(problem: Problem, exposes: bool) -> Problem:
    """The problem in which transfers occupy the compute streams of their devices, where the runtime exposes them."""
    return replace(problem, cluster=_exclusive(problem.cluster)) if exposes else problem


def _exclusive(cluster: Cluster) -> Cluster:
    types = {name: replace(kind, exclusive_transfers=True) for name, kind in cluster.types.items()}
    devices = tuple(replace(d, type=replace(d.type, exclusive_transfers=True)) for d in cluster.devices)
    return replace(cluster, types=types, devices=devices)


def runtime_bound(problem: Problem, runtime: Runtime, control: Control) -> float:
    """Seconds that no plan of the runtime beats, whatever its placement, order and choice of variants."""
    whole = whole_passes(problem, runtime)
    found = problem_bound(problem, control)
    for bound in BOUNDS:
        control.report(f"{bound.name} bound of plans that {runtime.name} runs")
        found = max(found, bound.of(whole, control))
    return found


def whole_passes(problem: Problem, runtime: Runtime) -> Problem:
    """The problem of whole layers. Shapes: an operator a unit, with times by device."""
    cut = cut_for(problem, runtime)
    units = cut.segments.loose
    spread = {i: cut.operators[i].colocate for members in cut.segments.spread for i in members}
    unit_of = {i: u for u, unit in enumerate(units) for i in unit}
    whole_backward = set(runtime.schedules) <= WHOLE_BACKWARD
    seconds, activation, held = _least(cut, whole_backward)
    counted = ~cut.on_comm | exposed(cut, runtime)
    names = [d.name for d in cut.cluster.devices]
    operators = []
    for u, unit in enumerate(units):
        members = list(unit)
        times = _summed(seconds[[i for i in members if counted[i]]].sum(axis=0), names, cut.relaxed.runs_on[members])
        if whole_backward or not cut.training:
            times.pop(Pass.W, None)
        if not cut.training:
            times = {Pass.F: times[Pass.F]}
        reads = dict.fromkeys(unit_of[j] for i in members for j in cut.inputs[i] if unit_of[j] != u)
        label = next((spread[i] for i in members if i in spread), None)
        update = cut.step_duration[members, 1].sum(axis=0)
        operators.append(
            Operator(
                f"{u}",
                times,
                tuple(map(str, reads)),
                parameters=math.fsum(cut.relaxed.parameters[members]),
                activation=math.fsum(activation[members]),
                held_for_weight_grad=math.fsum(held[members]),
                output=_output(cut, units, unit_of, u),
                colocate=label,
                step={Pass.U: ByDevice(dict(zip(names, update.tolist(), strict=True)))} if update.any() else {},
            )
        )
    graph = Graph(cut.graph.name, cut.graph.mode, cut.graph.microbatches, tuple(operators))
    cluster = _exclusive(cut.cluster) if runtime.transfers is Transfers.EXPOSED else cut.cluster
    paired = any(SCHEDULES[name].fused for name in runtime.schedules)
    cap = math.inf if paired else cut.memory_cap
    return Problem(graph, cluster, cut.microbatches, copies=cut.copies, memory_cap=cap)


def _least(problem: Problem, whole_backward: bool) -> tuple[Floats, Floats, Floats]:
    """The least pass times (operators, 3, devices), activations and parts held of each operator, over its versions."""
    relaxed = problem.relaxed
    seconds, activation, held = relaxed.duration.copy(), relaxed.activation, relaxed.held
    if whole_backward:
        for i, some in enumerate(problem.versions):
            rows = [problem.choices[v].duration[i, 1:].sum(axis=0) for v in some]
            seconds[i, 1], seconds[i, 2] = np.min(rows, axis=0), 0.0
        held = np.zeros_like(held)
    return seconds, activation, held


def _summed(seconds: Floats, names: Sequence[str], runs_on: Bools) -> dict[Pass, PassTime]:
    """Times by device of the three passes, for the devices that run all of the operators."""
    may = np.flatnonzero(runs_on.all(axis=0)).tolist()
    return {which: ByDevice({names[d]: float(seconds[p, d]) for d in may}) for p, which in enumerate(PASS_ORDER)}


def _output(problem: Problem, units: Sequence[Sequence[int]], unit_of: dict[int, int], u: int) -> float:
    """Bytes that every unit that reads this one receives, at least."""
    read: dict[int, float] = {}
    for i in units[u]:
        for v in {unit_of[j] for j in problem.consumers[i]} - {u}:
            read[v] = read.get(v, 0.0) + float(problem.output[i])
    return min(read.values(), default=0.0)
