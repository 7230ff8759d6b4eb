"""Steps of very many tasks: a short step with the same operators, and a part of it that is repeated.

Such a step is never laid out in full, in memory or in a file. What holds for any number of repetitions is argued in
``planner.verification.repeated``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from planner.plan.plan import DeviceFigures, PlanRepetition
from planner.problem import Problem, ProblemError
from planner.scheduling.classes import Classes, Floats, build_classes
from planner.scheduling.steady_state import (
    PERIODS,
    Pattern,
    classes_and_starts,
    copies_at_work,
    find_pattern,
    is_pattern,
    stretched,
    tolerance,
)
from planner.timetable.figures import Figures, figures, ratio
from planner.timetable.period import busy_seconds
from planner.timetable.timetable import Timetable

IN_FULL = 200_000
"""Tasks up to which a step is planned in full. Of twice as many, replays and checks take most of a short time limit."""

IN_FULL_AT_MOST = 1_200_000
"""Tasks up to which a step is planned in full if it has too few microbatches for a part to be repeated."""

SHORT, SHORT_AT_MOST = 60_000, 400_000
"""Tasks of the short step, as a rule and at most."""

PER_DEVICE = (8, 4, 2)
"""Microbatches of the short step for each device: the first number that keeps it within ``SHORT``, else the last."""

FEWEST = 24
"""Microbatches of the short step, at least."""

COPIES = 4
"""Copies up to which the short step takes any number of them into account."""


def short_step(whole: Problem) -> Problem | None:
    """The short step to plan in place of a step of very many tasks; None where that is planned in full.

    Any part of it that a pattern can be (one to four microbatches of each copy) makes up the difference. Raises
    ``ProblemError`` for a step that is too large either way.
    """
    if fits_in_full(whole):
        return None
    each = int(whole.has_pass.sum())
    tasks = each * whole.microbatches
    copies = range(1, min(COPIES, max(2, whole.copies)) + 1)
    unit = int(np.lcm.reduce(PERIODS)) * int(np.lcm.reduce(copies))
    least = 0
    for per_device in PER_DEVICE:
        few = max(FEWEST, per_device * whole.n_devices)
        few += (whole.microbatches - few) % unit
        least = few * each
        enough = SHORT if per_device > PER_DEVICE[-1] else SHORT_AT_MOST
        if least <= enough and few + unit <= whole.microbatches:
            return whole.with_microbatches(few)
    if tasks <= IN_FULL_AT_MOST:
        return None
    raise ProblemError(
        f"the step has {tasks:,} tasks ({each:,} of each of {whole.microbatches:,} microbatches). Up to "
        f"{IN_FULL_AT_MOST:,} are planned in full; of more, a short step is planned and a part of it repeated, but on "
        f"{whole.n_devices:,} devices the short step would have {least:,} tasks, and {SHORT_AT_MOST:,} is the most: "
        "lower repeat in the graph, count in the cluster or --microbatches"
    )


def fits_in_full(problem: Problem) -> bool:
    """Whether a step has few enough tasks to be planned in full."""
    return int(problem.has_pass.sum()) * problem.microbatches <= IN_FULL


@dataclass(frozen=True)
class Repetition:
    """A schedule of the short step, and the part of it that is repeated for all microbatches of the whole step."""

    whole: Problem
    short: Problem
    timetable: Timetable  # of the short step
    part: PlanRepetition

    @cached_property
    def makespan(self) -> float:
        """Seconds of the whole step."""
        return self.timetable.makespan(self.short) + self.part.times * self.part.length

    @cached_property
    def _classes_and_starts(self) -> tuple[Classes, Floats]:
        return classes_and_starts(self.short, self.timetable)

    @property
    def _pattern(self) -> Pattern:
        return Pattern(self.part.start, self.part.length, self.part.microbatches // self._copies)

    @property
    def _copies(self) -> int:
        return len(set(self.timetable.copy_of))

    def in_full(self, times: int) -> tuple[Problem, Timetable]:
        """The step with the part repeated so many times."""
        classes, start = self._classes_and_starts
        pattern = self._pattern
        counts = tuple(count and count + times * pattern.each for count in classes.counts)
        longer = self.short.with_microbatches(sum(counts))
        many = build_classes(longer, self.timetable.placement, counts)
        return longer, many.timetable(stretched(start, pattern, times))

    def figures(self) -> Figures:
        """The figures of the whole step, from steps with no repetition and with some of them."""
        few = self._enough
        short, (problem, longer) = figures(self.short, self.timetable), self.in_full(few)
        long = figures(problem, longer)
        rows = []
        for a, b in zip(short.devices, long.devices, strict=True):
            busy = a.busy + (b.busy - a.busy) / few * self.part.times
            span_bubble = a.span_bubble + (b.span_bubble - a.span_bubble) / few * self.part.times
            rows.append(
                DeviceFigures(
                    name=a.name,
                    busy=busy,
                    bubble=max(0.0, self.makespan - busy),
                    span_bubble=max(0.0, span_bubble),
                    peak_memory=b.peak_memory,
                    peak_memory_at=self._later(b.peak_memory_at, few),
                    memory=a.memory,
                )
            )
        placed = self.timetable.placement.device_of
        running = {d for copy in set(self.timetable.copy_of) for d in placed[copy]}
        working = [row for d, row in enumerate(rows) if d in running]
        return Figures(
            makespan=self.makespan,
            bubble_ratio=ratio([row.bubble for row in working], self.makespan),
            bubble_ratio_all=ratio([row.bubble for row in rows], self.makespan),
            span_bubble_ratio=ratio([row.span_bubble for row in working], self.makespan),
            peak_memory=long.peak_memory,
            fits=long.fits,
            devices=tuple(rows),
        )

    def period(self) -> float:
        """Seconds a microbatch of the busiest stream or channel of the whole step."""
        short, long = busy_seconds(self.short, self.timetable), busy_seconds(*self.in_full(1))
        grown = [short[key] + (long[key] - short[key]) * self.part.times for key in long]
        return max(grown, default=0.0) / self.whole.microbatches

    @cached_property
    def _enough(self) -> int:
        """Repetitions that stand for any larger number (see ``planner.verification.repeated``)."""
        classes, start = self._classes_and_starts
        before = (start < self.part.start).sum(axis=1)
        each = ~classes.once
        apart = max(int(np.ptp(before[each & (classes.copy == copy)])) for copy in set(self.timetable.copy_of))
        return min(self.part.times, 3 * -(-apart // self._pattern.each) + 4)

    def _later(self, instant: float, times: int) -> float:
        """The instant of the whole step with the same state as an instant of the step with so many repetitions."""
        turn = (instant - self.part.start) // self.part.length
        after = turn > times - (times - 4) // 3 - 1
        return instant + (self.part.times - times) * self.part.length if after else instant


def repetition_of(whole: Problem, short: Problem, timetable: Timetable) -> Repetition | None:
    """The whole step from a schedule of the short one; None where no part of that can be repeated."""
    classes, start = classes_and_starts(short, timetable)
    pattern = find_pattern(classes, start, 1.0)
    return None if pattern is None else repeat_pattern(whole, short, timetable, pattern)


def repeat_pattern(whole: Problem, short: Problem, timetable: Timetable, pattern: Pattern) -> Repetition | None:
    """The same for a pattern of the timetable that can be repeated; None where it does not fill up the whole step."""
    classes, start = classes_and_starts(short, timetable)
    added = pattern.each * copies_at_work(classes)
    times, rest = divmod(whole.microbatches - short.microbatches, added)
    begin = _between_starts(start, pattern)
    if begin is None:  # no instant before the first start is left, and the rounding of the next pattern's is in the way
        pattern = replace(pattern, begin=pattern.begin + pattern.length)
        begin = _between_starts(start, pattern) if is_pattern(classes, start, pattern, 1.0) else None
    if rest or times < 1 or begin is None:
        return None
    part = PlanRepetition(times, begin, pattern.length, added)
    # Microbatches of a copy in the order of their starts, and those of copy 0 first: identical ones change places.
    return Repetition(whole, short, classes.timetable(start), part)


def _between_starts(start: Floats, pattern: Pattern) -> float | None:
    """An instant for the part to begin at which is no start, and no start one length later, to any rounding."""
    same, end = tolerance(start), pattern.begin + pattern.length
    before, after = start < pattern.begin - same, start >= end - same
    within = ~before & ~after & ~np.isnan(start)
    low = max(start[before].max(initial=-1.0), start[within].max() - pattern.length)
    high = min(start[within].min(), start[after].min(initial=np.inf) - pattern.length)
    begin = max(0.0, (low + high) / 2)
    if not low < begin <= high:
        return None
    exact = (start < begin, start >= begin + pattern.length)
    return float(begin) if all((a == b).all() for a, b in zip(exact, (before, after), strict=True)) else None
