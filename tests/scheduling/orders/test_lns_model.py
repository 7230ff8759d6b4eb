"""LNS windows: the precedence of a schedule, orders that are never worse, optima of tiny problems."""

from __future__ import annotations

import numpy as np
import pytest
from exhaustive import TooLarge, optimum_of_placement
from solver_problems import chain, config, operator, posed, random_placement, random_problem, unit_cluster, violations

from planner.common.budget import Control
from planner.placement.layouts import family_placements
from planner.problem import Placement, Problem
from planner.scheduling.list.kernel import Run
from planner.scheduling.list.rules import random_rule
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.scheduling.orders.lns_model import Window, solve_window
from planner.scheduling.orders.precedence import PrecedenceGraph
from planner.scheduling.retime import retime

NODES = 1_000


def scheduled(problem: Problem, placement: Placement, seed: int) -> tuple[ListSearch, PrecedenceGraph] | None:
    """A schedule by a random rule, its orders played; None if there is none."""
    try:
        search = ListSearch.of(problem, placement, 0)
    except DoesNotFit:
        return None
    search.try_rule(random_rule(np.random.default_rng(seed), problem.microbatches))
    if search.best is None:
        return None
    graph = PrecedenceGraph.of(search.ordered, search.best)
    run = search.orders.play(graph.reordered([]))
    return None if run.makespan < 0 else (search, PrecedenceGraph.of(search.ordered, run))


def random_schedule(seed: int, **more: object) -> tuple[ListSearch, PrecedenceGraph] | None:
    """The same for a random problem on a random placement."""
    problem = random_problem(seed, **more)  # type: ignore[arg-type]
    return None if problem is None else scheduled(problem, random_placement(problem, seed), seed)


def seconds(search: ListSearch, run: Run) -> float:
    """The makespan of a schedule, which ``verify`` finds nothing wrong with."""
    start = retime(search.full, run.start, run.turn.astype(float))
    assert start is not None
    timetable = search.full.timetable(start)
    assert violations(search.full.problem, timetable) == []
    return timetable.makespan(search.full.problem)


def test_tails_reach_the_end() -> None:
    """Successors of a task start after its end; the longest path through any task is no longer than the step."""
    seen = 0
    for seed in range(60):
        found = random_schedule(seed)
        if found is None:
            continue
        _, graph = found
        seen += 1
        for x in range(graph.n):
            assert all(graph.start[y] >= graph.end[x] - 1e-6 for y in graph.followers(x))
            assert all(graph.end[y] <= graph.start[x] + 1e-6 for y in graph.inputs(x))
        ways = np.array(graph.end) + np.array(graph.tail)
        assert ways.max() == pytest.approx(graph.makespan, rel=1e-9)
        assert len(graph.critical) > 0
    assert seen > 30


def test_never_longer() -> None:
    """Whatever the window, its new order can be played, is no longer, and is a valid plan."""
    rng = np.random.default_rng(0)
    changed = shorter = 0
    for seed in range(70):
        found = random_schedule(seed, microbatches=(3, 4, 6))
        if found is None:
            continue
        search, graph = found
        first = int(rng.integers(graph.n))
        some = frozenset({0, 1}) if rng.random() < 0.3 else None
        resources = frozenset({0, 1}) if rng.random() < 0.3 else None
        window = Window(first, min(graph.n, first + 30), int(rng.integers(1, 12)), resources, some)
        answer = solve_window(graph, window, Control(), 100)
        if not answer.segments:
            continue
        changed += 1
        run = search.orders.play(graph.reordered([answer.segments]))
        assert 0 <= run.makespan <= graph.makespan * (1 + 1e-9)
        assert seconds(search, run) <= seconds(search, graph.run) * (1 + 1e-9)
        shorter += run.makespan < graph.makespan * (1 - 1e-9)
    assert changed > 15
    assert shorter > 2


def test_a_window_of_all_is_optimal() -> None:
    """With every pair free, the window that holds everything leaves nothing to gain on its placement."""
    compared = gained = 0
    for seed in range(120):
        problem = random_problem(seed, operators=3, devices=2, microbatches=(1, 2), copies=(1,), memory=False)
        found = None if problem is None else scheduled(problem, random_placement(problem, seed), seed)
        if problem is None or found is None:
            continue
        search, graph = found
        try:
            least = optimum_of_placement(problem, search.full.placement.device_of)
        except TooLarge:
            continue
        answer = solve_window(graph, Window(0, graph.n, graph.n), Control(), NODES)
        run = search.orders.play(graph.reordered([answer.segments]))
        assert seconds(search, run) == pytest.approx(least, rel=1e-3)  # the solver's gap
        compared += 1
        gained += run.makespan < graph.makespan
    assert compared > 40
    assert gained > 2


def test_memory_decides_the_order() -> None:
    """Two branches on one device, memory for one activation: the forward pass of the second waits for a gradient.

    The order with both forwards first would be as short, but does not fit, and is not proposed.
    """
    tasks = (
        operator("a", times=(1.0, 1.0, 0.0), activation=1.0),
        operator("b", times=(1.0, 1.0, 0.0), activation=1.0),
        operator("c", "a", times=(3.0, 1.0, 0.0)),
        operator("d", "b", times=(1.0, 3.0, 0.0)),
    )
    problem = posed(*tasks, devices=unit_cluster(3, 1.0), microbatches=1)
    found = scheduled(problem, Placement(((0, 0, 1, 2),)), 0)
    assert found is not None
    search, graph = found
    answer = solve_window(graph, Window(0, graph.n, graph.n), Control(), NODES)
    run = search.orders.play(graph.reordered([answer.segments]))
    assert seconds(search, run) == pytest.approx(optimum_of_placement(problem, ((0, 0, 1, 2),)))


def test_windows_put_together() -> None:
    """New orders of windows that do not overlap make one order that can be played, and shorten a poor schedule."""
    problem = config("deepseek-v3-units", microbatches=8)
    placement = next(p for p in family_placements(problem) if p.origin == "interleaved x4")
    found = scheduled(problem, placement, 3)
    assert found is not None
    search, graph = found
    answers = [solve_window(graph, Window(first, first + 80, 4), Control(), 5) for first in range(0, graph.n - 80, 80)]
    changed = [answer.segments for answer in answers if answer.segments]
    assert len(changed) > 3
    seconds(search, search.orders.play(graph.reordered(changed)))
    assert min(search.orders.play(graph.reordered([one])).makespan for one in changed) < graph.makespan


def test_nothing_to_change() -> None:
    """A chain on one device has one order for a microbatch."""
    found = scheduled(posed(*chain(3, times=(1.0,)), training=False), Placement(((0, 0, 0),)), 0)
    assert found is not None
    answer = solve_window(found[1], Window(0, found[1].n, 9), Control(), NODES)
    assert answer.exhausted
    assert not answer.segments
