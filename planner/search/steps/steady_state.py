"""Many microbatches: schedules a few of them, and repeats the steady-state pattern of that schedule.

The search runs on a problem with a few microbatches. It offers that schedule with its pattern repeated as often as the
whole problem needs. So the effort does not grow with the number of microbatches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from planner.baselines.replayed import BaselineTimetables
from planner.bounds import problem_bound
from planner.placement.versions import placements_in_versions
from planner.problem import Problem
from planner.scheduling.list.kernel import Run, run
from planner.scheduling.list.rules import RULES
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.scheduling.orders.anneal import Orders
from planner.scheduling.steady_state import PERIODS, Pattern, find_pattern, tolerance
from planner.search.state import SearchState
from planner.search.steps.modulo_schedules import MODULO

PATTERNS = "steady-state patterns"
"""Key of ``SearchState.rounds``: whether patterns have been tried."""


@dataclass(frozen=True)
class SteadyState:
    """Steady-state patterns of a few microbatches, repeated; once in a search.

    ``early``: only if that takes little time compared with a schedule of the whole step. Otherwise a schedule of the
    whole step is found soon, and is shorter.
    """

    early: bool = False

    @property
    def name(self) -> str:
        """Patterns, early or not."""
        return f"{PATTERNS}, early" if self.early else PATTERNS

    def supports(self, state: SearchState) -> bool:
        """Whether patterns have not been tried yet, and there are enough microbatches."""
        few = few_microbatches(state)
        if state.rounds[PATTERNS] or few is None:
            return False
        if self.early and state.rounds[MODULO]:
            return False  # memory binds: there is a schedule already, and rules hardly settle in a pattern
        brief = few * state.tasks_each <= state.params.schedule.many_tasks
        return not self.early or brief or state.tasks > state.params.steady_state.too_many

    def run(self, state: SearchState) -> None:
        """Schedule a few microbatches; find patterns, repeat and anneal them."""
        state.rounds[PATTERNS] += 1
        repeat(state)


@dataclass(frozen=True)
class _Found:
    """A schedule of few microbatches that can be stretched."""

    makespan: float  # seconds, with as many microbatches as the problem has
    search: ListSearch
    run: Run
    pattern: Pattern  # in ticks


def few_microbatches(state: SearchState) -> int | None:
    """How many microbatches to search with; None where the problem has too few to gain from that.

    The others are a multiple of what any pattern runs (one to four microbatches of each copy).
    """
    problem = state.problem
    per_round = int(np.lcm.reduce(PERIODS)) * int(np.lcm.reduce(np.arange(1, problem.copies + 1)))
    few = state.params.steady_state.few * problem.n_devices
    few += (problem.microbatches - few) % per_round
    worth_it = max(few + per_round, 2 * few) <= problem.microbatches
    worth_it &= state.tasks >= state.params.schedule.many_tasks
    return few if worth_it else None


def repeat(state: SearchState) -> None:
    """Offer schedules with patterns repeated; anneal the best patterns if a gap is left."""
    incumbent, params = state.incumbent, state.params.steady_state
    problem, control = incumbent.problem, incumbent.control
    few = few_microbatches(state)
    if few is None:
        return
    control.report(f"steady-state patterns, {few} microbatches")
    small = problem.with_microbatches(few)
    searches = list(_searches(state, small))
    found: list[_Found] = []
    for schedules in (_by_rules, _by_baselines(lambda: state.replay(small))):
        for search in searches:
            if not control.over:
                found += _stretchable(problem, search, schedules(search))
        found.sort(key=lambda f: f.makespan)
        _offer_best(state, found)
        if incumbent.met:
            return
    for each in found[: params.annealed]:
        if not incumbent.met:
            _anneal(state, each)


def _offer_best(state: SearchState, found: list[_Found]) -> None:
    for best in found[:1]:
        how = f"a steady-state pattern of placement {best.search.full.placement.origin}"
        _offer(state, best.search, _block(best), best.pattern.each, how)


def _searches(state: SearchState, problem: Problem) -> Iterator[ListSearch]:
    """Searches on the placements of the families; with mirrored copies also those that run both copies alike."""
    for placement in placements_in_versions(problem):
        try:
            search = ListSearch.of(problem, placement, state.seed, state.params.schedule)
        except DoesNotFit:
            continue
        half = search.mirror(state.seed)
        yield from (search,) if half is None else (half, search)


def _stretchable(problem: Problem, search: ListSearch, schedules: Iterable[Run]) -> list[_Found]:
    """The best of some schedules that have a pattern; empty where none has."""
    copies = search.full.placement.copies
    best: _Found | None = None
    for schedule in schedules:
        if schedule.makespan < 0:
            continue
        pattern = find_pattern(search.classes, schedule.start, search.classes.tick)
        if pattern is None:
            continue
        more = (problem.microbatches - search.full.problem.microbatches) / copies / pattern.each
        makespan = (schedule.makespan + more * pattern.length) * search.classes.tick
        if best is None or makespan < best.makespan:
            best = _Found(makespan, search, schedule, pattern)
    return [] if best is None else [best]


def _by_rules(search: ListSearch) -> Iterator[Run]:
    """List schedules by the known rules."""
    for rule in RULES:
        yield run(search.arrays, rule.keys(search.keying, search.scales), rule.look, reserve=rule.reserve)


def _by_baselines(replay: Callable[[], BaselineTimetables]) -> Callable[[ListSearch], Iterator[Run]]:
    """Schedules learnt from the baselines on the same placement; baselines are replayed only when needed."""
    teachers = cache(replay)

    def schedules(search: ListSearch) -> Iterator[Run]:
        for timetables in teachers().values():
            for _, timetable in timetables:
                yield from search.learn(timetable)

    return schedules


def _block(found: _Found) -> Orders:
    """The orders of a schedule, with its pattern as the block that is repeated."""
    classes, pattern = found.search.ordered, found.pattern
    orders = Orders.of(classes, found.run.start, found.run.turn)
    begin = pattern.begin - tolerance(found.run.start)  # as when the pattern was found
    return orders.with_block(classes, found.run.start, begin, begin + pattern.length)


def _offer(state: SearchState, few: ListSearch, orders: Orders, each: int, how: str) -> None:
    """Offer orders with their block (``each`` starts of every class) repeated as often as the microbatches need."""
    problem = state.problem
    copies = few.full.placement.copies
    many = _like(few, problem)
    more = (problem.microbatches - few.full.problem.microbatches) // (copies * each)
    schedule = many.orders.play(orders.repeated(orders.times + more))
    if schedule.makespan >= 0:
        state.incumbent.offer_starts(many, schedule.start, how, schedule.turn)


def _anneal(state: SearchState, found: _Found) -> None:
    """Anneal orders in which the pattern is repeated a few times, all repetitions alike."""
    problem, incumbent, params = state.problem, state.incumbent, state.params.steady_state
    copies = found.search.full.placement.copies
    more = (params.times - 1) * copies * found.pattern.each
    some = problem.with_microbatches(found.search.full.problem.microbatches + more)
    search = _like(found.search, some)
    orders: Orders | None = _block(found).repeated(params.times)
    goal = problem_bound(some, incumbent.control) / search.classes.tick * (1 + 1e-9)
    rng = np.random.default_rng(state.seed)
    how = f"annealing a steady-state pattern of placement {search.full.placement.origin}"
    walkers = state.params.schedule.anneal.walkers
    for _ in range(params.annealings):
        if incumbent.met or orders is None:
            return
        incumbent.control.report(how)
        orders = search.orders.anneal(orders, incumbent.control, goal, rng.spawn(walkers), threads=state.free_threads)
        if orders is not None:
            _offer(state, search, orders, found.pattern.each, how)


def _like(search: ListSearch, problem: Problem) -> ListSearch:
    """The same search (placement, mirrored or not) for a problem with another number of microbatches."""
    other = ListSearch.of(problem, search.full.placement, 0, search.params)
    if search.mirrored is not None:
        half = other.mirror(0)
        assert half is not None, "whether copies mirror each other does not depend on the number of microbatches"
        return half
    return other
