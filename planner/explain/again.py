"""Planning again with a small effort, from the schedule of a plan where its orders still apply."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from planner.common.budget import Control, Progress
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.registry import OBJECTIVES
from planner.objectives.solving import Solving
from planner.plan.build import timetable_of
from planner.plan.plan import Plan
from planner.problem import Impossible, Problem
from planner.runtimes.names import ANY
from planner.runtimes.registry import RUNTIMES
from planner.timetable.replay import orders_of, replay
from planner.timetable.timetable import Timetable

THIS_PLAN = "this plan"
"""The name of its schedule among those that a search starts from."""


@dataclass(frozen=True)
class Searching:
    """The effort of each search and its time limit in seconds, its seed, and who hears of its progress."""

    effort: int
    time_limit: float = math.inf
    seed: int = 0
    threads: int = 2
    listener: Callable[[Progress], None] | None = None


@dataclass(frozen=True)
class Found:
    """What a search found: seconds, the lower bound, and the fullest device in bytes."""

    makespan: float
    bound: float | None
    peak: float
    cut: bool  # whether the time limit ended the search


def planned_again(problem: Problem, plan: Plan, start: Timetable | None, searching: Searching) -> Found:
    """The shortest schedule that is found with so much effort, no worse than ``start`` where that is valid.

    For a plan of a runtime only plans that it can run are searched. Raises ``Impossible`` and ``NoPlan``.
    """
    runtime = plan.options.get("runtime", ANY)
    options = SolveOptions.of(
        problem,
        time_limit=searching.time_limit,
        effort=searching.effort,
        gap=1e-6,
        seed=searching.seed,
        threads=searching.threads,
        baselines=(),
        objective="makespan",
        runtime=runtime if runtime in RUNTIMES else ANY,
    )
    control = Control(searching.time_limit, effort=float(searching.effort), listener=searching.listener)
    solving = Solving.of(problem, control, options)
    if start is not None and solving.shortened is None and options.runtime == ANY:
        key = "linear" if problem.layout == "auto" else problem.layout
        others = dict(solving.baselines)
        solving.baselines = {key: [(THIS_PLAN, start), *others.pop(key, [])], **others}
    made = OBJECTIVES["makespan"].solve(solving)
    peak = max(device.peak_memory for device in made.devices)
    return Found(made.makespan, made.lower_bound, peak, control.remaining <= 0.0)


def start_of(plan: Plan, problem: Problem, changed: Problem) -> Timetable | None:
    """The plan's orders on the changed problem, as early as possible; None where they do not apply."""
    timetable = timetable_of(plan, problem)
    if changed is problem:
        return timetable
    return replay(changed, timetable.placement, timetable.copy_of, orders_of(timetable, problem))


def reason_of(error: Impossible | NoPlan) -> str:
    """Why there is no figure."""
    return f"no plan exists: {error}" if isinstance(error, Impossible) else "no plan was found with this effort"
