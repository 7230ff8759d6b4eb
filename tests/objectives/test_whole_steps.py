"""Steps with alternatives, step tasks and exchanged gradients: optima, bounds, and what a solver makes of them."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import exhaustive
import pytest
from solver_problems import chain, checked, posed, unit_cluster
from tiny_steps import SEEDS, tiny_problem

from planner.bounds import BOUNDS, placement_bound
from planner.common.budget import Control
from planner.objectives.options import SolveOptions
from planner.objectives.registry import solve
from planner.plan.plan import Plan
from planner.problem import Impossible, NetworkLevel, Operator, Pass, Problem, Variant
from planner.search import SearchParams

FAST = SearchParams.for_tests()


@cache
def optimum(seed: int) -> float:
    """By enumeration; inf where nothing fits."""
    problem = tiny_problem(seed)
    assert problem is not None
    return exhaustive.best_step(problem)[0]


def plan_of(problem: Problem, objective: str = "makespan", effort: float = 2_000.0, **more: float) -> Plan:
    options = SolveOptions({"copies": problem.copies}, objective=objective, threads=1, params=FAST, **more)  # type: ignore[arg-type]
    plan = solve(problem, Control(math.inf, effort=effort), options)
    assert checked(problem, plan) == []
    return plan


@pytest.mark.parametrize("seed", SEEDS)
def test_the_optimum_is_found_and_proven(seed: int) -> None:
    """Over all placements, variants by copy, splits and orders; or the proof that nothing fits."""
    problem = tiny_problem(seed)
    assert problem is not None
    if math.isinf(optimum(seed)):
        with pytest.raises(Impossible):
            plan_of(problem)
        return
    plan = plan_of(problem, effort=50_000.0)
    assert plan.makespan == pytest.approx(optimum(seed), rel=1e-9)
    assert plan.status == "optimal"


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.name)
def test_no_bound_is_above_the_optimum(bound: object) -> None:
    """Of the problem, whatever is chosen."""
    for seed in SEEDS:
        problem = tiny_problem(seed)
        assert problem is not None
        assert bound.of(problem, Control()) <= optimum(seed) * (1 + 1e-9), seed  # type: ignore[attr-defined]


def test_no_bound_of_a_placement_is_above_its_optimum() -> None:
    """Of the placement and the variants of the best step."""
    for seed in SEEDS:
        problem = tiny_problem(seed)
        assert problem is not None
        best, timetable = exhaustive.best_step(problem)
        if timetable is not None:
            placement = problem.in_versions(timetable.placement, timetable.placement.variant_of or ())
            assert placement_bound(problem, timetable.placement) <= best * (1 + 1e-9), (seed, placement)


def lean(operator: Operator, more: float = 0.25, activation: float = 0.25) -> Operator:
    """With a variant that takes longer and holds less; no weight gradient of its own."""
    times = operator.times
    forward, back, weight = (float(times.get(p, 0.0)) for p in (Pass.F, Pass.I, Pass.W))  # type: ignore[arg-type]
    variant = Variant(
        "recompute", {Pass.F: forward, Pass.I: back + weight + more}, operator.parameters, activation, 0.0
    )
    return replace(operator, variants=(variant,))


def pipeline(cap: float | None, stages: int = 8, microbatches: int = 12, **flags: object) -> Problem:
    """Two operators a device, each of which can be recomputed, with a reduction and an update at the end."""
    operators = [
        replace(lean(each), step={Pass.R: 0.5, Pass.U: 0.25, Pass.G: 0.5}, gradient=1.0)
        for each in chain(stages, activation=1.0)
    ]
    return posed(*operators, devices=unit_cluster(4, cap), microbatches=microbatches, **flags)


def test_a_choice_is_no_worse_than_uniform_ones() -> None:
    """With little memory some operators are recomputed, where it pays; with enough of it none is."""
    whole = pipeline(4.0)
    chosen = plan_of(whole)
    uniform = [plan_of(replace(whole, variants=(name,))) for name in ("base", "recompute")]
    assert chosen.makespan <= min(plan.makespan for plan in uniform) * (1 + 1e-9)
    variants = {placed.variant for placed in chosen.placement}
    assert variants == {"base", "recompute"}
    assert {placed.variant for placed in plan_of(pipeline(None)).placement} == {"base"}


def test_the_flag_restricts_the_choice() -> None:
    """An operator that has none of the names stays as it is."""
    problem = replace(pipeline(7.0), variants=("recompute",))
    plan = plan_of(problem)
    assert {placed.variant for placed in plan.placement} == {"recompute"}
    fixed = replace(problem, graph=replace(problem.graph, operators=tuple(chain(2, activation=1.0))), variants=None)
    assert {placed.variant for placed in plan_of(fixed).placement} == {"base"}


@pytest.mark.parametrize(
    ("objective", "more"),
    [("memory", {"max_makespan": 50.0}), ("period", {}), ("utilization", {"max_makespan": 200.0})],
)
def test_other_objectives(objective: str, more: dict[str, float]) -> None:
    """Their plans are valid, and memory gets by with what recomputing leaves."""
    problem = pipeline(7.0, stages=4, microbatches=6)
    plan = plan_of(problem, objective, **more)
    assert plan.step_tasks
    if objective == "memory":
        base = plan_of(replace(problem, variants=("base",)), objective, **more)
        assert max(d.peak_memory for d in plan.devices) <= max(d.peak_memory for d in base.devices)


def test_two_copies_exchange_gradients() -> None:
    """A second copy of everything pays for its exchange: where gradients are large, one copy is left."""
    small = pipeline(None, stages=4, microbatches=8, copies=2)
    heavy = [replace(each, gradient=100.0) for each in small.operators]
    large = replace(small, graph=replace(small.graph, operators=tuple(heavy)))
    plan = plan_of(replace(large, cluster=replace(large.cluster, within_node=NetworkLevel(1.0, 0.0))))
    assert not plan.exchanges
    assert plan.copies == 1


def test_a_very_long_step_ends_with_its_step_tasks() -> None:
    """They stand once in the plan, after the part that is repeated; bounds are of the whole step."""
    problem = pipeline(None, stages=4, microbatches=50_000)
    plan = plan_of(problem)
    assert plan.repeated is not None
    assert len(plan.step_tasks) == 3 * problem.n_operators
    assert min(task.start for task in plan.step_tasks) > plan.repeated.start + plan.repeated.length
    assert plan.lower_bound is not None
    assert plan.makespan <= plan.lower_bound * 1.001
