"""The figures of a timetable (rule 6): makespan, bubbles, peak memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.plan.memory import memory_profile
from planner.plan.plan import DeviceFigures
from planner.plan.timetable import Timetable
from planner.problem.problem import Problem


@dataclass(frozen=True, slots=True)
class Figures:
    """What a step costs, as a whole and device by device (in the cluster's order)."""

    makespan: float
    bubble_ratio: float  # over the devices that run a task
    bubble_ratio_all: float  # over all devices of the cluster
    span_bubble_ratio: float  # over the devices that run a task
    peak_memory: float  # of the fullest device
    fits: bool  # whether no device exceeds its cap
    devices: tuple[DeviceFigures, ...]


def figures(problem: Problem, timetable: Timetable) -> Figures:
    """The figures of rule 6. Only tasks on the compute stream are work; transfers never are."""
    placed = np.array(timetable.placement.device_of)[list(timetable.copy_of)].T  # (operators, microbatches)
    operators = np.arange(problem.n_operators)[:, None]
    seconds = np.moveaxis(problem.duration[operators, :, placed], 2, 1)  # (operators, passes, microbatches)
    ends = timetable.start + seconds
    exists = np.broadcast_to(problem.has_pass[:, :, None], ends.shape)
    device = np.broadcast_to(placed[:, None, :], ends.shape)
    makespan = float(np.nanmax(ends))
    memory = memory_profile(problem, timetable)
    runs = np.bincount(device[exists], minlength=problem.n_devices) > 0
    compute = np.flatnonzero(exists & ~problem.on_comm[:, None, None])
    device, seconds, starts, ends = (column.ravel()[compute] for column in (device, seconds, timetable.start, ends))

    rows = []
    for d, each in enumerate(problem.cluster.devices):
        own = np.flatnonzero(device == d)
        busy = math.fsum(seconds[own].tolist())
        span = float(ends[own].max() - starts[own].min()) if len(own) else 0.0
        cap = float(problem.cap[d])
        rows.append(
            DeviceFigures(
                name=each.name,
                busy=busy,
                bubble=max(0.0, makespan - busy),  # a full device may miss 0 by the rounding of its instants
                span_bubble=max(0.0, span - busy),
                peak_memory=memory[d].peak,
                peak_memory_at=memory[d].peak_at,
                memory=None if math.isinf(cap) else cap,
            )
        )
    working = [row for row, some in zip(rows, runs, strict=True) if some]
    return Figures(
        makespan=makespan,
        bubble_ratio=_ratio([row.bubble for row in working], makespan),
        bubble_ratio_all=_ratio([row.bubble for row in rows], makespan),
        span_bubble_ratio=_ratio([row.span_bubble for row in working], makespan),
        peak_memory=max(row.peak_memory for row in rows),
        fits=all(row.peak_memory <= cap for row, cap in zip(rows, problem.cap_with_slack, strict=True)),
        devices=tuple(rows),
    )


def _ratio(bubbles: list[float], makespan: float) -> float:
    """The part of the devices' time that is bubble."""
    if not bubbles or makespan == 0.0:
        return 0.0
    return math.fsum(bubbles) / (len(bubbles) * makespan)
