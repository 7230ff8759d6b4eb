"""Planning again with a small effort, from the schedule of a plan where its orders still apply."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.common.budget import Control, Progress
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.registry import OBJECTIVES
from planner.objectives.solving import Solving
from planner.plan.build import timetable_of
from planner.plan.plan import Plan
from planner.problem import Impossible, Placement, Problem
from planner.runtimes.names import ANY
from planner.runtimes.registry import RUNTIMES
from planner.timetable.replay import Task, orders_of, replay
from planner.timetable.timetable import Timetable

THIS_PLAN = "this plan"
"""The name of its schedule among those that a search starts from."""


@dataclass(frozen=True)
class Searching:
    """The effort of each search and its time limit in seconds, its seed, and who hears of its progress."""

    effort: int
    time_limit: float = math.inf
    seed: int = 0
    threads: int | None = None
    listener: Callable[[Progress], None] | None = None


@dataclass(frozen=True)
class Found:
    """The plan that a search found. ``cut``: whether the time limit ended it."""

    plan: Plan
    cut: bool

    @property
    def peak(self) -> float:
        """Bytes on the fullest device."""
        return max(device.peak_memory for device in self.plan.devices)


def planned_again(problem: Problem, plan: Plan, starts: Sequence[Timetable], searching: Searching) -> Found:
    """The shortest schedule that is found with so much effort, no worse than the valid ones of ``starts``.

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
    solving.begin_with(THIS_PLAN, starts)
    made = OBJECTIVES["makespan"].solve(solving)
    return Found(made, control.remaining <= 0.0)


def start_of(plan: Plan, problem: Problem, changed: Problem, split: int | None = None) -> Timetable | None:
    """The plan's orders on the changed problem, as early as possible; None where they do not apply.

    ``split``: the operator that the changed problem has in two halves, one after the other; they run in turn.
    """
    if plan.repeated is not None:
        return None
    timetable = timetable_of(plan, problem)
    if changed is problem:
        return timetable
    placement, orders = timetable.placement, orders_of(timetable, problem)
    if split is not None:
        k = split
        placement = Placement(
            tuple((*row[: k + 1], *row[k:]) for row in placement.device_of),
            placement.origin,
            tuple((*row[: k + 1], *row[k:]) for row in placement.variant_of),
        )
        orders = [[[half for task in stream for half in _halves(task, k)] for stream in device] for device in orders]
    return replay(changed, placement, timetable.copy_of, orders)


def _halves(task: Task, split: int) -> list[Task]:
    """The tasks that replace one: forward the first half comes first, backward the second one."""
    i, p, m = task
    if i != split:
        return [(i + (i > split), p, m)]
    return [(i, p, m), (i + 1, p, m)] if p == 0 else [(i + 1, p, m), (i, p, m)]


def reason_of(error: Impossible | NoPlan) -> str:
    """Why there is no figure."""
    return f"no plan exists: {error}" if isinstance(error, Impossible) else "no plan was found with this effort"
