"""One bound for all orders of a runtime: what every device computes and holds at least, whatever the order.

The program is that of ``order_bound`` with one stage a device and without paths. What a device holds at once is what
every order of the runtime makes it hold: there is a moment at which it holds so many microbatches of all its layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.common.budget import Control
from planner.runtimes.order_bound import OrderBounds
from planner.runtimes.order_graph import OrderGraph
from planner.runtimes.order_program import Setting
from planner.runtimes.whole_passes import WHOLE_BACKWARD


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
    """Seconds that no plan of any of the schedules beats; inf where none fits in memory.

    ``enough``: above it, whole numbers of layers are not looked at.
    """
    problem = bounds.problem
    ranks, m = problem.n_devices, problem.microbatches
    held = []
    for r in range(ranks):
        vector = np.zeros((1, ranks, 2), dtype=np.int64)
        vector[0, r, 0] = min(held_by_all(name, r, ranks, m) for name in schedules)
        held.append(vector)
    nothing = np.zeros(0, dtype=np.int64)
    split = not set(schedules) <= WHOLE_BACKWARD
    # which stage of a device ends last differs by order, so ``final`` names none
    graph = OrderGraph(nothing, nothing, nothing, nothing.astype(bool), [], held, ranks, [], split)
    setting = Setting(problem, bounds.runtime.reduces_beside, range(ranks), graph, 0.0, [0.0] * ranks, False, False)
    return bounds.of_any(setting, control, enough)
