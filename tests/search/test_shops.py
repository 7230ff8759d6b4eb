"""Job shops as `planner solve` meets them: a first plan at once, the optimum, its proof, and a search cut off."""

from __future__ import annotations

import random

import numpy as np
import pytest
from exhaustive import optimum
from solver_problems import config, operator, posed, violations

from planner.control import Control, Progress
from planner.problem import ByDevice, Problem, common_step
from planner.search.incumbent import Incumbent
from planner.search.shops import ShopBranch, offer_first
from planner.solve import SolveOptions, solve


def shop(seed: int, jobs: int, machines: int, digits: int) -> Problem:
    """Jobs of one operator a machine in random order, each on one of up to two machines; times of so many digits."""
    r = random.Random(seed)
    made = []
    for j in range(jobs):
        for k, machine in enumerate(r.sample(range(machines), machines)):
            cost = {f"g{d}": round(r.uniform(1, 9), digits) for d in {machine, r.randrange(machines)}}
            reads = [f"j{j}k{k - 1}"] if k else []
            made.append(operator(f"j{j}k{k}", *reads, times=(ByDevice(cost),)))
    return posed(*made, devices=machines, training=False)


def incumbent_of(problem: Problem, control: Control, gap: float = 1e-6) -> Incumbent:
    """A search's memory that publishes nothing."""
    return Incumbent(problem, control, gap, lambda _: None)


@pytest.mark.parametrize("name", ["jobshop-ft06", "jobshop-sfjs05", "jobshop-mfjs01"])
def test_the_first_plan_is_valid(name: str) -> None:
    """Nothing that is compiled, and a schedule that respects everything."""
    problem = config(name)
    incumbent = incumbent_of(problem, Control())
    offer_first(incumbent)
    assert incumbent.best is not None
    assert violations(problem, incumbent.best.timetable) == []


@pytest.mark.parametrize("digits", [0, 16])
def test_optimal_whether_or_not_there_is_a_grid(digits: int) -> None:
    """Small shops, by enumeration; where times have no common step the gap is closed all the same."""
    for seed in range(4):
        problem = shop(seed, 3, 2, digits)
        assert (common_step(problem.duration[np.isfinite(problem.duration)]) is None) == (digits == 16)
        best, _ = optimum(problem)
        incumbent = incumbent_of(problem, Control())
        offer_first(incumbent)
        branch = ShopBranch.of(incumbent)
        assert branch is not None
        branch.run()
        assert incumbent.best is not None
        assert incumbent.proven
        assert incumbent.best.makespan == pytest.approx(best, rel=1e-6)
        assert incumbent.bound <= best * (1 + 1e-12)
        assert violations(problem, incumbent.best.timetable) == []


@pytest.mark.parametrize("gap", [0.0, 0.05])
def test_the_gap_that_is_asked_for(gap: float) -> None:
    """A wide one ends the search early; none at all does not keep it from ending."""
    problem = shop(7, 5, 4, 16)
    incumbent = incumbent_of(problem, Control(), gap)
    offer_first(incumbent)
    branch = ShopBranch.of(incumbent)
    assert branch is not None
    branch.run()
    assert incumbent.best is not None
    assert incumbent.best.makespan - incumbent.bound <= max(gap, 1e-9) * incumbent.best.makespan


def test_it_goes_on_where_it_was_cut_off() -> None:
    """In parts or at once: the same optimum; what is known grows from part to part."""
    problem = shop(3, 7, 5, 0)
    whole = incumbent_of(problem, Control())
    parts = incumbent_of(problem, Control())
    for incumbent in (whole, parts):
        offer_first(incumbent)
    at_once, by_parts = ShopBranch.of(whole), ShopBranch.of(parts)
    assert at_once is not None
    assert by_parts is not None
    at_once.run()
    for _ in range(500):
        before = parts.bound, -by_parts.most
        by_parts.run(20)
        assert (parts.bound, -by_parts.most) >= before
        if parts.met:
            break
    assert whole.best is not None
    assert parts.best is not None
    assert whole.best.makespan == parts.best.makespan == whole.bound == parts.bound


def test_the_same_plan_every_time() -> None:
    """Contradictions are counted, not seconds."""
    problem = shop(5, 8, 5, 1)
    plans = [solve(problem, Control(60), SolveOptions({})) for _ in range(2)]
    assert plans[0].tasks == plans[1].tasks
    assert plans[0].status == "optimal"


def test_time_over_leaves_the_best_so_far() -> None:
    """A shop that is too large for the time: a plan, a bound, and both have moved."""
    problem = shop(1, 20, 10, 0)
    told: list[Progress] = []
    plan = solve(problem, Control(3.0, told.append), SolveOptions({}))
    assert plan.status == "feasible"
    assert 0 < plan.lower_bound < plan.makespan
    first = next(p.best for p in told if p.best is not None)
    assert plan.makespan < first
