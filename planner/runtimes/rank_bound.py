"""One bound for all orders of a runtime: what every device computes and holds at least, whatever the order.

The program is that of ``order_bound`` with one stage a device and without paths. What a device holds at once is what
every order of the runtime makes it hold: there is a moment at which it holds so many microbatches of all its layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.baselines import SCHEDULES
from planner.common.budget import Control
from planner.runtimes.order_bound import OrderBounds
from planner.runtimes.order_graph import OrderGraph
from planner.runtimes.order_program import Setting
from planner.runtimes.whole_passes import WHOLE_BACKWARD

ALONG = ("linear", "interleaved", "vshape")
"""Families of schedules whose stages go along the devices first, one on each."""


def held_by_all(schedule: str, rank: int, ranks: int, microbatches: int) -> int:
    """Microbatches of all its layers that a device holds at once in every order of a schedule, at least.

    1F1B: those of the ranks from it to the last. Interleaved 1F1B, with any number of chunks: before its first backward
    pass a device has run all microbatches of a round through all chunks but the last, and through that one
    2 (ranks - 1 - rank) + 1, which is no less than in 1F1B. GPipe: all. Others: when the last stage begins to go
    back, every stage holds that microbatch.
    """
    if schedule in ("1f1b", "interleaved-1f1b"):
        return min(ranks - rank, microbatches)
    return microbatches if schedule == "gpipe" else 1


def rank_bound(bounds: OrderBounds, schedules: Sequence[str], control: Control, enough: float) -> float:
    """Seconds that no plan of any of the schedules beats; inf where none fits in memory, 0 where nothing is known.

    ``enough``: above it, whole numbers of layers are not looked at.
    """
    problem = bounds.problem
    if problem.copies > 1 and any(SCHEDULES[name].family == "bidirectional" for name in schedules):
        return 0.0  # a device has layers of two copies, each for half of the microbatches
    ranks, m = problem.n_devices, problem.microbatches
    whole = set(schedules) <= WHOLE_BACKWARD
    held = []
    for r in range(ranks):
        vector = np.zeros((1, ranks, 2), dtype=np.int64)
        vector[0, r, 0] = min(held_by_all(name, r, ranks, m) for name in schedules)
        held.append(vector)
    nothing = np.zeros(0, dtype=np.int64)
    # which stage of a device ends last differs by order, so ``final`` names none
    graph = OrderGraph(nothing, nothing, nothing, nothing.astype(bool), nothing, held, ranks, [], not whole)
    setting = Setting(problem, bounds.runtime.reduces_beside, range(ranks), graph, 0.0, [0.0] * ranks, False, False)
    setting = replace(
        setting, last=tuple({0 if SCHEDULES[name].family == "vshape" else ranks - 1 for name in schedules})
    )
    chain = 0.0
    if problem.training and all(SCHEDULES[name].family in ALONG for name in schedules):
        chain, before, after = _along(bounds, whole)
        setting = replace(setting, before=before, after=after)
    return max(chain, bounds.of_any(setting, control, enough))


def _along(bounds: OrderBounds, whole: bool) -> tuple[float, list[float], list[float]]:
    """What takes one microbatch through all stages and back, and the least of that before and after each device.

    The first pass of device r is that of stage r, which waits for the stages before it; after its last, the same stages
    go back. Each has a unit at least, which is neither the first of all nor the last. ``whole``: whether backward
    passes are whole; else weight gradients may come last, after the stages before have long gone back.
    """
    costs, ranks = bounds.loose, bounds.problem.n_devices
    if not bounds.chained(costs) or len(costs.units) < 3:
        return 0.0, [0.0] * ranks, [0.0] * ranks
    tables = [costs.of(versions)[0] for versions in bounds.choices.values()]
    forward = np.min([table[:, 0].min(axis=1) for table in tables], axis=0)
    backward = np.min([(table[:, 1] + (table[:, 2] if whole else 0.0)).min(axis=1) for table in tables], axis=0)
    lag = bounds.lag(costs)
    there, back = float(forward[1:-1].min()) + lag, float(backward[1:-1].min()) + lag
    stages = [max(0, r - 1) for r in range(ranks)]
    chain = float(bounds.times_of(costs) @ (forward + backward)) + 2 * lag * (ranks - 1)
    return chain, [n * there for n in stages], [n * back * whole for n in stages]
