"""Turns graphs that are no chain of stages into one: stages pass on what later stages read.

A pipeline runtime sends from each stage to the next and starts the backward pass at the last. An output that is read
further on, or has no reader (a head in the middle), therefore goes through all stages between, and its gradient goes
back through them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.common.messages import shown
from planner.exporters.partition import Ints, Stages
from planner.problem import Operator, Pass, Problem


@dataclass(frozen=True)
class Detour:
    """An output that stages pass on without reading it. ``stages`` are those stages, first to last."""

    operator: str
    stages: tuple[int, ...]
    reader: str | None  # None: there is none, and the last stage makes the loss of it

    def __str__(self) -> str:
        why = "has no reader, and the loss is made" if self.reader is None else f"is read by {shown(self.reader)}"
        first, last = self.stages[0], self.stages[-1]
        where = f"stage {first}" if first == last else f"stages {first} to {last}"
        output = f"the output of {shown(self.operator)} on stage {first - 1}"
        return f"{output} {why} beyond the next stage: {where} must hand it on"


@dataclass(frozen=True)
class Chained:
    """A problem in which each stage reads only the one before; operators of no length pass outputs on."""

    problem: Problem
    device_of: tuple[int, ...]
    stages: Stages
    position: Ints


def detours(problem: Problem, stages: Stages) -> list[Detour]:
    """The outputs that go through stages which do not read them, in the graph's order."""
    stage_of = {i: s for s, stage in enumerate(stages) for i in stage}
    found = []
    for i, readers in enumerate(problem.consumers):
        if not readers and problem.on_comm[i] and not problem.output[i]:
            continue  # the gathering of weights for the backward pass: it gives nothing that a loss could be made of
        here, last = stage_of[i], len(stages) - 1
        furthest = max(readers, key=lambda j: stage_of[j], default=None)
        end = last + 1 if furthest is None else stage_of[furthest]
        if here < last and end > here + 1:
            reader = None if furthest is None else problem.operators[furthest].name
            found.append(Detour(problem.operators[i].name, tuple(range(here + 1, end)), reader))
    return found


def chained(problem: Problem, device_of: Sequence[int], stages: Stages, position: Ints) -> Chained:
    """The problem with all detours as operators that take no time and no memory and send what they read.

    They come first in their stages, so that the forward pass of a stage waits for all that it receives.
    """
    operators = list(problem.operators)
    index, inputs = problem.graph.index, [list(o.inputs) for o in problem.operators]
    stage_of = {i: s for s, stage in enumerate(stages) for i in stage}
    handed: list[list[int]] = [[] for _ in stages]
    devices = list(device_of)
    for detour in detours(problem, stages):
        i = index[detour.operator]
        name_at = {detour.stages[0] - 1: detour.operator}
        for s in detour.stages:
            name_at[s] = _unused(f"{detour.operator}@stage{s}", index)
            times = {Pass.F: 0.0, Pass.I: 0.0}
            operators.append(Operator(name_at[s], times, (name_at[s - 1],), output=operators[i].output))
            inputs.append([name_at[s - 1]])
            handed[s].append(len(operators) - 1)
            devices.append(device_of[stages[s][0]])
        for j in problem.consumers[i]:
            if stage_of[j] > stage_of[i] + 1:
                inputs[j] = [name_at[stage_of[j] - 1] if name == detour.operator else name for name in inputs[j]]
    made = tuple(replace(o, inputs=tuple(names)) for o, names in zip(operators, inputs, strict=True))
    none = np.full((len(made) - problem.n_operators, *position.shape[1:]), -1, dtype=np.int64)
    return Chained(
        replace(problem, graph=replace(problem.graph, operators=made)),
        tuple(devices),
        tuple((*extra, *stage) for extra, stage in zip(handed, stages, strict=True)),
        np.concatenate([position, none]),
    )


def _unused(name: str, known: Mapping[str, int]) -> str:
    """The name, lengthened where an operator of the graph has it."""
    while name in known:
        name += "'"
    return name
