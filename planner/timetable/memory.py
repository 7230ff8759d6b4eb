"""Memory over time on every device, by rule 5: parameters once, activations while they are held."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.problem.problem import MEMORY_SLACK, Problem
from planner.timetable.timetable import Timetable

INSTANT = 1e-9
"""Instants that differ by less than this part of the makespan are one instant."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MemoryProfile:
    """A step function: the device holds ``bytes[k]`` from ``times[k]`` until ``times[k + 1]``.

    ``times`` starts at 0 and rises strictly; the last value holds for the rest of the step.
    """

    times: Floats
    bytes: Floats
    peak: float
    peak_at: float  # the first instant at which the peak holds


@dataclass(frozen=True, slots=True)
class Holdings:
    """Intervals ``[start, end)`` during which a device holds ``size`` bytes for a microbatch of an operator."""

    operator: Integers
    microbatch: Integers
    device: Integers
    start: Floats
    end: Floats
    size: Floats


def memory_profile(problem: Problem, timetable: Timetable) -> tuple[MemoryProfile, ...]:
    """The memory of every device over the step, in the cluster's order."""
    ends = timetable.ends(problem)
    holdings = _holdings(problem, timetable, ends)
    resident = resident_parameters(problem, timetable)
    after = timetable.step is not None or bool(timetable.exchanges)  # the last microbatch
    tolerance = INSTANT * (timetable.makespan(problem) if after else float(np.nanmax(ends)))
    order = np.argsort(holdings.device, kind="stable")
    bounds = np.searchsorted(holdings.device[order], np.arange(problem.n_devices + 1))
    profiles = []
    for d in range(problem.n_devices):
        own = order[bounds[d] : bounds[d + 1]]
        profiles.append(_profile(resident[d], holdings.start[own], holdings.end[own], holdings.size[own], tolerance))
    return tuple(profiles)


def resident_parameters(problem: Problem, timetable: Timetable) -> list[list[float]]:
    """The parameters that each device holds all step long, operator by operator."""
    return [list(held.values()) for held in problem.resident_parameters(timetable.placement)]


def all_holdings(problem: Problem, timetable: Timetable) -> Holdings:
    """What every microbatch holds where and when; intervals of no bytes are left out."""
    return _holdings(problem, timetable, timetable.ends(problem))


def _holdings(problem: Problem, timetable: Timetable, ends: Floats) -> Holdings:
    copies = list(timetable.copy_of)
    device = np.array(timetable.placement.device_of)[copies].T  # (operators, microbatches)
    starts = timetable.start[:, 0]
    shape = starts.shape
    own = problem.of_copies(timetable.placement)
    activation = np.array([each.activation for each in own])[copies].T
    indices: Integers = np.indices(shape)
    operator, microbatch = indices
    if not problem.training:
        released = _inference_release(problem, timetable, device, ends[:, 0])
        pieces = [(operator, microbatch, device, starts, released, activation)]
    else:
        pieces = [(operator, microbatch, device, starts, ends[:, 1], activation)]
        held = np.array([each.held for each in own])
        w = np.flatnonzero((held > 0).any(axis=0))
        pieces.append((operator[w], microbatch[w], device[w], ends[w, 1], ends[w, 2], held[:, w][copies].T))
    columns = [np.concatenate([piece[k].ravel() for piece in pieces]) for k in range(6)]
    some = columns[-1] > 0
    return Holdings(*(column[some] for column in columns))


def _inference_release(problem: Problem, timetable: Timetable, device: Integers, ends: Floats) -> Floats:
    """When inference releases an output: the last reader on the device has ended, the last transfer left.

    Without either (a sink, or free transfers alone) that is the end of F itself.
    """
    release = ends.copy()
    edges = [(j, i) for i, inputs in enumerate(problem.inputs) for j in inputs]
    if edges:
        producer, consumer = np.array(edges).T
        same = device[producer] == device[consumer]
        np.maximum.at(release, producer, np.where(same, ends[consumer], -math.inf))
    for transfer in timetable.transfers:
        at = (transfer.operator, transfer.microbatch)
        release[at] = max(release[at], transfer.end)
    return release


def _profile(resident: list[float], start: Floats, end: Floats, size: Floats, tolerance: float) -> MemoryProfile:
    """The step function of one device.

    A release and a start at the same instant: release first. Where rounding puts the release slightly
    after the start, it is moved to that start.
    """
    starts = np.sort(start)
    first = np.searchsorted(starts, end - tolerance)  # the first start that is the same instant or later
    same_instant = np.minimum(end, np.append(starts, math.inf)[first])
    end = np.maximum(start, same_instant)

    every = np.concatenate([[0.0], start, end])
    order = np.argsort(every, kind="stable")  # a few runs that rise: merging them takes less than ``np.unique`` does
    new = np.append(True, np.diff(every[order]) > 0)
    instants = every[order[new]]
    step = np.empty(len(every), dtype=np.int64)
    step[order] = np.cumsum(new) - 1
    change = np.bincount(step[1:], weights=np.concatenate([size, -size]), minlength=len(instants))
    held: Floats = math.fsum(resident) + np.cumsum(change, dtype=np.float64)
    # Sums of many fractions drift by less than the slack: take the first instant that is level with the peak,
    # and add up what is held there exactly.
    top = int(np.argmax(held >= held.max() * (1.0 - MEMORY_SLACK)))
    at = instants[top]
    peak = math.fsum([*resident, *size[(start <= at) & (end > at)].tolist()])
    return MemoryProfile(np.maximum(instants, 0.0), held, peak, max(0.0, float(at)))


def released_first(start: Floats, end: Floats, tolerance: float) -> Floats:
    """The ends of what one device holds, such that a release and a start at the same instant come in this order.

    Where rounding puts the release slightly after the start, it is moved to that start.
    """
    starts = np.unique(start)
    first = np.searchsorted(starts, end - tolerance)  # the first start that is the same instant or later
    same_instant = np.minimum(end, np.append(starts, math.inf)[first])
    moved: Floats = np.maximum(start, same_instant)
    return moved
