"""The least period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.objectives.options import NoPlan

if TYPE_CHECKING:
    from planner.objectives.solving import Solving
    from planner.plan.plan import Plan

PLACEMENT_SHARE = 0.7
"""Of the time limit, what the search for the placement of the least period may take."""


class Period:
    """What the busiest stream or channel works for a microbatch; the makespan only after it."""

    name = "period"
    help = "the busiest stream's work for a microbatch"
    options: tuple[str, ...] = ()

    def solve(self, solving: Solving) -> Plan:
        """The placement of the least period, then the shortest schedule on it."""
        from planner.objectives.least_period import PeriodSearch
        from planner.plan.plan import Figure
        from planner.timetable.period import period

        problem, control, options = solving.problem, solving.control, solving.options
        search = PeriodSearch(problem, control.part(PLACEMENT_SHARE), options.gap, options.seed, options.threads)
        found = search.run()
        if found is None:
            raise NoPlan("no placement was found within the limits, and none is proven not to exist")
        incumbent = solving.incumbent(control)
        portfolio = solving.portfolio(incumbent)
        best = portfolio.run_on(found.placement)
        if best is None:
            raise NoPlan("no schedule was found within the limits, and none is proven not to exist")
        seconds = period(problem, best.timetable)
        bound = min(found.bound, seconds)
        proven = seconds - bound <= options.gap * seconds
        notes = (
            "the period is the work of the busiest stream or channel for a microbatch, whatever the order; the "
            "makespan and its bound are those of the step",
            *portfolio.notes,
        )
        return solving.plan(best, incumbent, proven, notes, [Figure("period", seconds, bound)])
