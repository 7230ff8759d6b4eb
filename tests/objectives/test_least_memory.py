"""The least memory for a makespan: known frontiers, tiny optima by looking at everything, and what cannot be."""

from __future__ import annotations

import pytest
from exhaustive import TooLarge, optimum
from solver_problems import chain, checked, config, posed, random_problem, unit_cluster

from planner.common.budget import Control, Progress
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.registry import solve
from planner.objectives.solving import Solving
from planner.plan.plan import Plan
from planner.problem import Impossible, Problem


def least(problem: Problem, max_makespan: float | None = None, seconds: float = 60.0) -> Plan:
    """The plan of the least memory, verified."""
    options = SolveOptions({"objective": "memory"}, objective="memory", max_makespan=max_makespan)
    plan = solve(problem, Control(seconds), options)
    assert checked(problem, plan) == []
    assert plan.objective == "memory"
    return plan


def least_bound(plan: Plan) -> float:
    (figure,) = plan.figures
    assert (figure.key, figure.value) == ("memory", peak(plan))
    assert figure.bound is not None
    return figure.bound


def peak(plan: Plan) -> float:
    return max(device.peak_memory for device in plan.devices)


def test_dualpipe_needs_less_than_it_takes() -> None:
    """8 x 20, two copies: 63 s with 8 activations beside two stages' parameters; DualPipe holds 9 for 66 s."""
    plan = least(config("dualpipe-8x20", copies=2, memory_cap=100))
    assert plan.makespan == 63.0
    assert peak(plan) == 10.0
    assert least_bound(plan) == 10.0
    assert plan.status == "optimal"


def test_longer_steps_need_less() -> None:
    """The frontier of bubble against memory of the same problem: 65 s with 6 activations."""
    plan = least(config("dualpipe-8x20", copies=2, memory_cap=100), 65.0, 30.0)
    assert plan.makespan <= 65.0
    assert peak(plan) <= 8.0
    assert least_bound(plan) <= peak(plan)


def test_a_plan_on_the_way_is_not_optimal() -> None:
    """What is ready when a stop comes says optimal only of the makespan: nothing is proven of the least memory."""
    problem = config("dualpipe-8x20", copies=2, memory_cap=100)
    for objective, status in (("makespan", "optimal"), ("memory", "feasible")):
        solving = Solving.of(problem, Control(), SolveOptions({}, objective=objective))
        best, state = solving.shortest(Control())
        assert best.makespan == state.incumbent.bound
        state.incumbent.publish_best()
        assert solving.control.fallback.status == status


def test_one_activation_at_a_time() -> None:
    """With all the time in the world each device holds its parameters and one activation."""
    problem = posed(*chain(3, activation=2.0, parameters=5.0), devices=unit_cluster(3, 50.0), microbatches=4)
    plan = least(problem, 1000.0)
    assert peak(plan) == 7.0


@pytest.mark.parametrize("block", range(2))
def test_no_smaller_peak_exists(block: int) -> None:
    """On tiny problems: one byte-step below the proven least, looking at everything finds nothing short enough."""
    compared = 0
    for seed in range(14 * block, 14 * block + 14):
        problem = random_problem(seed, operators=3, devices=2, microbatches=(1, 2, 3), copies=(1, 2), instant=False)
        if problem is None or problem.activation.max() <= 0:
            continue
        try:
            shortest, placed = optimum(problem)
            if placed is None:
                continue
            longest = shortest * 1.2
            plan = least(problem, longest, 3.0)
            assert plan.makespan <= longest * (1 + 1e-9)
            below = least_bound(plan) * (1 - 1e-6)
            if below <= 0:
                continue
            capped = Problem(problem.graph, problem.cluster, problem.microbatches, problem.copies, memory_at_most=below)
            least_time, placed = optimum(capped)
        except (TooLarge, NoPlan, Impossible):
            continue
        assert placed is None or least_time > longest, seed
        compared += 1
    assert compared >= 2


def test_a_makespan_that_no_plan_has() -> None:
    """The reason names the bound."""
    with pytest.raises(Impossible, match="none is shorter than 63"):
        least(config("dualpipe-8x20", copies=2), 62.0)


def test_a_stop_proves_nothing() -> None:
    """Stopped while a smaller peak is looked for: what was not looked at is not proven impossible."""
    problem = posed(*chain(2, activation=1.0), devices=2, microbatches=4, layout="linear")
    control = Control(60.0)

    def listener(progress: Progress) -> None:
        if progress.trying.startswith("plans with a peak"):
            control.stop_requested.set()

    control.listener = listener
    options = SolveOptions({"objective": "memory"}, objective="memory", max_makespan=20.0)
    plan = solve(problem, control, options)
    assert least_bound(plan) <= peak(least(problem, 20.0)) == 1.0


def test_no_time_is_no_proof() -> None:
    """The only placement of a layout fits: without time it gets a first schedule, and nothing is called impossible."""
    problem = posed(*chain(2, activation=1.0), devices=unit_cluster(2, 1.0), microbatches=4, layout="linear")
    plan = solve(problem, Control(1e-9), SolveOptions({}))
    assert checked(problem, plan) == []


def test_a_printed_makespan_can_be_asked_for() -> None:
    """Seven times 0.9 s is a hair more than 6.3 s in binary fractions."""
    problem = posed(*chain(3, times=(0.1, 0.1, 0.1), activation=1.0), devices=1, microbatches=7)
    assert least(problem, 6.3).makespan == pytest.approx(6.3)
