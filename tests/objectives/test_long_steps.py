"""Steps of very many tasks: planned on a short step whose steady state is repeated."""

from __future__ import annotations

import pytest
from solver_problems import chain, checked, operator, posed, random_problem, solved, unit_cluster

from planner.baselines import NotApplicable
from planner.bounds import problem_bound
from planner.common.budget import Control
from planner.objectives import solving
from planner.objectives.baseline import baseline_plan
from planner.objectives.options import NoPlan, SolveOptions
from planner.plan.plan import Plan
from planner.problem import Impossible, Problem, ProblemError
from planner.scheduling import repetition
from planner.verification.repeated import repeated_plan


@pytest.fixture(autouse=True)
def few_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of more than 900 tasks count as long."""
    monkeypatch.setattr(repetition, "IN_FULL", 900)
    monkeypatch.setattr(repetition, "IN_FULL_AT_MOST", 900)
    monkeypatch.setattr(repetition, "SHORT_AT_MOST", 900)


def is_sound(problem: Problem, plan: Plan) -> None:
    """The plan is valid, so is the step in full, and the bounds are those of the whole step."""
    assert plan.repeated is not None
    assert plan.listed_microbatches < problem.microbatches == plan.microbatches
    assert checked(problem, plan) == []
    assert checked(problem, repeated_plan(plan, plan.repeated, plan.repeated.times)) == []
    assert plan.lower_bound is not None and plan.placement_lower_bound is not None
    assert plan.lower_bound >= problem_bound(problem, Control()) * (1 - 1e-9)


@pytest.mark.parametrize("objective", ["makespan", "memory", "period", "utilization"])
def test_random_problems(objective: str) -> None:
    """Of the whole format: training and inference, one to three copies, tight memory."""
    planned = 0
    for seed in range(70, 90):
        problem = random_problem(seed, operators=5, devices=3, microbatches=(311,), layouts=objective == "makespan")
        if problem is None or repetition.fits_in_full(problem):
            continue
        try:
            plan = solved(problem, 1.0, objective=objective)
        except (Impossible, NoPlan) as error:
            assert isinstance(error, Impossible), seed
            continue
        is_sound(problem, plan)
        planned += 1
        if planned == 3:
            return
    pytest.fail("too few problems")


def test_as_good_as_can_be() -> None:
    """Four alike operators on four devices run 3 s a microbatch on each, and 3 s to begin with."""
    problem = posed(*chain(4), devices=unit_cluster(4), microbatches=5000)
    plan = solved(problem, 20.0, baselines=("1f1b", "zb1p", "gpipe"))
    is_sound(problem, plan)
    assert plan.makespan == plan.lower_bound == 15003
    rows = {row.name: row for row in plan.baselines}
    assert rows["1f1b"].makespan == 15009 and rows["zb1p"].makespan == 15003 and rows["zb1p"].fits
    assert rows["gpipe"].makespan is None and rows["gpipe"].reason


def test_as_the_step_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A baseline has the same figures, planned on a short step and in full."""
    problem = posed(*chain(4), devices=unit_cluster(2), microbatches=200)
    short = baseline_plan("1f1b", problem)
    monkeypatch.setattr(repetition, "IN_FULL", 10**6)
    full = baseline_plan("1f1b", problem)
    assert short.repeated is not None and full.repeated is None
    assert short.makespan == full.makespan and short.bubble_ratio == pytest.approx(full.bubble_ratio)
    assert [d.peak_memory for d in short.devices] == [d.peak_memory for d in full.devices]


def test_a_baseline_without_steady_state() -> None:
    """GPipe runs all forward passes first, so that no part of its step can be repeated."""
    problem = posed(*chain(2), devices=unit_cluster(2), microbatches=1000)
    with pytest.raises(NotApplicable, match="steady state"):
        baseline_plan("gpipe", problem)


def test_limits_of_makespan_and_memory() -> None:
    """A limit is that of the whole step; one below the bound is impossible."""
    problem = posed(*chain(4), devices=unit_cluster(4), microbatches=5000)
    plan = solved(problem, 20.0, objective="utilization", max_makespan=30100.0)
    assert plan.makespan <= 30100 and len({task.device for task in plan.tasks}) == 2
    with pytest.raises(Impossible, match="14000"):
        solved(problem, 20.0, objective="memory", max_makespan=14000.0)


def test_too_large_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the tasks and the limits."""
    monkeypatch.setattr(repetition, "SHORT", 900)
    problem = posed(*chain(40), devices=unit_cluster(40), microbatches=1000)
    with pytest.raises(ProblemError, match=r"120,000 tasks.*900.*short step would have 10,560"):
        solved(problem, 5.0)


def test_too_few_microbatches_for_a_short_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a step is planned in full, up to a limit of its own."""
    monkeypatch.setattr(repetition, "IN_FULL_AT_MOST", 2000)
    problem = posed(*chain(40), devices=unit_cluster(2), microbatches=10)
    assert repetition.short_step(problem) is None


def test_a_baseline_is_optimal_where_it_meets_the_bound() -> None:
    """Operators that wait for nothing fill their devices in any order, in a long step and in a short one."""
    for microbatches in (10, 1_000):
        plan = baseline_plan(
            "1f1b", posed(operator("a"), operator("b"), devices=unit_cluster(2), microbatches=microbatches)
        )
        assert (plan.status, plan.gap, plan.repeated is None) == ("optimal", 0, microbatches == 10)
    assert baseline_plan("1f1b", posed(*chain(4), devices=unit_cluster(2), microbatches=10)).status == "feasible"


def test_the_first_plan_of_a_long_replay_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit that ends while baselines are replayed leaves a plan with the bounds that need no search."""
    monkeypatch.setattr(solving, "READY_AFTER", -1.0)
    problem, control = posed(*chain(4), devices=unit_cluster(2), microbatches=10), Control()
    solving.Solving.of(problem, control, SolveOptions({}))
    assert control.fallback.lower_bound == 61
