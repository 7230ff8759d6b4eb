"""Many microbatches: what the window of few gives, proven where the bound allows it."""

from __future__ import annotations

import pytest
from solver_problems import chain, checked, config, posed, solved, state_of, unit_cluster

from planner.problem import Problem
from planner.search.steps.steady_state import few_microbatches


@pytest.mark.parametrize("microbatches", [200, 2000])
def test_proven_for_any_number_of_microbatches(microbatches: int) -> None:
    """8 devices, two copies: 3 M + 3 over every placement, as with 20."""
    problem = config("dualpipe-8x20", copies=2, microbatches=microbatches)
    plan = solved(problem)
    assert checked(problem, plan) == []
    assert (plan.status, plan.makespan, plan.lower_bound) == ("optimal", 3 * microbatches + 3, 3 * microbatches + 3)
    assert "steady-state pattern" in plan.notes[0]


def test_unequal_passes() -> None:
    """F, I, W = 1, 1.2, 0.8 with a window that has to be annealed: within a thousandth of the bound."""
    pipeline = chain(4, times=(1.0, 1.2, 0.8), activation=1.0, parameters=1.0)
    problem = posed(*pipeline, devices=unit_cluster(4, 7.0), microbatches=400, copies=2)
    plan = solved(problem, 20.0)
    assert checked(problem, plan) == []
    assert plan.lower_bound == pytest.approx(1201)
    assert plan.makespan <= 1201 * 1.001


def test_when_few_stand_for_many() -> None:
    """The difference is made up by windows of one to four starts of each copy; small problems are taken whole."""

    def few(microbatches: int, copies: int) -> int | None:
        problem: Problem = config("dualpipe-8x20", copies=copies, microbatches=microbatches)
        return few_microbatches(state_of(problem))

    assert few(20, 2) is None
    assert few(100, 2) is None
    assert few(200, 2) == 32
    assert few(2001, 2) == 33
    assert few(2000, 1) == 32
    assert all((m - (few(m, 2) or m)) % 24 == 0 for m in range(200, 230))
