"""Published orders on a plan's stages: where stages are merged, they may beat what is left of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from planner.baselines import interleaved_1f1b, one_f_one_b, v_half, v_min, zb1p, zbv
from planner.baselines.action import NotApplicable
from planner.baselines.row import Rows
from planner.exporters.actions import StageSchedule


def known_orders(schedule: StageSchedule) -> Iterator[tuple[str, StageSchedule]]:
    """The schedule with the rows of published orders for its placement, by name.

    One stage a rank: 1F1B and ZB-1P; stages round and round: interleaved 1F1B; a V of two: ZB-V, V-Half and V-Min.
    """
    of = schedule.device_of_stage
    ranks, microbatches = len(schedule.devices), schedule.problem.microbatches
    around, chunks = list(dict.fromkeys(of)), len(of) // ranks
    made: dict[str, Callable[[], Rows]] = {}
    if list(of) == around:
        made = {
            "1F1B": lambda: one_f_one_b.rows(ranks, microbatches),
            "ZB-1P": lambda: zb1p.rows(ranks, microbatches),
        }
    elif list(of) == around * chunks:
        made = {"interleaved 1F1B": lambda: interleaved_1f1b.rows(ranks, microbatches, chunks)}
    elif list(of) == around + around[::-1]:
        made = {
            "ZB-V": lambda: zbv.rows(ranks, microbatches),
            "V-Half": lambda: v_half.rows(ranks, microbatches),
            "V-Min": lambda: v_min.rows(ranks, microbatches),
        }
    rank_of = {d: r for r, d in enumerate(around)}
    for name, rows in made.items():
        try:
            found = [list(row) for row in rows()]
        except NotApplicable:
            continue
        yield name, replace(schedule, rows=[found[rank_of[d]] for d in schedule.devices])
