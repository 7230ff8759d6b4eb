"""Repeatable windows: the part of a schedule that may be run any number of times, so one solve serves every M.

A window of a schedule is a stretch of time in which every class of every copy starts equally often, n times, and
which can be run twice in a row: everything that starts in it again, one length later, and all that follows it, too.
Tasks may straddle its ends. That it can be repeated once is checked on the whole schedule (inputs, streams, channels,
memory); then it can be repeated as often as one likes, since what is repeated only meets the repetition before and
after it: on its stream every class runs in each of them, so no task lasts longer than the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.schedule.classes import Classes, Floats

PERIODS = (1, 2, 3, 4)
"""Starts of each class in a window that are looked for."""

CHECKED_AT_MOST = 60
"""Windows that are checked on the whole schedule, the quickest first."""

TOLERANCE = 1e-9
"""Instants this close (relative to the makespan) are one."""


@dataclass(frozen=True)
class Window:
    """It begins at ``begin``, lasts ``length`` (in the unit of the starts), and every class starts ``each`` times."""

    begin: float
    length: float
    each: int


def find_window(classes: Classes, start: Floats, unit: float) -> Window | None:
    """The window with the quickest pace, of those the shortest; None where there is none of up to four starts.

    ``start``: shaped (classes, largest count), in multiples of ``unit`` seconds.
    """
    counts = set(classes.counts)
    if len(counts) != 1 or classes.counts[0] < 2 or not classes.n:
        return None
    same = TOLERANCE * float(np.nanmax(start)) if np.nanmax(start) > 0 else 0.0
    guide = start[int(np.argmax(classes.seconds)), : classes.counts[0]]
    found = [
        Window(float(guide[k]), float(guide[k + each] - guide[k]), each)
        for each in PERIODS
        for k in range(len(guide) - each)
    ]
    found.sort(key=lambda w: (round(w.length / w.each / max(same, 1e-300)) if same else 0, w.each, w.begin))
    checked = 0
    for window in found:
        if window.length > same and _is_even(start, window, same):
            checked += 1
            if fits(classes, stretched(start, window, 1, same), unit, same):
                return window
            if checked == CHECKED_AT_MOST:
                break
    return None


def _is_even(start: Floats, window: Window, same: float) -> bool:
    """Whether every class starts equally often in the window."""
    inside = (start >= window.begin - same) & (start < window.begin + window.length - same)
    return bool((inside.sum(axis=1) == window.each).all())


def stretched(start: Floats, window: Window, times: int, same: float = 0.0) -> Floats:
    """Starts with the window run ``times`` times more."""
    before = start < window.begin - same
    after = start >= window.begin + window.length - same
    within = ~before & ~after & ~np.isnan(start)
    n, width = start.shape
    longer = np.full((n, width + times * window.each), np.nan)
    for a in range(n):
        again = [start[a, within[a]] + i * window.length for i in range(times + 1)]
        row = np.concatenate([start[a, before[a]], *again, start[a, after[a]] + times * window.length])
        longer[a, : len(row)] = row
    return longer


def fits(classes: Classes, start: Floats, unit: float, same: float) -> bool:
    """Whether starts, of as many microbatches as there are, respect inputs, streams, channels and memory."""
    ticks = classes.seconds / unit
    count = start.shape[1]
    if np.isnan(start).any():
        return False
    for a in range(classes.n):
        for b in classes.preds[a]:
            if (start[a] < start[b] + ticks[b] - same).any():
                return False
    on: list[list[int]] = [[] for _ in range(classes.n_resources)]
    for a, resources in enumerate(classes.resources):
        for r in resources:
            on[r].append(a)
    for here in on:
        begins = start[here].ravel()
        lasts = np.repeat(ticks[here], count)
        order = np.lexsort((lasts, begins))
        if (begins[order][1:] < (begins + lasts)[order][:-1] - same).any():
            return False
    return all(_memory_fits(classes, d, start, ticks, same) for d in range(classes.problem.n_devices))


def _memory_fits(classes: Classes, device: int, start: Floats, ticks: Floats, same: float) -> bool:
    holds = [h for h in classes.holds if h.device == device]
    room = float(classes.available[device])
    if not holds or not np.isfinite(room):
        return True
    instants: list[Floats] = []
    sizes: list[Floats] = []
    for hold in holds:
        ends = np.max([start[a] + ticks[a] for a in hold.releases], axis=0)
        instants += [start[hold.alloc], ends - same]  # what is released at an instant is free at it
        sizes += [np.full(len(ends), hold.size), np.full(len(ends), -hold.size)]
    size = np.concatenate(sizes)
    return bool(size[np.lexsort((size, np.concatenate(instants)))].cumsum().max() <= room)


def repeats(microbatches: int, classes: Classes, window: Window) -> int | None:
    """How often the window has to be run again for so many microbatches; None where no number of times does."""
    more = microbatches - sum(classes.counts)
    each = window.each * len(classes.counts)
    return more // each if more >= 0 and more % each == 0 else None
