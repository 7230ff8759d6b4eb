"""Rule 7: bounds, gap and status agree with each other, and the plan belongs to these two files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields

from planner.common.messages import shown
from planner.plan.plan import Plan, Source
from planner.verification.facts import INSTANT, Facts, Violation, number
from planner.verification.rules import Rule

DEFAULT_GAP = 1e-6
ROUNDING = 1e-3
"""A gap this close (relatively) to the one asked for may count as either side of it."""

OBJECTIVES = ("makespan", "memory", "period", "utilization")
"""A list of its own, since verification shares no code with what makes plans."""


def check_bounds(facts: Facts) -> Iterator[Violation]:
    """Yield what is wrong with sources, bounds, gap and status."""
    plan = facts.plan
    yield from _source("graph", plan.graph, Source(facts.graph.name, facts.graph.sha256))
    yield from _source("cluster", plan.cluster, Source(facts.cluster.name, facts.cluster.sha256))
    yield from _made_from(facts)
    if plan.objective not in OBJECTIVES:
        yield Violation(Rule.BOUNDS, f"objective is {shown(plan.objective)}, not one of {', '.join(OBJECTIVES)}")
    yield from _bounds(plan)
    yield from _gap(plan)
    yield from _status(plan)


def _source(kind: str, found: Source, given: Source) -> Iterator[Violation]:
    """Bounds and plan hold for the files they were made from."""
    if found.name != given.name:
        yield Violation(Rule.BOUNDS, f"the plan is for {kind} {shown(found.name)}, not {shown(given.name)}")
    if found.sha256 != given.sha256:
        yield Violation(
            Rule.BOUNDS,
            f"the {kind} file has changed since: its SHA-256 is {given.sha256 or 'unknown'}, "
            f"the plan's {found.sha256 or 'unknown'}",
        )


def _made_from(facts: Facts) -> Iterator[Violation]:
    """What the plan says its graph was made from is what the graph says; it need not say it."""
    found, given, mode = facts.plan.graph.origin, facts.graph.made_from, facts.graph.mode.value
    if found is None:
        return
    if given is None:
        yield Violation(Rule.BOUNDS, f"graph.origin names model {shown(found.model)}, but the graph has no origin")
        return
    pairs = [(f"origin.{each.name}", getattr(found, each.name), getattr(given, each.name)) for each in fields(given)]
    for name, own, stated in [("mode", facts.plan.graph.mode, mode), *pairs]:
        if own != stated:
            yield Violation(Rule.BOUNDS, f"graph.{name} is {shown(own)}, but the graph says {shown(stated)}")


def _bounds(plan: Plan) -> Iterator[Violation]:
    """Bounds are numbers from 0 up to the makespan, and the placement's is no lower than the problem's."""
    slack = INSTANT * abs(plan.makespan) if math.isfinite(plan.makespan) else 0.0
    for field, bound in (
        ("lower_bound", plan.lower_bound),
        ("placement_lower_bound", plan.placement_lower_bound),
    ):
        if bound is None:
            if plan.origin == "solve":
                yield Violation(Rule.BOUNDS, f"{field} is null; only a baseline may lack a bound")
        elif not math.isfinite(bound) or bound < 0:
            yield Violation(Rule.BOUNDS, f"{field} is {number(bound)}, which bounds nothing")
        elif bound > plan.makespan + slack:
            yield Violation(Rule.BOUNDS, f"{field} {number(bound)} exceeds the makespan {number(plan.makespan)}")
    low, placed = plan.lower_bound, plan.placement_lower_bound
    if low is not None and placed is not None and placed < low - slack:
        yield Violation(
            Rule.BOUNDS,
            f"placement_lower_bound {number(placed)} is below lower_bound {number(low)}, which holds too",
        )


def _gap(plan: Plan) -> Iterator[Violation]:
    """gap = (makespan - lower_bound) / makespan."""
    if plan.lower_bound is None:
        expected = None
    elif plan.makespan == 0:
        expected = 0.0
    else:
        expected = (plan.makespan - plan.lower_bound) / plan.makespan
    agree = plan.gap is None if expected is None else plan.gap is not None and abs(plan.gap - expected) <= INSTANT
    if not agree:
        words = ["null" if value is None else number(value) for value in (plan.gap, expected)]
        yield Violation(Rule.BOUNDS, f"gap is {words[0]}, but it follows as {words[1]} from makespan and lower_bound")


def _status(plan: Plan) -> Iterator[Violation]:
    """``optimal`` exactly where the gap is at most the one asked for; a gap below ``INSTANT`` counts as 0."""
    if plan.status not in ("optimal", "feasible", "interrupted"):
        yield Violation(Rule.BOUNDS, f"status is {shown(plan.status)}, not optimal, feasible or interrupted")
    asked = plan.options.get("gap")
    allowed = float(asked) if isinstance(asked, int | float) and not isinstance(asked, bool) else DEFAULT_GAP
    if plan.status != "optimal":
        enough = max(allowed, INSTANT) * (1.0 - ROUNDING)
        if plan.gap is not None and plan.gap <= enough and plan.objective == "makespan":
            what = (
                f"status is {shown(plan.status)}, but the gap {number(plan.gap)} is within {number(allowed)}: optimal"
            )
            yield Violation(Rule.BOUNDS, what)
        return
    if plan.objective != "makespan" and all(figure.bound is None for figure in plan.figures):
        what = (
            f"status is optimal for {shown(plan.objective)}, but the plan has no bound of any figure but the makespan"
        )
        yield Violation(Rule.BOUNDS, what)
    if plan.gap is None:
        yield Violation(Rule.BOUNDS, "status is optimal without a gap")
    elif not plan.gap <= allowed + INSTANT:
        yield Violation(Rule.BOUNDS, f"status is optimal, but the gap {number(plan.gap)} exceeds {number(allowed)}")
