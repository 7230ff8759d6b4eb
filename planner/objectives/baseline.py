"""A baseline as a plan of its own."""

from __future__ import annotations

from planner.baselines import baseline_timetable
from planner.common.budget import Control
from planner.objectives.certified import verified
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.scheduling.steady_state import pattern_of
from planner.timetable.figures import figures


def baseline_plan(name: str, problem: Problem) -> Plan:
    """The plan of a baseline; raises ``planner.baselines.NotApplicable`` with the reason.

    It ignores the memory cap; its figures say whether it fits. If it respects the cap and the number of copies, it
    has the bounds of the problem that need no search; else it has no bounds, since they do not hold for it. A
    bidirectional baseline brings its own copies, which its options allow.
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
            "contiguous stages, balanced by time; the baseline's order, replayed with the same costs, transfers "
            "and memory",
            *(() if fits else ("needs more memory than the devices offer",)),
        ),
        window=pattern_of(problem, timetable),
    )
    return verified(plan, problem, cap=fits)
