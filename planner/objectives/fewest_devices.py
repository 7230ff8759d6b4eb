"""The fewest devices for a given makespan or period.

Sets of devices are tried by their size. Devices of one class are alike, so a set is a number of devices of each class.
Sets that the bounds prove too slow are skipped. A search without success proves nothing; the next larger size follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from planner.common.budget import Control
from planner.problem import Impossible, Problem
from planner.problem.subset import subset
from planner.search.incumbent import Candidate
from planner.timetable.timetable import Timetable

COUNTS_AT_MOST = 1e5
SETS_AT_MOST = 200
"""Sets of one size; where there are more, only the fastest are tried and nothing is proven."""


@dataclass(frozen=True)
class Fewest:
    """A schedule on few devices, their number, and a proven lower bound of that number."""

    best: Candidate
    devices: int
    bound: int


def fewest_devices(
    problem: Problem,
    slow: Callable[[Problem], bool],
    search: Callable[[Problem, Control], Candidate | None],
    control: Control,
) -> Fewest | None:
    """Look for a schedule on the fewest devices; None if none was found in time.

    ``slow`` says whether a problem is proven to take too long; ``search`` looks for a schedule that does not. Either
    may raise ``Impossible``.
    """
    proven = 1
    for size in range(1, problem.n_devices + 1):
        sets, all_of_them = _sets(problem, size)
        excluded = all_of_them
        for k, devices in enumerate(sets):
            if control.over:
                return None
            control.report(f"whether {size} of {problem.n_devices} devices are enough")
            try:
                smaller = subset(problem, devices)
                if slow(smaller):
                    continue
                found = search(smaller, control.rest(0.5 if k == 0 else 0.25))
            except Impossible:
                continue
            if found is not None:
                best = replace(found, timetable=lifted(found.timetable, devices), baseline=False)
                return Fewest(best, size, min(proven, size))
            excluded = False
        if excluded and proven == size:
            proven = size + 1
    return None


def _sets(problem: Problem, size: int) -> tuple[list[tuple[int, ...]], bool]:
    """Sets of so many devices, the fastest first, and whether these are all."""
    most = [len(members) for members in problem.device_classes]
    few = float(np.prod([m + 1.0 for m in most])) <= COUNTS_AT_MOST
    every = list(_counts(most, size)) if few else [_of_the_first(most, size)]
    kept = np.where(problem.runs_on[:, None, :], problem.duration, np.nan).sum(axis=1)
    speed = [
        float(np.nansum(np.nanmin(kept, axis=1)) / max(np.nansum(kept[:, members[0]]), 1e-300))
        for members in problem.device_classes
    ]
    every.sort(key=lambda counts: -sum(n * s for n, s in zip(counts, speed, strict=True)))
    sets = [
        tuple(sorted(d for n, members in zip(counts, problem.device_classes, strict=True) for d in members[:n]))
        for counts in every[:SETS_AT_MOST]
    ]
    return sets, few and len(every) <= SETS_AT_MOST


def _counts(most: list[int], size: int) -> Iterator[tuple[int, ...]]:
    """Numbers of devices of each class that sum to ``size``."""
    return (counts for counts in product(*(range(m + 1) for m in most)) if sum(counts) == size)


def _of_the_first(most: list[int], size: int) -> tuple[int, ...]:
    """So many devices of the first classes."""
    before = [sum(most[:k]) for k in range(len(most))]
    return tuple(max(0, min(m, size - b)) for m, b in zip(most, before, strict=True))


def lifted(timetable: Timetable, devices: tuple[int, ...]) -> Timetable:
    """A timetable on some devices (of ``subset``) as one of the whole cluster."""
    placed = tuple(tuple(devices[d] for d in copy) for copy in timetable.placement.device_of)
    origin = f"{timetable.placement.origin} on {len(devices)} devices"
    transfers = tuple(t._replace(source=devices[t.source], target=devices[t.target]) for t in timetable.transfers)
    exchanges = tuple(x._replace(source=devices[x.source], target=devices[x.target]) for x in timetable.exchanges)
    placement = replace(timetable.placement, device_of=placed, origin=origin)
    return replace(timetable, placement=placement, transfers=transfers, exchanges=exchanges)
