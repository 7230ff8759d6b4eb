"""All that there is to say about a plan: where its time goes, what to speed up first, and what would help."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.events import Events
from planner.explain.again import Found, Searching, planned_again, reason_of, start_of
from planner.explain.changes import (
    CHANGES,
    MORE,
    MORE_CHUNKS,
    MORE_MEMORY,
    NO_CAP,
    SPLIT,
    Change,
    Useless,
    capped,
    flags_for,
    made,
    slowest_operator,
)
from planner.explain.levers import Speedup, replayed, speedups
from planner.explain.path import CriticalPath, path_of
from planner.objectives.options import NoPlan
from planner.plan.plan import Plan
from planner.problem import Impossible, Problem
from planner.report.causes import Cause, idle_times
from planner.report.words import cut_inside
from planner.simulate.baselines import plan_events

SHORTER = 1e-6
"""Makespans that differ by less, relatively, are the same."""

NAME_AT_MOST = 20
"""Characters of a name in a title."""

CAPS_TRIED = 5
"""Searches for the least memory that improves the plan."""


@dataclass(frozen=True)
class Tried:
    """A change and what it makes of the step.

    ``makespan`` and ``bound``: seconds of the step, of ``microbatches``; ``makespan`` is None where there is none, with
    the ``reason``. ``replayed``: it is the plan's order with other times, not a search. ``peak``: bytes of the fullest
    device. ``flags``: of ``solve``, for this problem in place of the plan's, where flags can say it.
    """

    key: str
    title: str
    microbatches: int
    makespan: float | None = None
    bound: float | None = None
    reason: str | None = None
    replayed: bool = False
    peak: float | None = None
    cut: bool = False  # whether the time limit ended the search
    flags: Sequence[str] = ()

    @property
    def per_microbatch(self) -> float | None:
        """Seconds a microbatch."""
        return None if self.makespan is None else self.makespan / self.microbatches


@dataclass(frozen=True)
class LeastMemory:
    """The least cap for which a shorter plan was found: ``factor`` times every cap, ``cap`` bytes on the largest.

    ``makespan``: of the plan found there, ``shorter_than`` that of the plan without it, both in seconds; ``more``:
    bytes more on the largest; ``without``: the largest factor tried for which none was found; ``flags``: of ``solve``,
    where flags can say the caps; ``peak``: bytes of its fullest device.
    """

    factor: float
    cap: float
    more: float
    makespan: float
    shorter_than: float
    without: float
    peak: float
    flags: Sequence[str] = ()


@dataclass(frozen=True)
class Explanation:
    """What makes a plan as long as it is.

    ``idle``: seconds by device name and cause. ``reference``: the plan's own problem planned again with ``effort``,
    which gains are measured from; None, as ``changes`` are empty, where nothing was searched. ``memory``: None where no
    more memory than there is was found to help.
    """

    plan: Plan
    path: CriticalPath
    idle: Mapping[str, Mapping[Cause, float]]
    speedups: Sequence[Speedup]
    balanced: Tried
    effort: int
    reference: Tried | None = None
    changes: Sequence[Tried] = ()
    memory: LeastMemory | None = None


def explain(
    plan: Plan, problem: Problem, searching: Searching, tell: Callable[[str], None] = lambda what: None
) -> Explanation:
    """Explain a plan that is valid for the problem and lists all of its tasks.

    With an effort of 0 nothing is planned again. ``tell`` hears what is done next. Raises ``NotReplayed`` where the
    plan's times do not follow from its order.
    """
    tell("critical path, idle times and replays")
    events = plan_events(plan, problem)
    path = path_of(events, plan.makespan)
    faster, balanced = speedups(events, path), _balanced(plan, events)
    idle = _idle(plan, events)
    if searching.effort < 1:
        return Explanation(plan, path, idle, faster, balanced, 0)
    tell("the same problem again")
    search = _Search(plan, problem, searching)
    reference = search.again()
    if plan.lower_bound is not None and reference.makespan is not None:  # it is of the same problem
        reference = replace(reference, bound=max(plan.lower_bound, reference.bound or 0.0))
    changes = []
    for change in CHANGES:
        tell(change.title)
        title, split = change.title, None
        try:
            changed = made(change, problem, plan)
            if change.key == SPLIT:
                split = slowest_operator(problem, plan)
                title += f" ({cut_inside(problem.operators[split].name, NAME_AT_MOST)})"
            elif change.key == MORE_CHUNKS:
                title += f" ({changed.chunks})"
        except Useless as reason:
            changes.append(Tried(change.key, title, problem.microbatches, reason=str(reason)))
            continue
        changes.append(search.tried(change, title, changed, split))
    lifted = next(tried for tried in changes if tried.key == NO_CAP)
    memory = None
    if lifted.makespan is not None and _shorter(lifted.makespan, _best(plan, reference)):
        memory = _least_memory(search, _best(plan, reference), lifted, tell)
        if memory is not None:
            changes = [no_worse(problem, tried, memory) for tried in changes]
    return Explanation(plan, path, idle, faster, balanced, searching.effort, reference, changes, memory)


def _best(plan: Plan, reference: Tried) -> float:
    return plan.makespan if reference.makespan is None else reference.makespan


def _shorter(makespan: float, other: float) -> bool:
    return makespan < other * (1 - SHORTER)


def _idle(plan: Plan, events: Events) -> dict[str, dict[Cause, float]]:
    found: dict[str, dict[Cause, float]] = {device.name: {} for device in plan.devices}
    for one in idle_times(events, plan.makespan):
        causes = found.setdefault(events.nodes.devices[one.device], {})
        causes[one.cause] = causes.get(one.cause, 0.0) + one.end - one.start
    return found


def _balanced(plan: Plan, events: Events) -> Tried:
    """The plan's order where every device that works needs the same time for its work; the bound is that time."""
    nodes, seconds = events.nodes, events.seconds
    compute = np.flatnonzero(~nodes.comm[: nodes.n_tasks])
    work = np.bincount(nodes.device[compute], weights=seconds[compute], minlength=len(nodes.devices))
    mean = float(work[work > 0].mean()) if (work > 0).any() else 0.0
    title = "perfect balance of work"
    if mean == 0.0 or float(np.ptp(work[work > 0])) <= SHORTER * mean:
        return Tried("balance_perfect", title, plan.microbatches, reason="the devices that work are balanced already")
    lengths = seconds.copy()
    lengths[compute] *= mean / work[nodes.device[compute]]
    makespan = float(replayed(events, [lengths])[0])
    return Tried("balance_perfect", title, plan.microbatches, makespan, mean, replayed=True)


class _Search:
    """Searches that start from the plan, and from the best that was found for its own problem."""

    def __init__(self, plan: Plan, problem: Problem, searching: Searching) -> None:
        self.plan, self.problem, self.searching = plan, problem, searching
        self.known = [plan]

    def found(self, changed: Problem, split: int | None = None, *, keeps_order: bool = True) -> Found | str:
        """What a search finds, or why it finds nothing."""
        starts = [start_of(each, self.problem, changed, split) for each in self.known] if keeps_order else []
        try:
            found = planned_again(changed, self.plan, [start for start in starts if start is not None], self.searching)
        except (Impossible, NoPlan) as error:
            return reason_of(error)
        return found

    def again(self) -> Tried:
        """The plan's own problem as a row; what is found is a start of the searches that follow."""
        found = self.found(self.problem)
        if isinstance(found, Found):
            self.known.append(found.plan)
        return self._row("planned_again", "planned again", self.problem, found)

    def tried(self, change: Change, title: str, changed: Problem, split: int | None) -> Tried:
        """A changed problem as a row; a plan with more memory is a start of the searches with more still."""
        found = self.found(changed, split, keeps_order=change.keeps_order)
        if change.key == MORE_MEMORY and isinstance(found, Found):
            self.known.append(found.plan)
        return self._row(change.key, title, changed, found)

    def _row(self, key: str, title: str, changed: Problem, found: Found | str) -> Tried:
        count, flags = changed.microbatches, flags_for(self.problem, changed)
        if isinstance(found, str):
            return Tried(key, title, count, reason=found, flags=flags)
        made = found.plan
        return Tried(key, title, count, made.makespan, made.lower_bound, peak=found.peak, cut=found.cut, flags=flags)


def no_worse(problem: Problem, tried: Tried, memory: LeastMemory) -> Tried:
    """A row with more memory; the plan with the least that helps fits there too, where no cap is lower."""
    caps = problem.cap[np.isfinite(problem.cap)]
    there = {MORE_MEMORY: caps + MORE, NO_CAP: np.full(len(caps), math.inf)}.get(tried.key)
    if there is None or tried.makespan is None or (caps * memory.factor > there).any():
        return tried
    if not _shorter(memory.makespan, tried.makespan):
        return tried
    return replace(tried, makespan=memory.makespan, peak=memory.peak)


def _least_memory(search: _Search, makespan: float, lifted: Tried, tell: Callable[[str], None]) -> LeastMemory | None:
    """Bisect the factor of all caps between 1 and what the plan without caps takes; each cap is searched."""
    problem, caps = search.problem, search.problem.cap
    largest = float(caps[np.isfinite(caps)].max())
    assert lifted.peak is not None and lifted.makespan is not None
    low, high = 1.0, max(lifted.peak / float(caps.min()), 1.0)
    best: LeastMemory | None = None
    for _ in range(CAPS_TRIED):
        factor = high if best is None else math.sqrt(low * high)
        tell(f"caps times {factor:.3g}")
        changed = capped(problem, (caps * factor).tolist())
        found = search.found(changed)
        if isinstance(found, Found) and _shorter(found.plan.makespan, makespan):
            cap, flags = largest * factor, flags_for(problem, changed)
            best = LeastMemory(factor, cap, cap - largest, found.plan.makespan, makespan, low, found.peak, flags)
            high = factor
        elif best is None:
            return None
        else:
            low = factor
            best = replace(best, without=low)
    return best
