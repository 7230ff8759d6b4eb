"""The period of a plan: how long its busiest stream or channel works for a microbatch, averaged over the step.

In the steady state no schedule on this placement can spend less on a microbatch. What comes once a step (step tasks,
exchanged gradients) is no part of it. A transfer between devices counts for
its channel and, where transfers are exclusive, for the compute streams of both ends.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from planner.problem import Problem
from planner.timetable.timetable import Timetable


def period(problem: Problem, timetable: Timetable) -> float:
    """Seconds a microbatch of the busiest stream or channel."""
    return max(busy_seconds(problem, timetable).values(), default=0.0) / problem.microbatches


def busy_seconds(problem: Problem, timetable: Timetable) -> dict[tuple[int | str, ...], float]:
    """How long each stream and channel works in the step for its microbatches."""
    busy: defaultdict[tuple[int | str, ...], float] = defaultdict(float)
    for copy, microbatches in Counter(timetable.copy_of).items():
        own = problem.of_copy(timetable.placement, copy)
        for i, d in enumerate(timetable.placement.device_of[copy]):
            stream = "comm" if problem.on_comm[i] else "compute"
            busy[stream, d] += microbatches * float(own.duration[i, :, d].sum())
    for transfer in timetable.transfers:
        seconds = problem.transfer(transfer.operator, transfer.source, transfer.target)
        busy["channel", transfer.source, transfer.target] += seconds
        for end in (transfer.source, transfer.target):
            if problem.exclusive[end]:
                busy["compute", end] += seconds
    return busy
