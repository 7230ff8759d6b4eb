"""What comes once a step: how much of it follows the last microbatch, and how much runs beside microbatches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from planner.plan.plan import Plan
from planner.report.words import NOTHING, number, seconds


class Part(StrEnum):
    """A part of the step besides its microbatches, in the order in which they come for one operator."""

    EXCHANGE = "exchange of gradients"
    REDUCE = "reduction"
    UPDATE = "optimizer"
    GATHER = "gathering"


PARTS = {"R": Part.REDUCE, "U": Part.UPDATE, "G": Part.GATHER}
"""By pass."""

WORDS = {pass_: part.value for pass_, part in PARTS.items()}
"""What legends call step tasks."""


@dataclass(frozen=True)
class WholeStep:
    """Seconds of the parts that a plan has.

    ``until``: the end of the last microbatch. ``exposed``: of the time from then on; each instant counts for the first
    part, in the order of ``Part``, that runs then anywhere. ``total``: of all devices together; ``hidden``: of these,
    before ``until``.
    """

    makespan: float
    until: float
    exposed: Mapping[Part, float]
    total: Mapping[Part, float]
    hidden: Mapping[Part, float]

    @property
    def after(self) -> float:
        """Seconds after the last microbatch."""
        return self.makespan - self.until


def whole_step(plan: Plan) -> WholeStep | None:
    """The parts of a plan's step; None where it has microbatches only."""
    parts: dict[Part, list[tuple[float, float]]] = {part: [] for part in Part}
    for task in plan.step_tasks:
        parts[PARTS[task.pass_]].append((task.start, task.end))
    parts[Part.EXCHANGE] += [(each.start, each.end) for each in plan.exchanges]
    found = {part: some for part, some in parts.items() if some}
    if not found:
        return None
    until = max((task.end for task in plan.tasks), default=0.0)
    exposed, covered = dict[Part, float](), list[tuple[float, float]]()
    for part, some in found.items():
        before = _covered(covered, until)
        covered += some
        exposed[part] = _covered(covered, until) - before
    last = max(until, *(end for _, end in covered))
    return WholeStep(
        plan.makespan,
        plan.makespan - (last - until),  # a plan may list a part of its microbatches
        exposed,
        {part: math.fsum(end - start for start, end in some) for part, some in found.items()},
        {part: math.fsum(max(0.0, min(end, until) - start) for start, end in some) for part, some in found.items()},
    )


def _covered(intervals: Sequence[tuple[float, float]], since: float) -> float:
    """Seconds after an instant in which at least one of the intervals runs."""
    if not intervals:
        return 0.0
    start, end = np.maximum(np.array(sorted(intervals)).T, since)
    latest = np.maximum.accumulate(end)
    gaps = np.maximum(start[1:] - latest[:-1], 0.0)
    return float(latest[-1] - start[0] - gaps.sum())


def step_lines(plan: Plan) -> list[str]:
    """The whole step in a line or two; none where there are microbatches only."""
    step = whole_step(plan)
    if step is None:
        return []
    shown = [f"{part} {seconds(value, 4)}" for part, value in step.exposed.items() if value > NOTHING * step.makespan]
    idle = step.after - math.fsum(step.exposed.values())
    shown += [f"nothing {seconds(idle, 4)}"] if idle > 1e-6 * step.makespan else []
    lines = [
        f"{seconds(step.until)} until the last microbatch ends, "
        + (f"then {seconds(step.after, 4)} more: {', '.join(shown)}" if shown else "and nothing after it")
    ]
    hidden = [(part, step.hidden[part] / total) for part, total in step.total.items() if total > 0]
    if hidden:
        lines.append("beside microbatches: " + ", ".join(f"{number(100 * s, 3)} % of {p}" for p, s in hidden))
    return lines
