"""The shortest step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.runtimes.names import ANY

if TYPE_CHECKING:
    from planner.objectives.solving import Solving
    from planner.plan.plan import Plan


class Makespan:
    """The end of the last task, as early as possible."""

    name = "makespan"
    help = "the end of the step"
    options: tuple[str, ...] = ()

    def solve(self, solving: Solving) -> Plan:
        """The shortest schedule that is found; for a runtime, of those that it can run."""
        if solving.options.runtime != ANY:
            from planner.objectives.as_run import plan_as_run

            return plan_as_run(solving)
        best, state = solving.shortest(solving.control)
        from planner.search.steps.uniform_choices import uniform_note  # it loads numba, which the first plan does not

        return solving.plan(best, state.incumbent, notes=[*state.notes, *uniform_note(state)])
