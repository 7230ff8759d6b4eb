"""The fewest devices for a makespan or a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.objectives.options import FIRST_SHARE, SAME, NoPlan

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
        """The first schedule, on ever more devices, that is short enough."""
        from planner.bounds import problem_bound
        from planner.objectives.fewest_devices import Fewest, fewest_devices
        from planner.objectives.least_period import PeriodSearch, period_bound
        from planner.plan.plan import Figure
        from planner.problem import Impossible
        from planner.search import Incumbent
        from planner.timetable.period import period

        problem, control, options = solving.problem, solving.control, solving.options
        longest, limit = (options.max_period or 0.0) * SAME, solving.limit
        whole, known = solving.incumbent(control), None
        if not limit and not longest:
            known, whole, _ = solving.shortest(control.part(FIRST_SHARE))
            limit = known.makespan * SAME
        whole.raise_bound(problem_bound(problem, control), "bounds")

        def slow(smaller: Problem) -> bool:
            short = limit and problem_bound(smaller, control) > limit * SAME
            return bool(short or (longest and period_bound(smaller, control) > longest * SAME))

        def search(smaller: Problem, limited: Control) -> Candidate | None:
            incumbent = Incumbent(smaller, limited, options.gap, lambda _: None, 0.0 if longest else limit)
            portfolio = solving.portfolio(incumbent)
            if longest:
                found = PeriodSearch(smaller, limited, options.gap, options.seed, options.threads, longest).run()
                if found is None or found.seconds > longest:
                    return None
                best = portfolio.run_on(found.placement)
            else:
                best = portfolio.run()
            return best if best is not None and (not limit or best.makespan <= limit) else None

        if slow(problem):
            raise Impossible(
                "all devices together are proven to be too slow for what --max-makespan or --max-period asks"
            )
        fewest = fewest_devices(problem, slow, search, control)
        if fewest is None and known is not None:  # it needs all the devices that it uses, as far as was found
            used = {d for copy in known.timetable.placement.device_of for d in copy}
            fewest = Fewest(known, len(used), 1)
        if fewest is None:
            raise NoPlan("no number of devices was found that is enough, and none is proven not to be")
        figures = [Figure("devices", fewest.devices, fewest.bound)]
        if longest:
            figures.insert(0, Figure("period", period(problem, fewest.best.timetable), None))
        return solving.plan(fewest.best, whole, fewest.devices == fewest.bound, sought=figures)
