"""Published pipeline schedules as orders, and what they achieve on a problem."""

from planner.baselines.call import NotApplicable
from planner.baselines.registry import BASELINES, baseline_pipeline, baseline_timetable

__all__ = ["BASELINES", "NotApplicable", "baseline_pipeline", "baseline_timetable"]
