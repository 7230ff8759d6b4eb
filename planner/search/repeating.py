"""Many microbatches: a schedule of a few with a repeatable window, run as often as it takes.

What is searched is a problem with a few microbatches; what is offered is its schedule with the window repeated, on
the problem as posed. So the effort does not grow with the number of microbatches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from planner.baselines.replayed import Published
from planner.bounds import problem_bound
from planner.placement.layouts import family_placements
from planner.problem import Problem
from planner.scheduling.list.kernel import Run, run
from planner.scheduling.list.rules import RULES
from planner.scheduling.orders.anneal import STRANDS, Orders
from planner.scheduling.placement_search import DoesNotFit, ListSearch
from planner.scheduling.steady_state import PERIODS, Window, find_window, tolerance
from planner.search.incumbent import Incumbent

FEW = 4
"""The few microbatches are at least so many for each device: ramps and some windows between them."""

TASKS_AT_LEAST = 2_500
"""Fewer tasks than this are scheduled as they are."""

ANNEALED = 3
ANNEALINGS = 10
TIMES = 3
"""How often the window is run while its order is annealed."""


@dataclass(frozen=True)
class _Found:
    """A schedule of few microbatches that can be stretched."""

    makespan: float  # seconds, with as many microbatches as the problem has
    search: ListSearch
    run: Run
    window: Window  # in ticks


def few_microbatches(problem: Problem) -> int | None:
    """How many microbatches to search with; None where the problem has too few to gain from that.

    Any window of one to four starts of each copy makes up the difference.
    """
    per_round = int(np.lcm.reduce(PERIODS)) * int(np.lcm.reduce(np.arange(1, problem.copies + 1)))
    few = FEW * problem.n_devices
    few += (problem.microbatches - few) % per_round
    tasks = problem.microbatches * int(problem.has_pass.sum())
    worth_it = max(few + per_round, 2 * few) <= problem.microbatches and tasks >= TASKS_AT_LEAST
    return few if worth_it else None


def repeat(incumbent: Incumbent, published: Callable[[Problem], Published], seed: int, threads: int) -> None:
    """Offer schedules with windows; anneal the best of them where they leave a gap."""
    problem, control = incumbent.problem, incumbent.control
    few = few_microbatches(problem)
    if few is None:
        return
    control.report(f"repeatable windows, {few} microbatches")
    small = replace(problem, microbatches=few)
    searches = list(_searches(small, seed))
    found: list[_Found] = []
    for schedules in (_by_rules, _by_published(lambda: published(small))):
        for search in searches:
            if not control.over:
                found += _stretchable(problem, search, schedules(search))
        found.sort(key=lambda f: f.makespan)
        _offer_best(incumbent, found)
        if incumbent.met:
            return
    for each in found[:ANNEALED]:
        if not incumbent.met:
            _anneal(incumbent, each, seed, threads)


def _offer_best(incumbent: Incumbent, found: list[_Found]) -> None:
    for best in found[:1]:
        how = f"a window of placement {best.search.full.placement.origin}"
        _offer(incumbent, best.search, _block(best), best.window.each, how)


def _searches(problem: Problem, seed: int) -> Iterator[ListSearch]:
    """The placements of the families, with mirrored copies also folded."""
    for placement in family_placements(problem):
        try:
            search = ListSearch.of(problem, placement, seed)
        except DoesNotFit:
            continue
        half = search.fold(seed)
        yield from (search,) if half is None else (half, search)


def _stretchable(problem: Problem, search: ListSearch, schedules: Iterable[Run]) -> list[_Found]:
    """The best of some schedules that has a window."""
    copies = search.full.placement.copies
    best: _Found | None = None
    for schedule in schedules:
        if schedule.makespan < 0:
            continue
        window = find_window(search.classes, schedule.start, search.classes.tick)
        if window is None:
            continue
        more = (problem.microbatches - search.full.problem.microbatches) / copies / window.each
        makespan = (schedule.makespan + more * window.length) * search.classes.tick
        if best is None or makespan < best.makespan:
            best = _Found(makespan, search, schedule, window)
    return [] if best is None else [best]


def _by_rules(search: ListSearch) -> Iterator[Run]:
    """List schedules by the known rules."""
    for rule in RULES:
        yield run(search.arrays, rule.keys(search.classes, search.scales), rule.patience, reserve=rule.reserve)


def _by_published(replay: Callable[[], Published]) -> Callable[[ListSearch], Iterator[Run]]:
    """What the published orders of the same placement teach, replayed only if they are asked for."""
    teachers = cache(replay)

    def schedules(search: ListSearch) -> Iterator[Run]:
        for timetables in teachers().values():
            for _, timetable in timetables:
                yield from search.learn(timetable)

    return schedules


def _block(found: _Found) -> Orders:
    """The orders of a schedule, its window as their block."""
    classes, window = found.search.ordered, found.window
    orders = Orders.of(classes, found.run.start, found.run.turn)
    begin = window.begin - tolerance(found.run.start)  # the window was found with it
    return orders.with_block(classes, found.run.start, begin, begin + window.length)


def _offer(incumbent: Incumbent, few: ListSearch, orders: Orders, each: int, how: str) -> None:
    """Play the orders, in whose block every class starts ``each`` times, as often as the microbatches need."""
    problem = incumbent.problem
    copies = few.full.placement.copies
    many = _like(few, problem)
    more = (problem.microbatches - few.full.problem.microbatches) // (copies * each)
    schedule = many.orders.play(orders.repeated(orders.times + more))
    if schedule.makespan >= 0:
        incumbent.offer_starts(many, schedule.start, how, schedule.turn)


def _anneal(incumbent: Incumbent, found: _Found, seed: int, threads: int) -> None:
    """Anneal orders whose window is run a few times, every repetition alike."""
    problem = incumbent.problem
    copies = found.search.full.placement.copies
    some = replace(
        problem, microbatches=found.search.full.problem.microbatches + (TIMES - 1) * copies * found.window.each
    )
    search = _like(found.search, some)
    orders: Orders | None = _block(found).repeated(TIMES)
    goal = problem_bound(some, incumbent.control) / search.classes.tick * (1 + 1e-9)
    rng = np.random.default_rng(seed)
    how = f"annealing a window of placement {search.full.placement.origin}"
    for _ in range(ANNEALINGS):
        if incumbent.met or orders is None:
            return
        incumbent.control.report(how)
        orders = search.orders.anneal(orders, incumbent.control, goal, rng.spawn(STRANDS), threads=threads)
        if orders is not None:
            _offer(incumbent, search, orders, found.window.each, how)


def _like(search: ListSearch, problem: Problem) -> ListSearch:
    """The search on the same placement of a problem with another number of microbatches."""
    other = ListSearch.of(problem, search.full.placement, 0)
    if search.folded is not None:
        half = other.fold(0)
        assert half is not None, "whether copies fold does not depend on the number of microbatches"
        return half
    return other
