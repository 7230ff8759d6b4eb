"""Modulo schedules: valid plans of any length, close to what memory allows."""

from __future__ import annotations

import numpy as np
import pytest
from random_plans import plan_of
from solver_problems import chain, posed, random_search, solved, unit_cluster

from planner.placement.layouts import family_placement
from planner.problem import Problem
from planner.scheduling.list_search import ListSearch
from planner.scheduling.modulo import first_period, is_bound_by_memory, modulo_schedule
from planner.verification import verify_plan


def deep(microbatches: int, held: int, devices: int = 8) -> Problem:
    """A chain of equal stages, one a device, each with room for a few microbatches."""
    operators = chain(devices, activation=1.0)
    return posed(*operators, devices=unit_cluster(devices, memory=float(held)), microbatches=microbatches)


def linear(problem: Problem) -> ListSearch:
    placement = family_placement(problem, "linear", range(problem.n_devices), 1)
    assert placement is not None
    return ListSearch.of(problem, placement, 0)


def test_its_starts_are_a_valid_plan() -> None:
    found = 0
    for search in filter(None, (random_search(seed, operators=7, devices=3) for seed in range(40))):
        found += 1
        schedule = modulo_schedule(search.ordered, 200)
        assert schedule is not None, "with a long enough period microbatches do not meet"
        problem = search.classes.problem
        plan = plan_of(problem, search.full.timetable(schedule.starts(search.full)))
        flags = {"copies": problem.copies, "memory_cap": problem.memory_cap, "microbatches": problem.microbatches}
        assert not verify_plan(plan, problem.graph, problem.cluster, **flags)
        assert plan.makespan == pytest.approx(schedule.makespan(search.full))
    assert found > 20


@pytest.mark.parametrize("held", [1, 2, 3, 5])
def test_memory_gives_the_period(held: int) -> None:
    """A microbatch is on the first device for a round trip of 8 F and 8 I, and its W: Little's law."""
    classes = linear(deep(100, held)).ordered
    assert first_period(classes) == pytest.approx(max(3.0, 17.0 / held))
    assert is_bound_by_memory(classes) == (held < 5)
    schedule = modulo_schedule(classes, 100)
    assert schedule is not None
    assert schedule.period <= 1.25 * first_period(classes)


@pytest.mark.parametrize(("held", "layout"), [(1, "linear"), (2, "linear"), (3, "auto")])
def test_a_long_step_is_as_fast_as_memory_lets_it(held: int, layout: str) -> None:
    """At least as fast as 1F1B with as many microbatches in flight as fit: a round trip and a slot."""
    problem = deep(400, held)
    plan = solved(problem, 1.5)
    assert plan.makespan <= (400 / held + 1) * 18.0


def test_no_period_is_long_enough_without_room_for_one_microbatch() -> None:
    classes = linear(deep(4, 2)).ordered
    tight = classes.available.copy()
    vars(classes)["available"] = np.minimum(tight, 0.5)
    assert modulo_schedule(classes, 100) is None
