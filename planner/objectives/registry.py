"""What can be asked for: the shortest step, the least memory, the least period, the fewest devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from planner.common.budget import Control
from planner.objectives.memory import least_memory
from planner.objectives.options import SAME, NoPlan, SolveOptions
from planner.objectives.solving import Solving
from planner.plan.plan import Figure, Plan
from planner.problem import Impossible, Problem
from planner.search import Candidate, Incumbent
from planner.timetable.period import period

FIRST_SHARE = 0.5
"""Of the time limit, what the search for the best makespan may take where something else is asked for it."""

PLACEMENT_SHARE = 0.7
"""Of the time limit, what the search for the placement of the least period may take."""


def _least_makespan(solving: Solving) -> Plan:
    best, incumbent, search = solving.shortest(solving.control)
    return solving.plan(best, incumbent, notes=search.notes)


def _least_memory(solving: Solving) -> Plan:
    """The least peak for a makespan of at most ``max_makespan``, or for the best that is found in half of the time."""
    control, options, limit = solving.control, solving.options, solving.limit
    best, incumbent, search = solving.shortest(control if limit else control.part(FIRST_SHARE), limit)
    incumbent.publish_best()

    def within(capped: Problem, seconds: float) -> Candidate | None:
        """A schedule under lower caps that takes no longer than so many seconds."""
        low = Incumbent(capped, control, options.gap, lambda _: None, seconds * SAME)
        found = solving.portfolio(low, brief=True).run()
        return found if found is not None and found.makespan <= low.enough else None

    least = least_memory(solving.problem, best, limit or best.makespan, within, control)
    proven = least.peak - least.bound <= options.gap * least.peak
    return solving.plan(least.best, incumbent, proven, search.notes, sought=[Figure("memory", least.peak, least.bound)])


def _least_period(solving: Solving) -> Plan:
    """The placement of the least period, then the shortest schedule on it."""
    from planner.objectives.period import PeriodSearch

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
        "the period is the work of the busiest stream or channel for a microbatch, whatever the order; the makespan "
        "and its bound are those of the step",
        *portfolio.notes,
    )
    return solving.plan(best, incumbent, proven, notes, [Figure("period", seconds, bound)])


def _fewest_devices(solving: Solving) -> Plan:
    """The fewest devices for a makespan or a period; the first schedule on so many that is short enough."""
    from planner.bounds import problem_bound
    from planner.objectives.devices import Fewest, fewest_devices
    from planner.objectives.period import PeriodSearch, period_bound

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
        raise Impossible("all devices together are proven to be too slow for what --max-makespan or --max-period asks")
    fewest = fewest_devices(problem, slow, search, control)
    if fewest is None and known is not None:  # it needs all the devices that it uses, as far as was found
        used = {d for copy in known.timetable.placement.device_of for d in copy}
        fewest = Fewest(known, len(used), 1)
    if fewest is None:
        raise NoPlan("no number of devices was found that is enough, and none is proven not to be")
    sought = [Figure("devices", fewest.devices, fewest.bound)]
    if longest:
        sought.insert(0, Figure("period", period(problem, fewest.best.timetable), None))
    return solving.plan(fewest.best, whole, fewest.devices == fewest.bound, sought=sought)


OBJECTIVES: Mapping[str, Callable[[Solving], Plan]] = {
    "makespan": _least_makespan,
    "memory": _least_memory,
    "period": _least_period,
    "utilization": _fewest_devices,
}


def solve(problem: Problem, control: Control, options: SolveOptions) -> Plan:
    """The best plan found before the control's deadline or a stop, verified.

    Raises ``Impossible`` (proven: no plan exists) or ``NoPlan``.
    """
    return OBJECTIVES[options.objective](Solving.of(problem, control, options))
