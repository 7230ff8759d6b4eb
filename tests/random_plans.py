"""Valid plans of random problems, memory tight as often as not."""

from __future__ import annotations

import numpy as np
from solver_problems import random_search

from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.scheduling.list.kernel import run
from planner.scheduling.list.look import Look
from planner.scheduling.retime import retime
from planner.timetable.timetable import Timetable


def plan_of(problem: Problem, timetable: Timetable) -> Plan:
    """A plan with bounds that say nothing."""
    return build_plan(
        problem,
        timetable,
        origin="solve",
        status="feasible" if timetable.makespan(problem) else "optimal",
        lower_bound=0.0,
        placement_lower_bound=0.0,
        options={"copies": problem.copies},
        solve_seconds=0.0,
    )


def random_plan(seed: int) -> tuple[Problem, Plan] | None:
    """A list schedule under random keys; None where the seed's problem has no such plan."""
    search = random_search(seed, operators=7, devices=3)
    if search is None:
        return None
    classes = search.classes
    keys = np.random.default_rng(seed).random((classes.n, max(classes.counts)))
    _, start, turn = run(search.arrays, keys, Look(0.3))
    seconds = retime(classes, start, turn)
    assert seconds is not None
    return classes.problem, plan_of(classes.problem, classes.timetable(seconds))
