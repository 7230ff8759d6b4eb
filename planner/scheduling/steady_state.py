"""Steady-state patterns: a part of a schedule that can be repeated any number of times, so one solve serves every M.

A pattern is a pattern of time in which every class of every copy starts equally often, n times, and which can be run
twice in a row: everything that starts in it starts again one length later, and everything after it is that much later.
Tasks may straddle its ends. What comes once a step comes after it. One repetition is checked on the whole schedule
(inputs, streams, channels, memory). Then any number is possible, since a repetition only meets the one before and the
one after: every class runs in each of them on its stream, so no task lasts longer than the pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.plan.plan import PlanWindow
from planner.problem import Problem
from planner.scheduling.classes import Classes, Floats, Ints, build_classes
from planner.timetable.timetable import Timetable

PERIODS = (1, 2, 3, 4)
"""Starts of each class in a pattern: the numbers that are tried."""

CHECKED_AT_MOST = 60
"""Windows that are checked on the whole schedule, the quickest first."""

TASKS_CHECKED_AT_MOST = 500_000
"""Tasks checked in all patterns together, so that few patterns of a long step are checked."""

TOLERANCE = 1e-9
"""Instants this close (relative to the makespan) are one."""


@dataclass(frozen=True)
class Pattern:
    """It begins at ``begin``, lasts ``length`` (in the unit of the starts), and every class starts ``each`` times."""

    begin: float
    length: float
    each: int


def find_pattern(classes: Classes, start: Floats, unit: float) -> Pattern | None:
    """The pattern with the quickest pace, of those the shortest; None where there is none of up to four starts.

    ``start``: shaped (classes, largest count), in multiples of ``unit`` seconds, each row in order.
    """
    if not classes.n or start.shape[1] < 2:
        return None
    same = tolerance(start)
    longest = int(np.argmax(np.where(classes.once, -1.0, classes.seconds)))
    guide = start[longest, : classes.count[longest]]
    each = np.repeat(PERIODS, [max(0, len(guide) - period) for period in PERIODS])
    first = np.concatenate([np.arange(max(0, len(guide) - period)) for period in PERIODS])
    begin, length = guide[first], guide[first + each] - guide[first]
    pace = np.round(length / each / same) if same else np.zeros(len(each))
    # The steady state is in the middle of a schedule: patterns there come first.
    off_middle = np.abs(2 * first + each - len(guide))
    good = np.flatnonzero((length > same) & _are_even(classes, start, begin, length, each, same))
    most = min(CHECKED_AT_MOST, max(1, TASKS_CHECKED_AT_MOST // start.size))
    for k in good[np.lexsort((off_middle[good], each[good], pace[good]))][:most]:
        pattern = Pattern(float(begin[k]), float(length[k]), int(each[k]))
        if fits(classes, stretched(start, pattern, 1, same), unit, same):
            return _earliest(classes, start, guide, int(first[k]), pattern, same)
    return None


def is_pattern(classes: Classes, start: Floats, pattern: Pattern, unit: float) -> bool:
    """Whether the schedule can be stretched by running ``pattern`` again."""
    same = tolerance(start)
    return _is_even(classes, start, pattern, same) and fits(classes, stretched(start, pattern, 1, same), unit, same)


def tolerance(start: Floats) -> float:
    """By how much two instants of a schedule may differ that are meant to be one."""
    return TOLERANCE * max(0.0, float(np.nanmax(start)))


def _is_even(classes: Classes, start: Floats, pattern: Pattern, same: float) -> bool:
    begin, length, each = np.array([pattern.begin]), np.array([pattern.length]), np.array([pattern.each])
    return bool(_are_even(classes, start, begin, length, each, same)[0])


def _are_even(
    classes: Classes, start: Floats, begin: Floats, length: Floats, each: Ints, same: float
) -> npt.NDArray[np.bool_]:
    """``[pattern]``: whether every class starts ``each`` times in it, but what comes once, which starts after it."""
    even: npt.NDArray[np.bool_] = begin + length - same <= start[classes.once].min(
        initial=np.inf, where=~np.isnan(start[classes.once])
    )
    for row in start[~classes.once]:
        even &= np.searchsorted(row, begin + length - same) - np.searchsorted(row, begin - same) == each
    return even


def _earliest(classes: Classes, start: Floats, guide: Floats, first: int, pattern: Pattern, same: float) -> Pattern:
    """The first of the equal patterns that directly precede this one: repeated there, it gives the same schedule.

    ``first``: of the starts of the guide, the one at which the pattern begins.
    """
    times = first // pattern.each
    for row in start[~classes.once]:
        k = int(np.searchsorted(row, pattern.begin - same))
        back = np.arange(k)[::-1]
        again = -((back - k) // pattern.each)  # patterns between a start and the one that it must be equal to
        differs = np.abs(row[back + again * pattern.each] - again * pattern.length - row[back]) > same
        times = min(times, int(np.argmax(np.append(differs, True))) // pattern.each)
    earlier = Pattern(float(guide[first - times * pattern.each]), pattern.length, pattern.each)
    return earlier if _is_even(classes, start, earlier, same) else pattern


def stretched(start: Floats, pattern: Pattern, times: int, same: float = 0.0) -> Floats:
    """Starts with the pattern run ``times`` times more."""
    before = start < pattern.begin - same
    after = start >= pattern.begin + pattern.length - same
    within = ~before & ~after & ~np.isnan(start)
    n, width = start.shape
    longer = np.full((n, width + times * pattern.each), np.nan)
    for a in range(n):
        again = [start[a, within[a]] + i * pattern.length for i in range(times + 1)]
        row = np.concatenate([start[a, before[a]], *again, start[a, after[a]] + times * pattern.length])
        longer[a, : len(row)] = row
    return longer


def fits(classes: Classes, start: Floats, unit: float, same: float) -> bool:
    """Whether starts, of as many microbatches as there are, respect inputs, streams, channels and memory."""
    ends = start + (classes.seconds / unit)[:, None]
    after, before = _pairs(classes.preds)
    apart = classes.once[after] & ~classes.once[before]
    if (start[after[~apart]] < ends[before[~apart]] - same).any():
        return False
    if apart.any() and (start[after[apart], 0] < np.nanmax(ends[before[apart]], axis=1) - same).any():
        return False
    user, used = _pairs(classes.resources)
    resource = np.repeat(used, start.shape[1])
    begins, lasts_until = start[user].ravel(), ends[user].ravel()
    order = np.lexsort((lasts_until, begins, resource))
    one_resource = resource[order][1:] == resource[order][:-1]
    if (one_resource & (begins[order][1:] < lasts_until[order][:-1] - same)).any():
        return False
    return all(_memory_fits(classes, d, start, ends, same) for d in range(classes.problem.n_devices))


def _pairs(lists: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """(row, entry) of all entries of lists."""
    row = np.repeat(np.arange(len(lists)), [len(entries) for entries in lists])
    return row, np.array([entry for entries in lists for entry in entries], dtype=np.int64)


def _memory_fits(classes: Classes, device: int, start: Floats, ends: Floats, same: float) -> bool:
    holds = [h for h in classes.holds if h.device == device]
    room = float(classes.available[device])
    if not holds or not np.isfinite(room):
        return True
    instants: list[Floats] = []
    sizes: list[Floats] = []
    for hold in holds:
        count = int(classes.count[hold.alloc]) + start.shape[1] - int(classes.count.max())
        free = ends[list(hold.releases), :count].max(axis=0)
        instants += [start[hold.alloc, :count], free - same]  # what is released at an instant is free at it
        sizes += [np.full(count, hold.size), np.full(count, -hold.size)]
    size = np.concatenate(sizes)
    return bool(size[np.lexsort((size, np.concatenate(instants)))].cumsum().max() <= room)


# -- patterns of plans -----------------------------------------------------------------------------------------


def pattern_of(problem: Problem, timetable: Timetable) -> PlanWindow | None:
    """The steady-state pattern of a timetable, in seconds; None where it has none."""
    classes, start = classes_and_starts(problem, timetable)
    pattern = find_pattern(classes, start, 1.0)
    if pattern is None:
        return None
    return PlanWindow(pattern.begin, pattern.length, pattern.each * copies_at_work(classes))


def classes_and_starts(problem: Problem, timetable: Timetable) -> tuple[Classes, Floats]:
    """The classes of a timetable, with its numbers of microbatches for each copy, and their starts in seconds."""
    copies = range(timetable.placement.copies)
    classes = build_classes(problem, timetable.placement, tuple(timetable.copy_of.count(copy) for copy in copies))
    start = classes.starts_of(timetable)
    assert start is not None, "the classes are those of the timetable"
    return classes, start


def copies_at_work(classes: Classes) -> int:
    """Copies that run a microbatch."""
    return sum(count > 0 for count in classes.counts)
