"""Task classes: a timetable and its starts by class are the same thing."""

from __future__ import annotations

import numpy as np
from solver_problems import operator, posed, random_search, unit_cluster

from planner.problem import NetworkLevel, Placement
from planner.scheduling.list_search import ListSearch
from planner.scheduling.modulo import modulo_schedule


def same_starts(search: ListSearch) -> bool:
    schedule = modulo_schedule(search.ordered, 200)
    assert schedule is not None
    start = schedule.starts(search.full)
    again = search.full.starts_of(search.full.timetable(start))
    return again is not None and np.array_equal(again, start, equal_nan=True)


def test_starts_survive_a_timetable() -> None:
    searches = [s for s in (random_search(seed, operators=7, devices=3) for seed in range(30)) if s is not None]
    assert len(searches) > 15 and all(map(same_starts, searches))


def test_a_gradient_that_comes_back_from_two_devices() -> None:
    """The two transfers have the same operator, pass, microbatch and target."""
    operators = (
        operator("a", output=1.0),
        operator("b", "a", times=(1.0, 2.0, 1.0), output=1.0),
        operator("c", "a", "b", times=(1.0, 5.0, 1.0)),
    )
    problem = posed(*operators, devices=unit_cluster(3, level=NetworkLevel(None, 0.5)), microbatches=3)
    assert same_starts(ListSearch.of(problem, Placement.single([0, 1, 2]), 0))
