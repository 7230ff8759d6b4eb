"""The least period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.common.tolerance import closes
from planner.objectives.options import NoPlan

if TYPE_CHECKING:
    from planner.objectives.solving import Solving
    from planner.plan.plan import Plan

PLACEMENT_SHARE = 0.7
"""Share of the time limit for the placement of the least period."""


class Period:
    """The work of the busiest stream or channel for a microbatch; then the makespan."""

    name = "period"
    help = "the busiest stream's work for a microbatch"
    options: tuple[str, ...] = ()

    def solve(self, solving: Solving) -> Plan:
        """The placement of the least period, then the shortest schedule on it."""
        from planner.objectives.least_period import PeriodSearch
        from planner.plan.plan import Figure
        from planner.search import search_on

        problem, control, options = solving.problem, solving.control, solving.options
        limited = control.part(PLACEMENT_SHARE)
        found = PeriodSearch(problem, limited, options.gap, options.seed, options.threads, solving.params.period).run()
        if found is None:
            raise NoPlan("no placement was found within the limits, and none is proven not to exist")
        incumbent = solving.incumbent(control)
        state = solving.state(incumbent)
        best = search_on(state, found.placement)
        if best is None:
            raise NoPlan("no schedule was found within the limits, and none is proven not to exist")
        seconds = solving.period(best)
        bound = min(found.bound, seconds)
        proven = closes(seconds, bound, options.gap)
        notes = (
            "the period is the work of the busiest stream or channel for a microbatch, whatever the order; the "
            "makespan and its bound are those of the step",
            *state.notes,
        )
        return solving.plan(best, incumbent, proven, notes, [Figure("period", seconds, bound)])
