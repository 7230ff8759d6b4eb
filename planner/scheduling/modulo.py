"""Modulo scheduling: one microbatch laid out so that the same layout may begin again every period.

Where memory holds few microbatches, a step is as long as microbatches take from their first pass to their last,
divided by how many are in flight. List scheduling, which decides from event to event, then runs microbatches in bunches
and never settles. Here a period is chosen first, as compilers do for loops (Rau, "Iterative Modulo Scheduling", 1994):
every class starts as early as its inputs allow at an instant at which its streams and channels are idle *modulo the
period*, and what a device holds modulo the period must fit. The least period for which that succeeds is used. A step
of any length follows without more work: the k-th start of a class is k periods after its first.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass

import numpy as np

from planner.scheduling.classes import Classes, Floats

FINER = 1.04
"""Each period that is tried is so many times the one before."""

ROUNDING = 1e-9
"""Relative to the period: overlaps as short as this are rounding."""


@dataclass(frozen=True)
class ModuloSchedule:
    """Offsets of all classes (seconds from the start of their microbatch) and the period of every copy (seconds)."""

    offset: Floats
    period: float

    def starts(self, classes: Classes) -> Floats:
        """Starts in seconds, shaped (classes, largest count): a valid schedule of any number of microbatches."""
        k = np.arange(int(classes.count.max()))
        start = self.offset[:, None] + self.period * k[None, :]
        return np.where(k[None, :] < classes.count[:, None], start, np.nan)

    def makespan(self, classes: Classes) -> float:
        """Seconds of the whole step."""
        return float(np.max(self.offset + self.period * (classes.count - 1) + classes.seconds))


def first_period(classes: Classes) -> float:
    """The shortest period that is tried, in seconds: what the busiest stream or channel, and memory, need.

    Memory as if every class started as early as its inputs allow: a device holds on average bytes x seconds held /
    period (Little's law). That is no bound of other schedules, which may start a forward later.
    """
    return max(_busiest(classes), _memory_period(classes))


def is_bound_by_memory(classes: Classes, by: float = 1.25) -> bool:
    """Whether memory, and not work, decides how fast microbatches can follow each other, ``by`` so many times."""
    return _memory_period(classes) > by * _busiest(classes)


def _busiest(classes: Classes) -> float:
    load = np.zeros(classes.n_resources)
    for a in np.flatnonzero(~classes.once).tolist():
        load[list(classes.resources[a])] += classes.seconds[a]
    return float(load.max(initial=0.0))


def _memory_period(classes: Classes) -> float:
    held = np.zeros(classes.problem.n_devices)
    for hold in classes.holds:
        until = max(classes.head[a] + classes.seconds[a] for a in hold.releases)
        held[hold.device] += hold.size * max(classes.seconds[hold.alloc], until - classes.head[hold.alloc])
    room = classes.available
    capped = np.isfinite(room) & (room > 0)
    return float((held[capped] / room[capped]).max(initial=0.0))


def modulo_schedule(classes: Classes, tries: int) -> ModuloSchedule | None:
    """The modulo schedule of the least period of some ``tries``; None where none of them has one."""
    period = first_period(classes)
    longest = float((classes.head + classes.seconds)[~classes.once].max(initial=0.0))
    for _ in range(tries):
        offset = _laid_out(classes, period)
        if offset is not None and _memory_fits(classes, offset, period):
            return ModuloSchedule(offset, period)
        if period > (1 + len(classes.counts)) * longest:
            return None  # microbatches hardly meet: a longer period changes nothing
        period *= FINER
    return None


def _laid_out(classes: Classes, period: float) -> Floats | None:
    """Offsets of all classes, in topological order, weight gradients last; None where a resource has no room.

    The copies begin evenly spread over a period, so that they take their memory one after another.
    """
    busy: list[list[tuple[float, float]]] = [[] for _ in range(classes.n_resources)]
    offset = np.zeros(classes.n)
    end = np.zeros(classes.n)
    first = classes.copy * (period / len(classes.counts))
    every = [a for a in classes.topological if not classes.once[a]]
    order = sorted(every, key=lambda a: classes.pass_[a] == 2 and classes.target[a] < 0)
    for a in order:
        seconds = float(classes.seconds[a])
        earliest = max((float(end[b]) for b in classes.preds[a]), default=first[a])
        begin = _first_idle([busy[r] for r in classes.resources[a]], earliest, seconds, period)
        if begin is None:
            return None
        offset[a], end[a] = begin, begin + seconds
        for r in classes.resources[a]:
            _occupy(busy[r], begin % period, seconds, period)
    _end(classes, offset, period)
    return offset


def _end(classes: Classes, offset: Floats, period: float) -> None:
    """Offsets of what comes once: one after the other, when all microbatches have left its streams and channels."""
    ends = offset + period * (classes.count - 1) + classes.seconds
    free = np.zeros(classes.n_resources)
    for a in np.flatnonzero(~classes.once).tolist():
        for r in classes.resources[a]:
            free[r] = max(free[r], ends[a])
    for a in sorted((a for a in classes.topological if classes.once[a]), key=lambda a: classes.pass_[a]):
        used = list(classes.resources[a])
        offset[a] = max([free[used].max(), *(ends[b] for b in classes.preds[a])])
        ends[a] = free[used] = offset[a] + classes.seconds[a]


def _first_idle(busy: list[list[tuple[float, float]]], earliest: float, seconds: float, period: float) -> float | None:
    """The first instant from ``earliest`` on at which all resources are idle for so long, modulo the period."""
    same = ROUNDING * period
    if seconds > period + same:
        return None
    begin, waited, settled = earliest, 0.0, 0
    while settled < len(busy):
        for intervals in busy:
            wait = _wait(intervals, begin % period, seconds, period, same)
            if wait > 0:
                begin, settled = begin + wait, 0
                waited += wait
                if waited > period + same:
                    return None
            else:
                settled += 1
    return begin


def _wait(intervals: list[tuple[float, float]], at: float, seconds: float, period: float, same: float) -> float:
    """How long one resource with these busy intervals in [0, period) must be waited for, at an instant of it."""
    if not intervals or seconds <= same:
        return 0.0
    k = bisect_right(intervals, (at + same, np.inf)) - 1
    if k >= 0 and intervals[k][1] > at + same:
        return intervals[k][1] - at
    following = intervals[(k + 1) % len(intervals)]
    begins = following[0] + (period if k + 1 == len(intervals) else 0.0)
    if begins >= at + seconds - same:
        return 0.0
    return begins - at + following[1] - following[0]


def _occupy(intervals: list[tuple[float, float]], at: float, seconds: float, period: float) -> None:
    if seconds <= 0:
        return
    if at + seconds <= period:
        insort(intervals, (at, at + seconds))
    else:
        insort(intervals, (at, period))
        insort(intervals, (0.0, at + seconds - period))


def _memory_fits(classes: Classes, offset: Floats, period: float) -> bool:
    """Whether what every device holds at any instant of the steady state fits; before and after it is less."""
    end = offset + classes.seconds
    for d in range(classes.problem.n_devices):
        room = float(classes.available[d])
        holds = [hold for hold in classes.holds if hold.device == d]
        if not holds or not np.isfinite(room):
            continue
        size = np.array([hold.size for hold in holds])
        begin = offset[[hold.alloc for hold in holds]]
        lasts = np.array([max(end[list(hold.releases)]) for hold in holds]) - begin
        whole = np.floor(lasts / period)
        until = (begin + lasts - whole * period) % period
        begin = begin % period
        # Held at instant 0: those whose last, broken part wraps around.
        wraps = (until < begin) & (lasts - whole * period > 0)
        level = float(size @ (whole + wraps))
        # What is released at an instant is free at it.
        instants = np.concatenate([begin, until - ROUNDING * period])
        change = np.concatenate([size, -size])
        peak = level + max(0.0, float(change[np.lexsort((change, instants))].cumsum().max()))
        if peak > room:
            return False
    return True
