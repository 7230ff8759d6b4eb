"""The fewest devices for a makespan or a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.common.tolerance import WITHIN
from planner.objectives.options import FIRST_SHARE, NoPlan

if TYPE_CHECKING:
    from planner.common.budget import Control
    from planner.objectives.solving import Solving
    from planner.plan.plan import Plan
    from planner.problem import Problem
    from planner.search import Candidate


class Utilization:
    """The devices used, for ``max_makespan``, ``max_period``, or the best makespan that is found."""

    name = "utilization"
    help = "the devices used, for a makespan or a period"
    options: tuple[str, ...] = ("max_makespan", "max_period")

    def solve(self, solving: Solving) -> Plan:
        """The first schedule that is short enough, on one device more each time."""
        from planner.bounds import problem_bound
        from planner.objectives.fewest_devices import Fewest, fewest_devices
        from planner.objectives.least_period import PeriodSearch, period_bound
        from planner.plan.plan import Figure
        from planner.problem import Impossible
        from planner.search import search, search_on

        problem, control, options = solving.problem, solving.control, solving.options
        longest, limit = (options.max_period or 0.0) * WITHIN, solving.limit
        whole, known = solving.incumbent(control), None
        if not limit and not longest:
            known, first = solving.shortest(control.part(FIRST_SHARE))
            whole = first.incumbent
            limit = known.makespan * WITHIN
        whole.prove(problem_bound, "bounds")

        def slow(smaller: Problem) -> bool:
            short = limit and solving.bound(smaller, control) > limit * WITHIN
            return bool(short or (longest and period_bound(smaller, control) > longest * WITHIN))

        def within(smaller: Problem, limited: Control) -> Candidate | None:
            incumbent = solving.incumbent_of(smaller, limited, 0.0 if longest else limit)
            state = solving.state(incumbent)
            if longest:
                seed, threads, params = options.seed, options.threads, solving.params.period
                found = PeriodSearch(smaller, limited, options.gap, seed, threads, params, longest).run()
                if found is None or found.seconds > longest:
                    return None
                best = search_on(state, found.placement)
            else:
                best = search(state)
            return best if best is not None and (not limit or best.makespan <= limit) else None

        if slow(problem):
            raise Impossible("all devices together are proven to be too slow for --max-makespan or --max-period")
        fewest = fewest_devices(problem, slow, within, control)
        if fewest is None and known is not None:  # no fewer devices were found to be enough
            used = {d for copy in known.timetable.placement.device_of for d in copy}
            fewest = Fewest(known, len(used), 1)
        if fewest is None:
            raise NoPlan("no number of devices was found to be enough, and nothing is proven")
        figures = [Figure("devices", fewest.devices, fewest.bound)]
        if longest:
            figures.insert(0, Figure("period", solving.period(fewest.best), None))
        return solving.plan(fewest.best, whole, fewest.devices == fewest.bound, sought=figures)
