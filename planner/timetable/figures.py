"""The figures of a timetable (rule 6): makespan, bubbles, peak memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from planner.problem.graph import STEP_ORDER, Pass
from planner.problem.problem import Problem
from planner.timetable.memory import memory_profile
from planner.timetable.timetable import Timetable


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """What a device does in the plan (rule 6). ``memory`` is the cap in bytes, None where there is none."""

    name: str
    busy: float
    bubble: float
    span_bubble: float
    peak_memory: float
    peak_memory_at: float
    memory: float | None


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


_known: WeakKeyDictionary[Timetable, tuple[Problem, Figures]] = WeakKeyDictionary()
"""Figures of timetables that still exist: those of a baseline are asked for two or three times."""


def figures(problem: Problem, timetable: Timetable) -> Figures:
    """The figures of rule 6. Only tasks on the compute stream are work, U among them; transfers never are."""
    known = _known.get(timetable)
    if known is None or known[0] is not problem:
        known = _known[timetable] = (problem, _figures(problem, timetable))
    return known[1]


def _figures(problem: Problem, timetable: Timetable) -> Figures:
    device_of = np.array(timetable.placement.device_of)
    device = np.broadcast_to(device_of[list(timetable.copy_of)].T[:, None, :], timetable.start.shape)
    seconds = timetable.seconds(problem)
    memory = memory_profile(problem, timetable)
    runs = np.bincount(device[~np.isnan(timetable.start)], minlength=problem.n_devices) > 0
    # A row a task on a compute stream.
    compute = ~np.isnan(timetable.start) & ~problem.on_comm[:, None, None]
    device, seconds, starts = device[compute], seconds[compute], timetable.start[compute]
    ends = starts + seconds
    if timetable.step is not None:
        copy, operator, which = np.nonzero(~np.isnan(timetable.step))
        where = device_of[copy, operator]
        runs[where] = True
        update = which == STEP_ORDER.index(Pass.U)
        at = copy[update], operator[update], which[update]
        device = np.concatenate([device, where[update]])
        seconds = np.concatenate([seconds, problem.step_duration[at[1], at[2], where[update]]])
        starts = np.concatenate([starts, timetable.step[at]])
        ends = np.concatenate([ends, timetable.step_ends(problem)[at]])
    makespan = timetable.makespan(problem)

    rows = []
    for d, each in enumerate(problem.cluster.devices):
        own = device == d
        busy = math.fsum(seconds[own].tolist())
        span = float(ends[own].max() - starts[own].min()) if own.any() else 0.0
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
        bubble_ratio=ratio([row.bubble for row in working], makespan),
        bubble_ratio_all=ratio([row.bubble for row in rows], makespan),
        span_bubble_ratio=ratio([row.span_bubble for row in working], makespan),
        peak_memory=max(row.peak_memory for row in rows),
        fits=all(row.peak_memory <= cap for row, cap in zip(rows, problem.cap_with_slack, strict=True)),
        devices=tuple(rows),
    )


def ratio(bubbles: list[float], makespan: float) -> float:
    """The part of the devices' time that is bubble."""
    if not bubbles or makespan == 0.0:
        return 0.0
    return math.fsum(bubbles) / (len(bubbles) * makespan)
