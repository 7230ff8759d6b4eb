"""A problem as the whole-problem rival sees it: its tables in whole numbers, no placement.

It shares the tables of ``Problem`` with planner, and nothing else.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from planner.problem import Placement, Problem, Step
from planner.timetable.timetable import TimedTransfer, Timetable

WHOLE_BYTES = 1e9
"""Parts of the largest cap in which memory is counted. Sizes are rounded down, so that what fits exactly does fit."""


@dataclass(frozen=True)
class Whole:
    """Times in ticks, memory in parts of the largest cap. Operators, passes and devices are numbers.

    ``lasts[i][p][d]``: a pass on a device, for the passes in ``passes[i]`` and the devices in ``runs_on[i]``.
    ``transfer[i][d][e]``: the output of operator i from device d to e. ``cap[d]``: None where there is none.
    """

    tick: float  # seconds
    microbatches: int
    copies: int
    training: bool
    groups: list[list[int]]
    inputs: list[list[int]]
    consumers: list[list[int]]
    passes: list[list[int]]
    runs_on: list[list[int]]
    on_comm: list[bool]
    lasts: list[list[list[int]]]
    transfer: list[list[list[int]]]
    exclusive: list[bool]
    parameters: list[int]
    activation: list[int]
    held: list[int]
    cap: list[int | None]

    def to_json(self) -> str:
        """For the rival, which does not import planner: that would cost it time."""
        return json.dumps(asdict(self))


def build(problem: Problem) -> Whole:
    """The tables of a problem whose times have a common step."""
    tick = Step.of(problem).seconds
    if tick is None:
        raise ValueError("times have no common step")
    devices = range(problem.n_devices)
    operators = range(problem.n_operators)
    finite = problem.cap[np.isfinite(problem.cap)]
    part = float(finite.max(initial=1.0)) / WHOLE_BYTES or 1.0

    def ticks(seconds: float) -> int:
        found = round(seconds / tick)
        if not math.isclose(found * tick, seconds, rel_tol=1e-9):
            raise ValueError(f"{seconds} s is no multiple of {tick} s")
        return found

    def sizes(values: Any) -> list[int]:
        return [int(float(value) / part) for value in values]

    return Whole(
        tick,
        problem.microbatches,
        problem.copies,
        problem.training,
        [list(members) for members in problem.groups],
        [list(those) for those in problem.inputs],
        [list(those) for those in problem.consumers],
        [np.flatnonzero(problem.has_pass[i]).tolist() for i in operators],
        [np.flatnonzero(problem.runs_on[i]).tolist() for i in operators],
        problem.on_comm.tolist(),
        [
            [[ticks(float(x)) if np.isfinite(x) else 0 for x in problem.duration[i, p]] for p in range(3)]
            for i in operators
        ],
        [
            [
                [ticks(problem.transfer(i, d, e)) if d != e and problem.consumers[i] else 0 for e in devices]
                for d in devices
            ]
            for i in operators
        ],
        problem.exclusive.tolist(),
        sizes(problem.parameters),
        sizes(problem.activation),
        sizes(problem.held),
        [round(float(cap) / part * (1 + 1e-9)) if np.isfinite(cap) else None for cap in problem.cap],
    )


def timetable(problem: Problem, whole: Whole, found: dict[str, Any]) -> Timetable:
    """The timetable of the rival's schedule: ``copy_of``, ``device_of``, and the starts of tasks and transfers."""
    used = sorted(set(found["copy_of"]))
    placement = Placement(tuple(tuple(found["device_of"][c]) for c in used), "whole")
    start = np.full((problem.n_operators, 3, problem.microbatches), np.nan)
    for i, p, m, at in found["start"]:
        start[i, p, m] = at * whole.tick
    sent = tuple(
        TimedTransfer(i, p, m, d, e, at * whole.tick, (at + whole.transfer[i][d][e]) * whole.tick)
        for i, p, m, d, e, at in found["sent"]
    )
    return Timetable(placement, tuple(used.index(c) for c in found["copy_of"]), start, sent)
