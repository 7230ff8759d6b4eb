"""Ways to run a plan in stages on torch: which operators are a stage, in which order stages run, what that takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from planner.baselines.action import Action
from planner.common.tolerance import SAME
from planner.exporters import CannotExport
from planner.exporters.actions import StageSchedule, keeps_order, merge_backwards, schedule_of
from planner.exporters.known_orders import known_orders
from planner.exporters.partition import Stages, fine_stages, on_streams, positions, runs
from planner.exporters.repair import Detour, chained, detours
from planner.exporters.source import PlanSource
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.report.words import apart, size
from planner.timetable.memory import memory_profile
from planner.timetable.timetable import Timetable


@dataclass(frozen=True)
class Candidate:
    """One way to run the plan in stages. ``makespan``: as replayed, None where the plan alone does not tell."""

    own: Stages  # the plan's operators, without those that only hand on
    schedule: StageSchedule
    timetable: Timetable | None
    makespan: float | None
    exact: bool  # every stream runs what the plan runs, in the plan's order
    detours: Sequence[Detour]
    over_cap: str | None  # the device that no longer fits in memory, in words
    fewest: Candidate | None = None  # the one with one stage for each run of operators on a device, if it differs
    order: str | None = None  # the published one that is run instead of the plan's
    exact_stages: int | None = None  # how many stages the plan's own order takes, where some were merged

    def costs_nothing(self, plan: Plan) -> bool:
        """Whether the plan is unchanged, or changed without cost in time, memory or detours."""
        if self.exact:
            return True
        longer = self.makespan is None or self.makespan > plan.makespan * (1.0 + SAME)
        return not (longer or self.detours or self.over_cap)


def partitions(source: PlanSource) -> list[Stages]:
    """From few stages to many: one per run of operators on a device, as many as the order needs, one per operator."""
    problem, device_of = source.problem, source.timetable.placement.device_of[0]
    coarse = runs(problem, device_of)
    on_stream = on_streams(problem, device_of, positions(problem, source.timetable))
    fine = [fine_stages(problem, coarse, on_stream, full) for full in (True, False)]
    single = tuple((i,) for stage in coarse for i in stage)
    return list(dict.fromkeys((coarse, *fine, single)))


def candidate_of(source: PlanSource, stages: Stages) -> Candidate:
    """The stages in what is left of the plan's order."""
    problem, device_of = source.problem, source.timetable.placement.device_of[0]
    position, own = positions(problem, source.timetable), stages
    ways = detours(problem, stages)
    if ways:
        made = chained(problem, device_of, stages, position)
        problem, device_of, stages, position = made.problem, made.device_of, made.stages, made.position
    schedule = schedule_of(problem, device_of, stages, position)
    exact = not ways and keeps_order(schedule, source.timetable)
    if not source.timed:
        return Candidate(own, schedule, None, None, exact, ways, None)
    return _replayed(source, Candidate(own, schedule, None, None, exact, ways, None))


def _replayed(source: PlanSource, candidate: Candidate) -> Candidate:
    """The candidate with its times."""
    schedule = candidate.schedule
    timetable = schedule.replayed()
    over = _over_cap(source, schedule.problem, timetable)
    return replace(candidate, timetable=timetable, makespan=timetable.makespan(schedule.problem), over_cap=over)


def in_known_orders(source: PlanSource, candidate: Candidate) -> Iterator[Candidate]:
    """The same stages in published orders."""
    for name, schedule in known_orders(candidate.schedule):
        yield _replayed(source, replace(candidate, schedule=schedule, exact=False, order=name))


def quickest(source: PlanSource, planned: Candidate) -> Candidate:
    """The stages in the plan's order or a published one: the quickest that fits in memory (of all, if none fits).

    The plan's where it takes no longer.
    """
    ways = [planned, *in_known_orders(source, planned)]
    takes = [as_exported(source, c) for c in ways]
    best = min(range(len(ways)), key=takes.__getitem__)
    alike = takes[0][0] == takes[best][0] and takes[0][1] <= takes[best][1] * (1.0 + SAME)
    return planned if alike else ways[best]


def as_exported(source: PlanSource, candidate: Candidate) -> tuple[bool, float]:
    """Whether it is over a cap, and its makespan with the full backwards that delay nothing."""
    makespan = with_full_backwards(source, candidate)[1]
    assert makespan is not None
    return candidate.over_cap is not None, makespan


def _over_cap(source: PlanSource, problem: Problem, timetable: Timetable) -> str | None:
    """The first device that needs more than its cap, and more than the plan needs."""
    for d, profile in enumerate(memory_profile(problem, timetable)):
        planned = next((row.peak_memory for row in source.plan.devices if row.name == source.device(d)), 0.0)
        if profile.peak > max(problem.cap_with_slack[d], planned * (1.0 + SAME)):
            needs, cap = apart(size, profile.peak, float(problem.cap[d]), 4)
            return f"{source.device(d)} needs {needs} of memory, its cap is {cap}"
    return None


def with_full_backwards(source: PlanSource, chosen: Candidate) -> tuple[StageSchedule, float | None]:
    """Rows with B where it delays nothing, and their makespan, where it is known."""
    as_planned = source.timetable if chosen.exact else chosen.timetable
    assert as_planned is not None
    strict = merge_backwards(chosen.schedule, as_planned, strict=True)
    if chosen.makespan is None:
        return strict, None
    limit = max(chosen.makespan, source.plan.makespan if chosen.exact else 0.0) * (1.0 + SAME)
    for merged in (merge_backwards(chosen.schedule, as_planned, strict=False), strict):
        makespan = merged.replayed().makespan(merged.problem)
        if makespan <= limit:
            return merged, makespan
    return chosen.schedule, chosen.makespan


def in_order(schedule: StageSchedule, repair: bool) -> tuple[list[list[Action]], list[int] | None]:
    """Rows in which the last stage's forwards come by number, and, where they had to be renumbered, the old numbers.

    Microbatches of one step are alike, so renumbering does not change the plan.
    """
    last = len(schedule.stages) - 1
    stage_passes = [action.passes[0] for row in schedule.rows for action in row]
    order = [stage_pass.microbatch for stage_pass in stage_passes if (stage_pass.kind, stage_pass.stage) == ("F", last)]
    if order == sorted(order):
        return schedule.rows, None
    if not repair:
        place = next(k for k, m in enumerate(order) if k != m)
        raise CannotExport(
            f"its last stage runs microbatch {order[place]} before {place}, and torch wants the forwards of the last "
            "stage in the order of their numbers (it keeps losses by that); --repair renumbers the microbatches, "
            "which are alike: same order, same makespan"
        )
    number = {m: k for k, m in enumerate(order)}
    rows = [
        [Action(tuple(p._replace(microbatch=number[p.microbatch]) for p in action.passes)) for action in row]
        for row in schedule.rows
    ]
    return rows, order
