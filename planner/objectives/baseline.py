"""A baseline as a plan of its own."""

from __future__ import annotations

import math
from dataclasses import replace

from planner.baselines import NotApplicable, baseline_timetable
from planner.baselines.choices import choice_of
from planner.common.budget import Control
from planner.common.tolerance import closes
from planner.objectives.certified import verified
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.graph import BASE
from planner.runtimes.names import ANY
from planner.runtimes.registry import RUNTIMES
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


def baseline_plan(name: str, problem: Problem, variant: str | None = None, runtime: str = ANY) -> Plan:
    """The plan of a baseline; raises ``planner.baselines.NotApplicable`` with the reason.

    ``variant``: what all operators are that have it; None: the best choice that fits in memory. ``runtime``: which
    runs it, as it runs it.

    It ignores the memory cap; its figures say whether it fits. If it respects the cap and the number of copies, it
    has the bounds of the problem that need no search; else it has no bounds, since they do not hold for it. A
    bidirectional baseline brings its own copies, which its options allow.
    """
    from planner.bounds import placement_bound, problem_bound

    control = Control()
    short = short_step(problem)
    timetable = _timetable(name, problem if short is None else short, variant, runtime)
    choice = choice_of(problem, timetable.placement)
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
    bound = problem_bound(problem, control) if comparable else None
    plan = build_plan(
        problem if short is None else short,
        timetable,
        origin=f"baseline:{name}",
        status="feasible" if bound is None or not closes(whole.makespan, bound) else "optimal",
        lower_bound=bound,
        placement_lower_bound=placement_bound(problem, timetable.placement) if comparable else None,
        options={
            "microbatches": problem.microbatches,
            "copies": timetable.placement.copies,
            "chunks": problem.chunks,
            "memory_cap": problem.memory_cap,
            **({} if problem.variants is None else {"variants": list(problem.variants)}),
            **({} if variant is None else {"variant": variant}),
            **({} if runtime == ANY else {"runtime": runtime}),
        },
        solve_seconds=round(control.elapsed, 3),
        notes=(
            "contiguous stages, balanced by time; the baseline's order, replayed with the same costs, transfers "
            "and memory" + ("" if runtime == ANY else f", as {RUNTIMES[runtime].title} runs it"),
            *(() if choice is None else (_in_words(choice),)),
            *(() if fits else ("needs more memory than the devices offer",)),
        ),
        window=window,
        repeated=repeated,
        whole=whole,
    )
    return verified(plan, problem, cap=fits)


def _timetable(name: str, problem: Problem, variant: str | None, runtime: str) -> Timetable:
    if runtime == ANY:
        return baseline_timetable(name, problem, variant)
    from planner.search.as_run import baseline_as_run

    return baseline_as_run(name, problem, RUNTIMES[runtime], variant)


def _in_words(choice: str) -> str:
    if choice == BASE:
        return "every operator as it stands (base)"
    return f"every operator that has variant {choice} is in it"
