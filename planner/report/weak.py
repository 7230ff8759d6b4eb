"""A sentence about a plan that may be far from the best: what binds, and what would help."""

from __future__ import annotations

from planner.plan.plan import Plan
from planner.report.words import gap, percent

WEAK = 0.3
"""Gap from which on a plan is called weak."""

FULL = 0.9
"""Share of a device's memory from which on it binds."""


def weakness(plan: Plan) -> str | None:
    """What to say of a plan whose gap is large; None of all others."""
    if plan.gap is None or plan.gap <= WEAK:
        return None
    full = [d for d in plan.devices if d.memory is not None and d.peak_memory >= FULL * d.memory]
    said = f"the plan may be far from the best: gap {gap(plan.gap)}, bubble {percent(plan.bubble_ratio)}. "
    if not full:
        return f"{said}A longer --time-limit may find a shorter one"
    cap = "A larger --memory-cap, recomputation" if plan.options.get("memory_cap") is not None else "Recomputation"
    return (
        f"{said}Memory binds: {len(full)} of {len(plan.devices)} devices use at least {FULL:.0%} of theirs, so few "
        f"microbatches are in flight. {cap}, sharded parameters, smaller microbatches or more devices would "
        "help; a longer --time-limit helps less"
    )
