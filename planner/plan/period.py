"""The period of a plan: how long its busiest stream or channel works for a microbatch, in the mean of the step.

In a steady state no schedule on this placement can take a microbatch in less; a transfer between devices counts for
its channel, and where transfers are exclusive for the compute streams of both ends.
"""

from __future__ import annotations

import math

from planner.plan.timetable import Timetable
from planner.problem import Problem


def period(problem: Problem, timetable: Timetable) -> float:
    """Seconds a microbatch of the busiest stream or channel."""
    streams: dict[tuple[int, bool], list[float]] = {}
    for m, copy in enumerate(timetable.copy_of):
        del m
        for i, d in enumerate(timetable.placement.device_of[copy]):
            streams.setdefault((d, bool(problem.on_comm[i])), []).extend(problem.duration[i, :, d].tolist())
    channels: dict[tuple[int, int], list[float]] = {}
    for transfer in timetable.transfers:
        seconds = problem.transfer(transfer.operator, transfer.source, transfer.target)
        channels.setdefault((transfer.source, transfer.target), []).append(seconds)
        for end in (transfer.source, transfer.target):
            if problem.exclusive[end]:
                streams.setdefault((end, False), []).append(seconds)
    busy = max(map(math.fsum, [*streams.values(), *channels.values()]), default=0.0)
    return busy / problem.microbatches
