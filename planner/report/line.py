"""The report of one plan in one line. A module of its own: the long report loads a library for tables."""

from __future__ import annotations

from planner.plan.plan import Plan
from planner.report.words import amount, gap, percent, plain, seconds


def report_line(plan: Plan) -> str:
    """Origin, makespan, status, bound, gap, bubble, and the figures of the objective."""
    figures = ""
    for figure in plan.figures:
        if figure.value is not None:
            figures += f", {figure.kind.title} {amount(figure.value, figure.unit)}"
        if figure.value is not None and figure.bound is not None:
            figures += f" (bound {amount(figure.bound, figure.unit)}, gap {gap(figure.gap)})"
    return (
        f"{plain(plan.origin)}: makespan {seconds(plan.makespan)}, {plan.status}, "
        f"bound {seconds(plan.lower_bound)}, gap {gap(plan.gap)}, bubble {percent(plan.bubble_ratio)}{figures}\n"
    )
