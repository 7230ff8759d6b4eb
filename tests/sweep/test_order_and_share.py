"""Which points have what in common, and what they take from each other at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from solver_problems import CONFIGS
from sweep_runs import point

from planner.common.budget import Control
from planner.files import read_cluster, read_graph
from planner.objectives.certified import InvalidPlan, violations_of
from planner.objectives.options import SolveOptions
from planner.objectives.registry import solve
from planner.plan.plan import Plan
from planner.problem import Impossible, Problem
from planner.sweeping.order import allows, starts_of
from planner.sweeping.point import INFEASIBLE, NO_PLAN, Point
from planner.sweeping.rows import Row, axes, names, titles
from planner.sweeping.share import Solved, exit_code, shared


def planned(of: Point) -> Plan:
    assert of.problem is not None and of.options is not None
    return solve(of.problem, Control(float("inf"), effort=30.0), of.options)


def test_wider_points_allow_the_plans_of_narrower_ones() -> None:
    narrow = point(memory_cap=8.0)
    for wider in ({"memory_cap": 9.0}, {"memory_cap": 8.0, "copies": 2}, {"memory_cap": 12.0, "copies": 3}):
        assert allows(point(**wider), narrow) and not allows(narrow, point(**wider))
    for other in ({"microbatches": 9}, {"effort": 31}, {"memory_cap": 7.0, "copies": 2}, {"objective": "memory"}):
        flags: dict[str, Any] = {"memory_cap": 9.0} | other
        assert not allows(point(**flags), narrow) and not allows(narrow, point(**flags))
    assert allows(point(), point(memory_cap=7.0)) and allows(point(memory_cap=7.0), point()), "7 is the cluster's"
    linear = point(memory_cap=8.0, layout="linear")
    assert allows(narrow, linear) and not allows(linear, narrow)
    assert allows(narrow, narrow)


def test_starts_come_from_narrower_points_in_few_steps() -> None:
    """Point k of a chain begins with the plan of k without its lowest binary digit; copies are a chain, too."""
    points = [point(memory_cap=float(7 + cap), copies=copies) for copies in (1, 2) for cap in range(6)]
    assert starts_of(points) == [
        [], [0], [0], [2], [0], [4],
        [0], [6, 1], [6, 2], [8, 3], [6, 4], [10, 5],
    ]  # fmt: skip
    other = [
        point(memory_cap=8.0, effort=5),
        point(memory_cap=9.0, effort=6),
        point(memory_cap=9.0, objective="period"),
    ]
    assert starts_of(other) == [[], [], []]
    for k, before in enumerate(starts_of(points)):
        assert all(allows(points[k], points[b]) for b in before)


def test_all_variants_begin_with_the_plans_of_some() -> None:
    """Under each cap with those under the same cap, besides the plan under the lower one."""
    choices = (("base",), ("store",), None)
    points = [choosing(cap * 2.0**30, variants) for cap in (30, 40) for variants in choices]
    assert starts_of(points) == [[], [], [0, 1], [0], [1], [2, 3, 4]]


def choosing(cap: float, variants: tuple[str, ...] | None) -> Point:
    """A point on a graph with variants."""
    files = [CONFIGS / "multimodal-choose" / name for name in ("graph.yaml", "cluster.yaml")]
    problem = Problem(read_graph(files[0]), read_cluster(files[1]), 8, memory_cap=cap, variants=variants)
    limits: dict[str, Any] = {"time_limit": float("inf"), "effort": 30, "gap": 1e-6, "seed": 0, "threads": 1}
    options = SolveOptions.of(problem, **limits, baselines=(), objective="makespan")
    return Point(options.flags, problem, options)


def test_plans_go_up_and_bounds_go_down() -> None:
    """A plan of one copy under a low cap serves two copies under a high one; each is verified where it goes."""
    points = [point(memory_cap=8.0), point(memory_cap=9.0, copies=2), point(memory_cap=9.0)]
    narrow, wide, between = map(planned, points)
    assert wide.makespan < narrow.makespan and wide.lower_bound is not None
    weak = replace(narrow, lower_bound=1.0, placement_lower_bound=1.0, status="feasible", gap=1 - 1 / narrow.makespan)
    slow = [Solved(weak, "", 0, 2.0), Solved(wide, "", 0, 3.0), Solved(None, "no plan", NO_PLAN, 1.0)]
    first, second, third = shared(points, ["a", "b", "c"], slow)
    assert first is not None and second is not None and third is not None
    assert second == slow[1]
    assert first.plan is not None and first.plan.lower_bound == wide.lower_bound, (
        "the bound of two copies holds for one"
    )
    assert first.plan.makespan == narrow.makespan and first.plan.notes[-1] == "the bound is that of b"
    assert third.plan is not None and third.plan.makespan == narrow.makespan and third.reason == ""
    assert third.plan.options == points[2].flags and third.plan.notes[0] == "the plan is that of a"
    assert third.plan.lower_bound is not None and third.plan.lower_bound >= wide.lower_bound
    assert [b.name for b in third.plan.baselines] == ["1f1b", "dualpipe"]
    assert between.makespan <= third.plan.makespan
    for each, of in zip((first, second, third), points, strict=True):
        assert each.plan is not None and of.problem is not None and violations_of(each.plan, of.problem) == []


def test_a_bound_that_meets_the_plan_makes_it_optimal() -> None:
    points = [point(memory_cap=9.0), point(memory_cap=10.0)]
    plan = planned(points[0])
    weak = replace(plan, lower_bound=1.0, placement_lower_bound=1.0, status="feasible", gap=1 - 1 / plan.makespan)
    first, _ = shared(points, ["a", "b"], [Solved(weak, "", 0, 1.0), Solved(planned(points[1]), "", 0, 1.0)])
    assert first is not None and first.plan is not None and first.plan.status == "optimal" and first.plan.gap == 0


def test_a_bound_above_a_plan_is_a_fault_that_is_not_hidden() -> None:
    points = [point(memory_cap=9.0), point(memory_cap=10.0)]
    plan = planned(points[0])
    wrong = replace(planned(points[1]), lower_bound=2 * plan.makespan)
    with pytest.raises(InvalidPlan):
        shared(points, ["a", "b"], [Solved(plan, "", 0, 1.0), Solved(wrong, "", 0, 1.0)])


def test_what_no_wide_cap_allows_no_narrow_one_does() -> None:
    points = [point(memory_cap=0.5), point(memory_cap=1.0), point(memory_cap=9.0)]
    with pytest.raises(Impossible):
        planned(points[0])
    solved = [Solved(None, "no plan", NO_PLAN, 1.0), Solved(None, "infeasible: x", INFEASIBLE, 1.0), None]
    first, second, third = shared(points, ["a", "b", "c"], solved)
    assert first is not None and (first.code, first.reason) == (INFEASIBLE, "infeasible, as b is")
    assert second == solved[1] and third is None, "what was not reached stays so"


def test_exit_codes() -> None:
    plan = planned(point())
    none, proven = Solved(None, "x", NO_PLAN, 1.0), Solved(None, "x", INFEASIBLE, 1.0)
    assert exit_code([none, Solved(plan, "", 0, 1.0)]) == 0
    assert (exit_code([proven, proven]), exit_code([proven, none]), exit_code([proven, None])) == (3, 4, 4)


def test_rows_and_names() -> None:
    points = [point(memory_cap=float(c) * 2**30, copies=k) for k in (1, 2) for c in (8, 9)]
    assert axes(points) == {"copies": [1, 2], "memory_cap": [8.0 * 2**30, 9.0 * 2**30]}
    assert titles(points)[1] == "copies 1, memory cap 9 GiB" and names(points)[1] == "copies-1_memory-cap-9-GiB"
    near = [point(memory_cap=2.0**40), point(memory_cap=2.0**40 + 1)]
    assert len(set(names(near))) == 2 and len(set(titles(near))) == 1
    alone = replace(points[0], max_bubble=0.01, beat="1f1b")
    row = Row.of(alone, "a", Solved(planned(points[0]), "", 0, 1.0))
    assert row.met is False and "--max-bubble" in row.reason
    found = row.document()
    assert (found["gap_asked"], found["gap"], found["max_bubble"], found["best_baseline"]) == (
        1e-6,
        0.0,
        0.01,
        "dualpipe",
    )
    assert Row.of(alone, "a", Solved(None, "infeasible: x", 3, 1.0)).met is False
    assert Row.of(points[0], "a", None).status == "interrupted" and Row.of(points[0], "a", None).met is None
