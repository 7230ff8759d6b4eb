"""The baselines on a problem, replayed once, for comparison and as first schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from planner.baselines import BASELINES, SCHEDULES
from planner.baselines.choices import best_choice
from planner.baselines.registry import every_timetable
from planner.common.budget import Control
from planner.plan.plan import BaselineFigures
from planner.problem import Problem
from planner.timetable.figures import Figures, figures
from planner.timetable.timetable import Timetable

BaselineTimetables = Mapping[str, list[tuple[str, Timetable]]]
"""Timetables of baselines by layout, each with its name (of choices that are not the best: with the choice, too)."""

Ready = Callable[[str, Timetable], None]
"""Told of each baseline as soon as it has been replayed."""


def baseline_timetables(problem: Problem, control: Control) -> BaselineTimetables:
    """The timetables of the baselines by layout."""
    return replayed(problem, control)[0]


def replayed(
    problem: Problem, control: Control, ready: Ready = lambda name, timetable: None
) -> tuple[BaselineTimetables, dict[str, str]]:
    """The timetables of the baselines by layout, and the reasons why others are missing.

    With alternatives, the best choice of a baseline has its name; the others that fit in memory follow with the choice
    beside it.
    """
    baselines: dict[str, list[tuple[str, Timetable]]] = {}
    reasons: dict[str, str] = {}

    def ended() -> bool:
        return control.remaining < control.time_limit / 2

    for name in BASELINES:
        control.report(f"baseline {name}")
        if baselines and ended():
            reasons[name] = "not replayed: half of the time limit was over"
            continue
        found, refused = every_timetable(name, problem, ended)
        if not found:
            reasons[name] = str(refused[0])
            continue
        best = next(iter(found))
        more: list[tuple[str, Timetable]] = []
        if len(found) > 1:
            measured = {choice: figures(problem, each) for choice, each in found.items()}
            best = best_choice(measured)
            more = [(f"{name} at {c}", each) for c, each in found.items() if c != best and measured[c].fits]
        baselines.setdefault(SCHEDULES[name].family, []).extend([(name, found[best]), *more])
        ready(name, found[best])
    return baselines, reasons


def baseline_figures(name: str, found: Figures, timetable: Timetable, variant: str | None = None) -> BaselineFigures:
    """The row of a baseline in a plan, from its figures. ``variant``: its choice of versions, where there is one."""
    return BaselineFigures(
        name=name,
        makespan=found.makespan,
        bubble_ratio=found.bubble_ratio,
        span_bubble_ratio=found.span_bubble_ratio,
        peak_memory=found.peak_memory,
        copies=timetable.placement.copies,
        fits=found.fits,
        devices=len({d for device_of in timetable.placement.device_of for d in device_of}),
        variant=variant,
    )
