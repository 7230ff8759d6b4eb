"""Modulo scheduling: all microbatches alike, each one length after the one before (Rau, "Iterative Modulo Scheduling",
1994).

A length is tried: every class, inputs first, starts as early as its streams and channels are free for it again and
again in every length. Where some class finds no such time, or memory does not hold what is then in flight, a longer
one is tried. In a length that holds all passes of a microbatch one after another there is always a time. List
schedules of long steps may have no steady state: in inference, devices before the slowest one run ahead of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from planner.problem import Placement, Problem
from planner.scheduling.classes import Classes, Floats, build_classes, split_microbatches
from planner.scheduling.steady_state import fits, tolerance
from planner.timetable.timetable import Timetable

LONGER = (1.0, 1.005, 1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Lengths that are tried, relative to the work of the busiest stream or channel."""


def modulo_timetable(problem: Problem, placement: Placement) -> Timetable | None:
    """The timetable of the shortest length that is found; None where microbatches are too few to be in flight at once.

    Copies run equally many microbatches, or the first ones one more.
    """
    counts = split_microbatches(problem.microbatches, placement.copies)
    classes = build_classes(problem, placement, counts)
    number = np.arange(max(counts))
    for length in _lengths(classes):
        first = _first_starts(classes, length)
        if first is None or np.ptp(first) + 2 * length > len(number) * length:
            continue
        start = first[:, None] + number * length
        start[number >= classes.count[:, None]] = np.nan
        if fits(classes, start, 1.0, tolerance(start)):
            return classes.timetable(start)
    return None


def _lengths(classes: Classes) -> Iterator[float]:
    load = np.zeros(classes.n_resources)
    for a, used in enumerate(classes.resources):
        load[list(used)] += classes.seconds[a]
    for longer in LONGER:
        yield float(load.max()) * longer
    yield math.fsum(classes.seconds.tolist())


def _first_starts(classes: Classes, length: float) -> Floats | None:
    """The start of the first microbatch of every class; None where some class finds no time."""
    first = np.zeros(classes.n)
    taken: list[list[tuple[float, float]]] = [[] for _ in range(classes.n_resources)]  # from 0 to length: start, end
    slack = 1e-12 * length
    for a in classes.topological:
        ready = max((first[b] + classes.seconds[b] for b in classes.preds[a]), default=0.0)
        lasts, used = float(classes.seconds[a]), classes.resources[a]
        ends = [end for r in used for _, end in taken[r]]
        tries = sorted({ready, *(ready + (end - ready) % length for end in ends)})
        at = next((t for t in tries if all(_free(taken[r], t % length, lasts, length, slack) for r in used)), None)
        if at is None:
            return None
        first[a] = at
        for r in used:
            taken[r].append((at % length, at % length + lasts))
    return first


def _free(taken: list[tuple[float, float]], begin: float, lasts: float, length: float, slack: float) -> bool:
    """Whether nothing else runs from ``begin`` on for so long, in every length."""
    if lasts > length + slack:
        return False
    end = begin + lasts
    return all(
        end <= a + turn + slack or begin >= b + turn - slack for a, b in taken for turn in (-length, 0.0, length)
    )
