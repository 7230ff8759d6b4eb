"""The baselines on a problem, replayed once, for comparison and as first schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from planner.baselines import BASELINES, SCHEDULES, NotApplicable, baseline_timetable
from planner.common.budget import Control
from planner.plan.plan import BaselineFigures
from planner.problem import Problem
from planner.timetable.figures import Figures
from planner.timetable.timetable import Timetable

BaselineTimetables = Mapping[str, list[tuple[str, Timetable]]]
"""Timetables of baselines by layout, each with its name."""


Ready = Callable[[str, Timetable], None]
"""Told of each baseline as soon as it has been replayed."""


def baseline_timetables(problem: Problem, control: Control) -> BaselineTimetables:
    """The timetables of the baselines by layout."""
    return replayed(problem, control)[0]


def replayed(
    problem: Problem, control: Control, ready: Ready = lambda name, timetable: None
) -> tuple[BaselineTimetables, dict[str, str]]:
    """The timetables of the baselines by layout, and the reasons why others are missing."""
    baselines: dict[str, list[tuple[str, Timetable]]] = {}
    reasons: dict[str, str] = {}
    for name in BASELINES:
        control.report(f"baseline {name}")
        if baselines and control.remaining < control.time_limit / 2:
            reasons[name] = "not replayed: half of the time limit was over"
            continue
        try:
            timetable = baseline_timetable(name, problem)
        except NotApplicable as reason:
            reasons[name] = str(reason)
            continue
        baselines.setdefault(SCHEDULES[name].family, []).append((name, timetable))
        ready(name, timetable)
    return baselines, reasons


def baseline_figures(name: str, found: Figures, timetable: Timetable) -> BaselineFigures:
    """The row of a baseline in a plan, from its figures."""
    return BaselineFigures(
        name=name,
        makespan=found.makespan,
        bubble_ratio=found.bubble_ratio,
        span_bubble_ratio=found.span_bubble_ratio,
        peak_memory=found.peak_memory,
        copies=timetable.placement.copies,
        fits=found.fits,
        devices=len({d for device_of in timetable.placement.device_of for d in device_of}),
    )
