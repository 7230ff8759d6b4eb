"""A baseline as a plan of its own."""

from __future__ import annotations

from planner.baselines import baseline_timetable
from planner.common.budget import Control
from planner.objectives.certified import verified
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.scheduling.steady_state import window_of
from planner.timetable.figures import figures


def baseline_plan(name: str, problem: Problem) -> Plan:
    """The plan of a baseline; raises ``planner.baselines.NotApplicable`` with the reason.

    It ignores the memory cap: whether it fits stands in its figures. Its bounds are those of the problem, as
    far as they need no search, where it respects the copies and the cap; else they say nothing about it. A
    bidirectional schedule brings its copies along: its options allow them.
    """
    from planner.bounds import placement_bound, problem_bound

    control = Control()
    timetable = baseline_timetable(name, problem)
    fits = figures(problem, timetable).fits
    comparable = fits and timetable.placement.copies <= problem.copies
    plan = build_plan(
        problem,
        timetable,
        origin=f"baseline:{name}",
        status="feasible",
        lower_bound=problem_bound(problem, control) if comparable else None,
        placement_lower_bound=placement_bound(problem, timetable.placement) if comparable else None,
        options={
            "microbatches": problem.microbatches,
            "copies": timetable.placement.copies,
            "chunks": problem.chunks,
            "memory_cap": problem.memory_cap,
        },
        solve_seconds=round(control.elapsed, 3),
        notes=(
            "contiguous stages, balanced by time; the published order, replayed with the same costs, transfers "
            "and memory",
            *(() if fits else ("needs more memory than the devices offer",)),
        ),
        window=window_of(problem, timetable),
    )
    return verified(plan, problem, cap=fits)
