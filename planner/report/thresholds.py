"""Thresholds that a script sets for a plan: whether it meets them, in words."""

from __future__ import annotations

from dataclasses import dataclass

from planner.plan.plan import Plan
from planner.report.facts import PlanFacts
from planner.report.words import apart, percent, seconds


@dataclass(frozen=True)
class Threshold:
    """Whether a plan meets a threshold, and why or by how much not; no words where there is nothing to say."""

    met: bool
    words: str = ""


def thresholds(plan: Plan, max_bubble: float | None, beat: str | None) -> list[Threshold]:
    """Those that are set: the largest bubble ratio, and the name of the baseline to beat."""
    found = [] if max_bubble is None else [_bubble(plan, max_bubble)]
    return found if beat is None else [*found, _beats(plan, beat)]


def _bubble(plan: Plan, most: float) -> Threshold:
    if plan.bubble_ratio <= most:
        return Threshold(True)
    bubble, limit = apart(percent, plan.bubble_ratio, most, 2)
    return Threshold(False, f"threshold not met: bubble {bubble} is above --max-bubble {limit}")


def _beats(plan: Plan, beat: str) -> Threshold:
    """Met where the plan is faster than the baseline, or the baseline cannot run here."""
    row = next((b for b in plan.baselines if b.name == beat), None)
    faster = None if row is None else PlanFacts(plan).faster_than(row)
    if row is not None and row.reason is not None:
        return Threshold(True, f"--beat {beat}: met, for it does not apply here: {row.reason}")
    if row is None or row.makespan is None or faster is None:
        return Threshold(False, f"threshold not met: --beat {beat}: its makespan is not known, the search ended before")
    if row.fits is False:
        return Threshold(True, f"--beat {beat}: met, for it does not fit in memory here")
    if faster:
        return Threshold(True)
    own, its = apart(seconds, plan.makespan, row.makespan)
    other = "that of it" if own == its else its
    return Threshold(False, f"threshold not met: --beat {beat}: makespan {own} is not below {other}")
