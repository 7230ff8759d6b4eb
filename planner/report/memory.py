"""Memory over time by cause: parameters, and the activations of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.problem import Problem
from planner.report.words import names_in_brief
from planner.timetable.memory import INSTANT, Floats, Integers, all_holdings, released_first, resident_parameters
from planner.timetable.timetable import Timetable

STAGES_AT_MOST = 8
"""Stages shown separately on one device; all others together are one more."""


@dataclass(frozen=True)
class DeviceMemory:
    """What a device holds: ``parameters`` bytes all the time, and activations by stage.

    At ``times[k]`` (rising) the bytes of ``stages[stage[k]]`` change by ``change[k]``; all start at 0.
    """

    name: str
    cap: float | None
    parameters: float
    stages: tuple[str, ...]
    times: Floats
    stage: Integers
    change: Floats

    def at_peak(self) -> tuple[float, list[float]]:
        """When the device is fullest for the first time, and the bytes of each stage's activations then."""
        held = np.cumsum(self.change)
        if not len(held) or held.max() <= 0:
            return 0.0, [0.0] * len(self.stages)
        last = int(np.argmax(held)) + 1  # releases come first at one instant, so all of its changes count
        return float(self.times[last - 1]), [
            float(self.change[:last][self.stage[:last] == s].sum()) for s in range(len(self.stages))
        ]


def memory_by_cause(problem: Problem, timetable: Timetable) -> list[DeviceMemory]:
    """The memory of every device, in the cluster's order.

    A stage is a run of operators of one copy, in topological order, that share a device.
    """
    held = all_holdings(problem, timetable)
    resident = resident_parameters(problem, timetable)
    tolerance = INSTANT * timetable.makespan(problem)
    stage_of, names = _stages(problem, timetable)
    copy = np.array(timetable.copy_of)[held.microbatch]
    found = []
    for d, device in enumerate(problem.cluster.devices):
        own = held.device == d
        start, size = held.start[own], held.size[own]
        end = released_first(start, held.end[own], tolerance)
        stage, labels = _largest(stage_of[copy[own], held.operator[own]], size * (end - start), names)
        times, change = np.concatenate([start, end]), np.concatenate([size, -size])
        order = np.lexsort((change, times))  # a release before a start at the same instant
        cap = float(problem.cap[d])
        found.append(
            DeviceMemory(
                device.name,
                None if np.isinf(cap) else cap,
                float(sum(resident[d])),
                labels,
                times[order],
                np.concatenate([stage, stage])[order],
                change[order],
            )
        )
    return found


def _stages(problem: Problem, timetable: Timetable) -> tuple[Integers, list[str]]:
    """The stage of every operator of every copy, and the names of the stages."""
    placement, everything = timetable.placement, [o.name for o in problem.operators]
    stage_of = np.zeros((placement.copies, problem.n_operators), dtype=np.int64)
    names: list[str] = []
    for copy, device_of in enumerate(placement.device_of):
        run: list[int] = []
        open_run: dict[int, list[int]] = {}
        for i in problem.topological:
            run = open_run.get(device_of[i], [])
            if not run or not _adjacent(problem, device_of, run, i):
                run = []
                open_run[device_of[i]] = run
                names.append("")
            run.append(i)
            stage_of[copy, i] = len(names) - 1 if len(run) == 1 else stage_of[copy, run[0]]
        for stage in np.unique(stage_of[copy]).tolist():
            members = [everything[i] for i in np.flatnonzero(stage_of[copy] == stage).tolist()]
            names[stage] = names_in_brief(members, everything) + (f" (copy {copy})" if placement.copies > 1 else "")
    return stage_of, names


def _adjacent(problem: Problem, device_of: Sequence[int], run: Sequence[int], i: int) -> bool:
    """Whether operator i continues the run: it reads an operator of the run, or reads none at all."""
    inputs = problem.inputs[i]
    return not inputs or any(j in run for j in inputs)


def _largest(stage: Integers, weight: Floats, names: Sequence[str]) -> tuple[Integers, tuple[str, ...]]:
    """Stages renumbered from 0 in their order; the smallest ones of many become one."""
    present = np.unique(stage)
    total = np.array([weight[stage == s].sum() for s in present])
    kept = np.sort(present[np.argsort(-total, kind="stable")[:STAGES_AT_MOST]])
    number = {s: k for k, s in enumerate(kept.tolist())}
    labels = [names[s] for s in kept.tolist()]
    if len(kept) < len(present):
        labels.append(f"{len(present) - len(kept)} smaller stages")
    return np.array([number.get(s, len(kept)) for s in stage.tolist()], dtype=np.int64), tuple(labels)
