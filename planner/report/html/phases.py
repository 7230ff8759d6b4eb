"""Where the page opens: warm-up and one steady window of a plan of many microbatches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.events.nodes import Flags, Nodes
from planner.plan.plan import Plan

FEWEST = 8
"""Microbatches below which a plan has no steady part to speak of."""
LARGEST_WINDOW = 16
"""Microbatches that show the pattern, where the plan does not say after how many it repeats."""
LONGEST_WARM_UP = 0.25
"""Part of the makespan; what lasts longer (all forward passes of GPipe) is no warm-up of a steady part."""


@dataclass(frozen=True)
class Phases:
    """``period``: seconds a microbatch in the middle of the step.

    ``warm_up``: until the last device begins its first backward pass (in inference: its first pass); None where that
    takes too long for a warm-up. ``until``: the end of what the page opens on, ``microbatches`` after the warm-up.
    """

    period: float
    warm_up: float | None
    until: float
    microbatches: int

    def document(self) -> dict[str, Any]:
        """As the page's script reads it."""
        return {
            "period": self.period,
            "warmUp": self.warm_up,
            "until": self.until,
            "microbatches": self.microbatches,
        }


def phases_of(plan: Plan, nodes: Nodes) -> Phases | None:
    """The phases of a plan; None where microbatches are few or end all at once."""
    if plan.microbatches < FEWEST or not nodes.n_tasks:
        return None
    k = nodes.n_tasks
    passes = np.flatnonzero(~nodes.once[:k])
    done = np.zeros(plan.microbatches)
    np.maximum.at(done, nodes.microbatch[passes], nodes.end[passes])
    done.sort()
    low, high = plan.microbatches // 4, 3 * plan.microbatches // 4
    period = float(done[high] - done[low]) / (high - low)
    if period <= 0:
        return None
    count = min(len(set(nodes.device[:k].tolist())), LARGEST_WINDOW)
    length = count * period
    if plan.window is not None:
        repeats = math.ceil(count / plan.window.microbatches)
        count, length = repeats * plan.window.microbatches, repeats * plan.window.length
    compute = ~nodes.comm[:k] & ~nodes.once[:k]
    backward = compute & (nodes.pass_[:k] > 0)
    warm_up = _last_begins(nodes, backward if backward.any() else compute)
    if warm_up > LONGEST_WARM_UP * plan.makespan:
        return Phases(period, None, _last_begins(nodes, compute) + length, count)
    return Phases(period, warm_up, warm_up + length, count)


def _last_begins(nodes: Nodes, counted: Flags) -> float:
    """When the last device starts the first of the counted tasks."""
    k = nodes.n_tasks
    first = np.full(len(nodes.devices), math.inf)
    np.minimum.at(first, nodes.device[:k][counted], nodes.start[:k][counted])
    return float(first[np.isfinite(first)].max(initial=0.0))
