"""Baselines replayed on the problem of a plan, for commands that show them beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.baselines import BASELINES, NotApplicable, baseline_timetable
from planner.commands.common import note
from planner.objectives.baseline import baseline_plan
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.scheduling.repetition import short_step


def chosen_baselines(plan: Plan, wanted: set[str] | None, given: Sequence[str]) -> list[str]:
    """The ``wanted`` baselines (None: all that the plan names), except those in ``given``."""
    named = {b.name for b in plan.baselines if b.makespan is not None}
    return [name for name in BASELINES if name not in given and name in (named if wanted is None else wanted)]


def replayed(names: Sequence[str], problem: Problem) -> Iterator[tuple[str, Plan]]:
    """The plans of the baselines; a note for each that does not apply."""
    for name in names:
        try:
            if short_step(problem) is not None:  # far too many tasks to be replayed in full
                yield name, baseline_plan(name, problem)
                continue
            timetable = baseline_timetable(name, problem)
        except NotApplicable as reason:
            note(f"{name} does not apply: {reason}")
            continue
        yield (
            name,
            build_plan(
                problem,
                timetable,
                origin=f"baseline:{name}",
                status="feasible",
                lower_bound=None,
                placement_lower_bound=None,
                options={},
                solve_seconds=0.0,
            ),
        )
