"""Plans for a period, and on as few devices as can be."""

from __future__ import annotations

import pytest
from solver_problems import chain, checked, posed, random_problem, solved, unit_cluster

from planner.objectives import least_period
from planner.plan.plan import Plan
from planner.problem import Impossible
from planner.scheduling.orders import anneal as orders
from planner.search import neighbourhoods, polish


@pytest.fixture(autouse=True)
def short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little effort is enough for what is tested here."""
    monkeypatch.setattr(polish, "EVALUATIONS", 100)
    monkeypatch.setattr(neighbourhoods, "SESSION", 1_000)
    monkeypatch.setattr(orders, "ITERATIONS_AT_MOST", 500)
    monkeypatch.setattr(least_period, "MOVES", 20_000)


def needed(plan: Plan) -> float:
    """The bound of the number of devices."""
    devices = plan.figure("devices")
    assert devices is not None and devices.bound is not None
    return devices.bound


@pytest.mark.parametrize("objective", ["period", "utilization"])
def test_plans_are_valid(objective: str) -> None:
    """Random problems of the whole format: every plan passes, and its bounds stay below what it reaches."""
    planned = 0
    for seed in range(40, 47):
        problem = random_problem(seed, operators=6, devices=3, microbatches=(1, 2, 4), copies=(1, 2), instant=False)
        if problem is None:
            continue
        try:
            plan = solved(problem, 3.0, objective=objective)
        except Impossible:
            continue
        assert checked(problem, plan) == [], seed
        assert plan.objective == objective
        if objective == "period":
            period = plan.figure("period")
            assert period is not None and period.value is not None and period.gap is not None
            assert plan.makespan >= period.value * (1 - 1e-9)
        else:
            needed(plan)
        planned += 1
    assert planned >= 3


def test_as_few_devices_as_a_period_needs() -> None:
    """Six operators of 3 s a microbatch: 6 s take three devices, 5.9 s six."""
    problem = posed(*chain(6), devices=unit_cluster(6), microbatches=6)
    plan = solved(problem, 10.0, objective="utilization", max_period=6.0)
    assert (len({t.device for t in plan.tasks}), needed(plan)) == (3, 3)
    assert [figure.value for figure in plan.figures] == [pytest.approx(6.0), 3]
    plan = solved(problem, 10.0, objective="utilization", max_period=5.9)
    assert len({t.device for t in plan.tasks}) == 6


def test_as_few_devices_as_a_makespan_needs() -> None:
    """One device takes 3 x 6 x 4 = 72 s; two are at least 36 s and some seconds of waiting."""
    problem = posed(*chain(6), devices=unit_cluster(4), microbatches=4)
    plan = solved(problem, 10.0, objective="utilization", max_makespan=72.0)
    assert (len({t.device for t in plan.tasks}), plan.status) == (1, "feasible")  # on one device, but not the shortest
    plan = solved(problem, 10.0, objective="utilization", max_makespan=45.0)
    assert (len({t.device for t in plan.tasks}), needed(plan)) == (2, 2)


def test_what_no_number_of_devices_can_do() -> None:
    """Less than the longest chain."""
    problem = posed(*chain(4), devices=unit_cluster(4), microbatches=4)
    with pytest.raises(Impossible, match="too slow"):
        solved(problem, 5.0, objective="utilization", max_makespan=8.0)
