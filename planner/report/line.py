"""The report of one plan in one line; apart from the long one, which loads what draws tables."""

from __future__ import annotations

from planner.plan.plan import Plan
from planner.report.words import gap, percent, plain, seconds


def report_line(plan: Plan) -> str:
    """Origin, makespan, status, bound, gap and bubble."""
    period = "" if plan.period is None else f", period {seconds(plan.period)}"
    if plan.period is not None and plan.period_lower_bound is not None:
        period += f" (bound {seconds(plan.period_lower_bound)}, gap {gap(plan.period_gap)})"
    return (
        f"{plain(plan.origin)}: makespan {seconds(plan.makespan)}, {plan.status}, "
        f"bound {seconds(plan.lower_bound)}, gap {gap(plan.gap)}, bubble {percent(plan.bubble_ratio)}{period}\n"
    )
