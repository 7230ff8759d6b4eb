"""Plans from timetables: order, gap, bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from handmade import cluster, graph, operator, problem, sequential

from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Placement, Problem
from planner.timetable.timetable import Timetable


def posed() -> Problem:
    a = operator("a", w=1, output=1)
    b = operator("b", "a", w=1)
    return problem(graph(a, b, microbatches=2), cluster(2, latency=0.5), copies=2)


def build(problem: Problem, timetable: Timetable, low: float | None, placed: float | None, **more: Any) -> Plan:
    return build_plan(
        problem,
        timetable,
        origin="solve",
        status="feasible",
        lower_bound=low,
        placement_lower_bound=placed,
        options={"copies": 2},
        solve_seconds=0.0,
        **more,
    )


def test_order_of_rows() -> None:
    """Placement by copy, then operator; tasks by start, then device; transfers by start."""
    p = posed()
    plan = build(p, sequential(p, [[0, 1], [1, 0]], [0, 1]), None, None)
    assert [(x.operator, x.copy, x.device) for x in plan.placement] == [
        ("a", 0, "gpu0"),
        ("b", 0, "gpu1"),
        ("a", 1, "gpu1"),
        ("b", 1, "gpu0"),
    ]
    assert [(t.start, t.device) for t in plan.tasks] == sorted((t.start, t.device) for t in plan.tasks)
    assert [t.start for t in plan.transfers] == sorted(t.start for t in plan.transfers)
    assert len(plan.tasks) == 12
    assert [(t.operator, t.pass_, t.source, t.target) for t in plan.transfers[:2]] == [
        ("a", "F", "gpu0", "gpu1"),
        ("a", "I", "gpu1", "gpu0"),
    ]


def test_order_of_transfers_in_the_timetable_does_not_matter() -> None:
    p = posed()
    timetable = sequential(p, [[0, 1], [1, 0]], [0, 1])
    turned = replace(timetable, transfers=timetable.transfers[::-1])
    assert build(p, timetable, None, None) == build(p, turned, None, None)


def test_gap_and_bounds() -> None:
    """gap = (makespan - bound) / makespan; the problem's bound holds for the placement too."""
    p = posed()
    timetable = sequential(p, [[0, 1]])
    makespan = timetable.makespan(p)
    plan = build(p, timetable, makespan / 2, makespan / 4)
    assert plan.gap == 0.5
    assert plan.placement_lower_bound == makespan / 2
    assert build(p, timetable, None, None).gap is None


def test_bound_above_the_makespan() -> None:
    """Rounding alone is taken away; a wrong bound stays visible."""
    p = posed()
    timetable = sequential(p, [[0, 1]])
    makespan = timetable.makespan(p)
    assert build(p, timetable, makespan * (1 + 1e-12), None).gap == 0.0
    assert build(p, timetable, makespan * 1.01, None).lower_bound == makespan * 1.01


def test_instants_a_hair_below_zero_are_zero() -> None:
    p = problem(graph(operator("a")), cluster(1))
    start = np.array([[[-1e-17], [1.0], [np.nan]]])
    plan = build(p, Timetable(Placement.single([0]), (0,), start, ()), None, None)
    assert str(plan.tasks[0].start) == "0.0"
    assert plan.tasks[0].end == 1.0


def test_extras_pass_through() -> None:
    p = posed()
    plan = build(p, sequential(p, [[0, 1]]), None, None, notes=["as found"])
    assert plan.notes == ("as found",)
    assert (plan.graph.sha256, plan.cluster.sha256) == ("a" * 64, "c" * 64)
    assert plan.options == {"copies": 2}


@pytest.mark.parametrize("copies", [1, 2])
def test_copies(copies: int) -> None:
    p = posed()
    plan = build(p, sequential(p, [[0, 1], [1, 0]][:copies]), None, None)
    assert plan.copies == copies
