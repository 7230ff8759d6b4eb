"""The least memory: the smallest peak over the devices for which a plan is short enough.

First, a bisection over caps finds those under which the bounds prove that no plan is short enough. Then a bisection
between the proven caps and the peak known so far runs a brief search under each cap: a plan found lowers the peak; if
none is found, higher caps follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from planner.common.budget import Control
from planner.common.tolerance import WITHIN
from planner.problem import Impossible, Problem, common_step
from planner.search.incumbent import Candidate

FINE = 2e-3
"""Peaks closer than this (relatively) count as one where sizes have no common step."""


@dataclass(frozen=True)
class LeastMemory:
    """The plan of the smallest peak found, that peak, and a lower bound of all peaks (bytes)."""

    best: Candidate
    peak: float
    bound: float


@dataclass(frozen=True)
class Asked:
    """What is asked of problems with lower caps: a schedule of at most ``limit`` seconds.

    ``bound``: seconds that no schedule beats. ``search``: a schedule within so many seconds; it may raise
    ``Impossible``. ``peak``: the bytes of the fullest device.
    """

    limit: float
    bound: Callable[[Problem, Control], float]
    search: Callable[[Problem, float], Candidate | None]
    peak: Callable[[Candidate], float]


def least_memory(problem: Problem, first: Candidate, asked: Asked, control: Control) -> LeastMemory:
    """Lower the peak of ``first``, within the limit."""
    best, peak = first, asked.peak(first)
    step = _step_of_sizes(problem)
    proven, open_ = 0.0, peak  # no plan fits in ``proven``; the bounds do not exclude ``open_``
    while not control.over and (cap := _between(proven, open_, step)) is not None:
        control.report(f"whether a peak of {cap:g} B is possible")
        if asked.bound(replace(problem, memory_at_most=cap), control) > asked.limit * WITHIN:
            proven = cap
        else:
            open_ = cap
    given_up = proven  # no plan was found up to this cap
    while not control.over and (cap := _between(given_up, peak, step)) is not None:
        control.report(f"plans with a peak of at most {cap:g} B")
        try:
            found = asked.search(replace(problem, memory_at_most=cap), asked.limit)
        except Impossible:
            found = None
            proven = proven if control.over else max(proven, cap)
        if found is None:
            given_up = cap
        else:
            best, peak = found, min(peak, asked.peak(found))
    return LeastMemory(best, peak, min(peak, proven + (step or 0.0)) if proven > 0 else 0.0)


def _step_of_sizes(problem: Problem) -> float | None:
    """The common step of everything that takes memory, where it is coarse; all peaks are multiples of it."""
    sizes = [(v.parameters, v.activation, v.held, v.activation - v.held) for v in problem.choices]
    step = common_step(np.concatenate([size for own in sizes for size in own]))
    largest = max(float(size.max()) for own in sizes for size in own)
    return step if step is not None and step > FINE * largest else None


def _between(low: float, high: float, step: float | None) -> float | None:
    """A cap to try between one that is too small and one that is enough; None if none is left."""
    if step is None:
        return (low + high) / 2 if high - low > FINE * high else None
    cap = step * round((low + high) / 2 / step - 0.25)
    cap = max(cap, low + step)
    return cap if cap < high / WITHIN else None
