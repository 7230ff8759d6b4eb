"""The least memory for a makespan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.common.tolerance import WITHIN, closes
from planner.objectives.options import FIRST_SHARE

if TYPE_CHECKING:
    from planner.objectives.solving import Solving
    from planner.plan.plan import Plan
    from planner.problem import Problem
    from planner.search import Candidate


class Memory:
    """The peak of the fullest device, for a makespan of at most ``max_makespan`` or for the best that is found."""

    name = "memory"
    help = "the peak over the devices, for a makespan"
    options: tuple[str, ...] = ("max_makespan",)

    def solve(self, solving: Solving) -> Plan:
        """A schedule first, then ever lower peaks."""
        from planner.objectives.least_memory import Asked, least_memory
        from planner.plan.plan import Figure
        from planner.search import search

        control, options, limit = solving.control, solving.options, solving.limit
        best, state = solving.shortest(control if limit else control.part(FIRST_SHARE), limit)
        state.incumbent.publish_best()

        def within(capped: Problem, seconds: float) -> Candidate | None:
            """A schedule under lower caps that takes no longer than so many seconds."""
            low = solving.incumbent_of(capped, control, seconds * WITHIN)
            found = search(solving.state(low), brief=True)
            return found if found is not None and found.makespan <= low.enough else None

        asked = Asked(limit or best.makespan, solving.bound, within, solving.peak)
        least = least_memory(solving.problem, best, asked, control)
        proven = closes(least.peak, least.bound, options.gap)
        figure = Figure("memory", least.peak, least.bound)
        return solving.plan(least.best, state.incumbent, proven, state.notes, [figure])
