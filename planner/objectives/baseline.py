"""A baseline as a plan of its own."""

from __future__ import annotations

import math
from dataclasses import replace

from planner.baselines import NotApplicable, baseline_timetable
from planner.common.budget import Control
from planner.objectives.certified import verified
from planner.objectives.options import GAP
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.scheduling.repetition import Repetition, repetition_of, short_step
from planner.scheduling.steady_state import pattern_of
from planner.timetable.figures import figures
from planner.timetable.timetable import Timetable

NO_STEADY_STATE = "no steady state was found in its order that could be repeated for so many microbatches"


def baseline_repetition(whole: Problem, short: Problem, timetable: Timetable) -> Repetition | None:
    """The whole step of a baseline from its short one, whatever memory it takes; None if it has no steady state."""
    free = replace(short, memory_cap=math.inf)
    found = repetition_of(whole, free, timetable)
    return None if found is None else replace(found, short=short)


def baseline_plan(name: str, problem: Problem) -> Plan:
    """The plan of a baseline; raises ``planner.baselines.NotApplicable`` with the reason.

    It ignores the memory cap; its figures say whether it fits. If it respects the cap and the number of copies, it
    has the bounds of the problem that need no search; else it has no bounds, since they do not hold for it. A
    bidirectional baseline brings its own copies, which its options allow.
    """
    from planner.bounds import placement_bound, problem_bound

    control = Control()
    short = short_step(problem)
    timetable = baseline_timetable(name, problem if short is None else short)
    window, repeated, whole = None, None, figures(problem, timetable) if short is None else None
    if short is None:
        window = pattern_of(problem, timetable)
    else:
        repetition = baseline_repetition(problem, short, timetable)
        if repetition is None:
            raise NotApplicable(NO_STEADY_STATE)
        timetable, repeated, whole = repetition.timetable, repetition.part, repetition.figures()
    assert whole is not None
    fits = whole.fits
    comparable = fits and timetable.placement.copies <= problem.copies
    plan = build_plan(
        problem if short is None else short,
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
        window=window,
        repeated=repeated,
        whole=whole,
    )
    if plan.gap is not None and plan.gap <= GAP:
        plan = replace(plan, status="optimal")
    return verified(plan, problem, cap=fits)
