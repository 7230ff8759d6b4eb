"""Baselines: orders of actions on each device, and their timetables on a problem."""

from planner.baselines.action import NotApplicable
from planner.baselines.registry import BASELINES, SCHEDULES, baseline_pipeline, baseline_timetable

__all__ = ["BASELINES", "SCHEDULES", "NotApplicable", "baseline_pipeline", "baseline_timetable"]
