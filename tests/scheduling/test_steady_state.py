"""Steady-state patterns: found where schedules settle, and valid however often they are repeated."""

from __future__ import annotations

import numpy as np
import pytest
from solver_problems import chain, config, listed, posed, unit_cluster, violations

from planner.baselines import baseline_timetable
from planner.common.budget import Control
from planner.placement.layouts import only_placement
from planner.plan.plan import PlanWindow
from planner.problem import Placement, Problem
from planner.scheduling.classes import build_classes
from planner.scheduling.list_search import ListSearch
from planner.scheduling.orders.anneal import Orders
from planner.scheduling.retime import retime
from planner.scheduling.steady_state import Pattern, find_pattern, fits, is_pattern, pattern_of, stretched


def with_microbatches(problem: Problem, microbatches: int) -> Problem:
    return Problem(problem.graph, problem.cluster, microbatches, problem.copies, layout=problem.layout)


def stretch_and_check(search: ListSearch, pattern: Pattern, times: int) -> float:
    """The makespan of a schedule with its pattern run more often; the timetable is valid."""
    assert search.best is not None
    problem, copies = search.full.problem, search.full.placement.copies
    longer = with_microbatches(problem, problem.microbatches + times * pattern.each * copies)
    classes = build_classes(longer, search.full.placement)
    start = stretched(search.best.start, pattern, times)
    seconds = retime(classes, start if search.mirrored is None else search.mirrored.expand(start))
    assert seconds is not None
    timetable = classes.timetable(seconds)
    assert violations(longer, timetable) == []
    return timetable.makespan(longer)


def test_dualpipe_repeats_every_six_seconds() -> None:
    """8 devices, F = I = W = 1: once full, each copy takes a microbatch every 6 s, whatever M is."""
    problem = config("dualpipe-8x20", copies=2, layout="bidirectional", microbatches=32)
    placement = only_placement(problem)
    assert placement is not None
    search = ListSearch.of(problem, placement, 0).mirror(0)
    assert search is not None
    search.try_known_rules(Control())
    assert search.best is not None and search.seconds == 99.0
    pattern = find_pattern(search.classes, search.best.start, search.classes.tick)
    assert pattern is not None
    assert (pattern.length * search.classes.tick, pattern.each) == (6.0, 1)
    assert stretch_and_check(search, pattern, 1) == 105.0
    assert stretch_and_check(search, pattern, 30) == 3 * 92 + 3


def test_windows_of_random_problems() -> None:
    """Whatever is found can be run once and five times more."""
    found = 0
    for seed in range(300):
        search = listed(seed, microbatches=(8, 12), operators=4, devices=3)
        if search is None:
            continue
        pattern = find_pattern(search.classes, search.best.start, search.classes.tick)
        if pattern is None:
            continue
        found += 1
        assert is_pattern(search.classes, search.best.start, pattern, search.classes.tick)
        longest = Pattern(pattern.begin, pattern.length * 1.01, pattern.each)
        assert not is_pattern(search.classes, search.best.start, longest, search.classes.tick)
        before = search.seconds
        for times in (1, 5):
            longer = stretch_and_check(search, pattern, times)
            assert longer <= before + times * pattern.length * search.classes.tick * (1 + 1e-9)
    assert found >= 40


def test_copies_that_run_different_numbers() -> None:
    """17 and 16 microbatches: the pattern adds one to each, as often as it is run."""
    problem = config("dualpipe-8x20", copies=2, layout="bidirectional", microbatches=33)
    placement = only_placement(problem)
    assert placement is not None
    search = ListSearch.of(problem, placement, 0)
    search.try_known_rules(Control())
    assert search.best is not None and search.mirrored is None and search.full.counts == (17, 16)
    pattern = find_pattern(search.classes, search.best.start, search.classes.tick)
    assert pattern is not None
    assert (pattern.length * search.classes.tick, pattern.each) == (6.0, 1)
    assert stretch_and_check(search, pattern, 30) == pytest.approx(search.seconds + 180.0)


def test_the_first_of_equal_windows() -> None:
    """However long the step is, its pattern begins where the schedule has settled."""
    for microbatches in (20, 400):
        problem = config("dualpipe-8x20", copies=2, layout="bidirectional", microbatches=microbatches)
        pattern = pattern_of(problem, baseline_timetable("dualpipe", problem))
        assert pattern == PlanWindow(27.0, 6.0, 2)


def test_no_window_where_nothing_settles() -> None:
    """Two microbatches that go through one after the other, as a whole: there is no third to repeat them."""
    problem = posed(*chain(2, activation=1.0), devices=unit_cluster(2, 1.0), microbatches=1)
    classes = build_classes(problem, Placement(((0, 1),)))
    search = ListSearch.of(problem, classes.placement, 0)
    search.try_known_rules(Control())
    assert search.best is not None
    assert find_pattern(classes, search.best.start, classes.tick) is None


@pytest.mark.parametrize(
    ("a", "k", "to"),
    [(0, 1, 0.5), (1, 0, 0.5), (2, 1, 4.0)],
    ids=["two tasks at once", "before its input", "before its turn"],
)
def test_what_does_not_fit(a: int, k: int, to: float) -> None:
    """A schedule of one device by hand, and what breaks it: F0 I0 W0 F1 I1 W1."""
    problem = posed(*chain(1, activation=1.0), devices=unit_cluster(1, 1.0), microbatches=2)
    classes = build_classes(problem, Placement(((0,),)))
    start = np.array([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])
    assert fits(classes, start, 1.0, 0.0)
    start[a, k] = to
    assert not fits(classes, start, 1.0, 0.0)


def test_memory_that_does_not_fit() -> None:
    """Two activations at once with memory for one: the second F before the first W."""
    problem = posed(*chain(1, activation=1.0), devices=unit_cluster(1, 1.0), microbatches=2)
    classes = build_classes(problem, Placement(((0,),)))
    assert not fits(classes, np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), 1.0, 0.0)


def test_blocks_of_orders() -> None:
    """A block run three times is the orders of the stretched schedule."""
    problem = config("dualpipe-4x8", copies=2, layout="bidirectional", microbatches=16)
    placement = only_placement(problem)
    assert placement is not None
    search = ListSearch.of(problem, placement, 0)
    search.try_known_rules(Control())
    assert search.best is not None
    pattern = find_pattern(search.classes, search.best.start, search.classes.tick)
    assert pattern is not None
    orders = Orders.of(search.classes, search.best.start, search.best.turn)
    end = pattern.begin + pattern.length
    block = orders.with_block(search.classes, search.best.start, pattern.begin, end).repeated(3)
    longer = with_microbatches(problem, 16 + 4 * pattern.each)
    other = ListSearch.of(longer, placement, 0)
    played = other.orders.play(block)
    assert played.makespan * other.classes.tick <= search.seconds + 2 * pattern.length * search.classes.tick
    assert block.repeated(1).seq.tolist() == orders.seq.tolist()
