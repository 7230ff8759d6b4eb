"""Baselines pipeline schedules as orders, and what they achieve on a problem."""

from planner.baselines.action import NotApplicable
from planner.baselines.registry import BASELINES, SCHEDULES, baseline_pipeline, baseline_timetable

__all__ = ["BASELINES", "SCHEDULES", "NotApplicable", "baseline_pipeline", "baseline_timetable"]
