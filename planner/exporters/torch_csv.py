"""A plan as the schedule CSV of ``torch.distributed.pipelining``, with the partition of the model beside it.

What torch 2.13 loads (``_PipelineScheduleRuntime._load_csv(path, format="compute_only")``, read in its source and
tried): one row a rank, no header, cells ``<stage><F|I|W|B><microbatch>`` with B the full backward, every stage on one
rank and every microbatch through every stage, I and W in pairs. It adds sends, receives and the scaling of gradients
itself. It fails, without a check, if forwards of the last stage are out of microbatch order: losses are kept
in the order in which they are made.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.baselines.action import Action
from planner.common.messages import shown
from planner.common.tolerance import SAME
from planner.exporters import CannotExport, Exported, Repair
from planner.exporters.actions import StageSchedule, keeps_order, merge_backwards, schedule_of
from planner.exporters.partition import Stages, fine_stages, on_streams, positions, runs
from planner.exporters.repair import Detour, chained, detours
from planner.exporters.source import GIVE_FILES, PlanSource, source_of
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.graph import BASE
from planner.report.words import apart, percent, seconds, size
from planner.timetable.memory import memory_profile
from planner.timetable.timetable import Timetable

PARTITION = "planner/torch-partition@1"


@dataclass(frozen=True)
class _Candidate:
    """One way to run the plan in stages. ``makespan``: as replayed, None where the plan alone does not tell."""

    schedule: StageSchedule
    timetable: Timetable | None
    makespan: float | None
    exact: bool  # every stream runs what the plan runs, in the plan's order
    detours: Sequence[Detour]
    over_cap: str | None  # the device that no longer fits in memory, in words
    fewest: _Candidate | None = None  # the one with one stage for each run of operators on a device, if it differs

    def costs_nothing(self, plan: Plan) -> bool:
        """Whether the plan is unchanged, or changed without cost in time, memory or detours."""
        if self.exact:
            return True
        longer = self.makespan is None or self.makespan > plan.makespan * (1.0 + SAME)
        return not (longer or self.detours or self.over_cap)


@dataclass(frozen=True)
class TorchOptions:
    """The options of the format."""

    repair: Repair = False


class TorchCsv:
    """The exporter."""

    name = "torch-csv"
    help = "The schedule CSV of torch.distributed.pipelining."
    options = TorchOptions

    def export(self, plan: Plan, problem: Problem | None, options: TorchOptions) -> Exported:
        """The CSV and the partition beside it."""
        return torch_csv(plan, problem, options.repair)


def torch_csv(plan: Plan, problem: Problem | None, repair: bool = False) -> Exported:
    """The CSV, and ``.partition.json`` beside it. ``problem``: that of the plan's files, where they are given.

    Raises ``CannotExport`` for plans of inference, of several copies on different devices, and, without ``repair``,
    for those that torch cannot run as they are.
    """
    source = source_of(plan, problem)
    if not source.problem.training:
        raise CannotExport("it is of inference, and torch's loader wants a backward pass of every microbatch")
    chosen = _chosen(source, repair)
    schedule, makespan = _with_full_backwards(source, chosen)
    rows, renumbered = _in_order(schedule, repair)
    notes = [*source.notes, *_notes(source, chosen, schedule, makespan, renumbered)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([str(action) for action in row] for row in rows)
    partition = _partition(source, chosen, schedule, makespan, renumbered)
    return Exported(text.getvalue(), {".partition.json": json.dumps(partition, indent=1) + "\n"}, tuple(notes))


def _chosen(source: PlanSource, repair: bool) -> _Candidate:
    """The fewest stages that cost nothing; where all cost something and ``repair`` is set, the cheapest."""
    costly: list[_Candidate] = []
    for stages in _partitions(source):
        candidate = _candidate(source, stages)
        if candidate.costs_nothing(source.plan):
            return replace(candidate, fewest=costly[0] if costly else None)
        costly.append(candidate)
    known = [c for c in costly if c.makespan is not None]
    if not known:
        raise CannotExport(f"its stages do not run as one, and the plan alone does not show the cost; {GIVE_FILES}")
    best = min(known, key=lambda c: (c.over_cap is not None, c.makespan))
    if not repair:
        raise CannotExport(f"{_reason(best)}; {_remedy(source, best)}")
    return best


def _partitions(source: PlanSource) -> Iterator[Stages]:
    """From few stages to many: one per run of operators on a device, as many as the order needs, one per operator."""
    problem, device_of = source.problem, source.timetable.placement.device_of[0]
    coarse = runs(problem, device_of)
    on_stream = on_streams(problem, device_of, positions(problem, source.timetable))
    fine = [fine_stages(problem, coarse, on_stream, full) for full in (True, False)]
    single = tuple((i,) for stage in coarse for i in stage)
    yield from dict.fromkeys((coarse, *fine, single))


def _candidate(source: PlanSource, stages: Stages) -> _Candidate:
    problem, device_of = source.problem, source.timetable.placement.device_of[0]
    position = positions(problem, source.timetable)
    ways = detours(problem, stages)
    if ways:
        made = chained(problem, device_of, stages, position)
        problem, device_of, stages, position = made.problem, made.device_of, made.stages, made.position
    schedule = schedule_of(problem, device_of, stages, position)
    exact = not ways and keeps_order(schedule, source.timetable)
    if not source.timed:
        return _Candidate(schedule, None, None, exact, ways, None)
    timetable = schedule.replayed()
    over = _over_cap(source, problem, timetable)
    return _Candidate(schedule, timetable, timetable.makespan(problem), exact, ways, over)


def _over_cap(source: PlanSource, problem: Problem, timetable: Timetable) -> str | None:
    """The first device that needs more than its cap, and more than the plan needs."""
    for d, profile in enumerate(memory_profile(problem, timetable)):
        planned = next((row.peak_memory for row in source.plan.devices if row.name == source.device(d)), 0.0)
        if profile.peak > max(problem.cap_with_slack[d], planned * (1.0 + SAME)):
            needs, cap = apart(size, profile.peak, float(problem.cap[d]), 4)
            return f"{source.device(d)} needs {needs} of memory, its cap is {cap}"
    return None


def _reason(best: _Candidate) -> str:
    """Why torch cannot run the plan as it is."""
    if best.detours:
        more = f" (and {len(best.detours) - 1} more)" if len(best.detours) > 1 else ""
        return f"torch sends from each stage to the next alone, and {best.detours[0]}{more}"
    if best.over_cap:
        return f"run one stage at a time, {best.over_cap}"
    return "operators of one stage run in different orders, and torch runs a stage as one"


def _remedy(source: PlanSource, best: _Candidate) -> str:
    assert best.makespan is not None
    repaired, planned = apart(seconds, best.makespan, source.plan.makespan)
    takes = f"takes {repaired}, as before" if repaired == planned else f"takes {repaired} instead of {planned}"
    return f"--repair does it, and the step {takes}"


def _with_full_backwards(source: PlanSource, chosen: _Candidate) -> tuple[StageSchedule, float | None]:
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


def _in_order(schedule: StageSchedule, repair: bool) -> tuple[list[list[Action]], list[int] | None]:
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


def _notes(
    source: PlanSource,
    chosen: _Candidate,
    schedule: StageSchedule,
    makespan: float | None,
    renumbered: Sequence[int] | None,
) -> Iterator[str]:
    kinds = Counter(action.passes[0].kind for row in schedule.rows for action in row)
    yield (
        f"{len(schedule.stages)} stages on {len(schedule.rows)} ranks, {source.plan.microbatches} microbatches; "
        f"{kinds['B']} full backward passes, {kinds['I']} in two halves"
    )
    if chosen.fewest is not None and chosen.fewest.makespan is not None:
        yield (
            f"a stage for each run of operators on a device would make {len(chosen.fewest.schedule.stages)}, but "
            f"the plan does not run those as one; if it did, it would take {seconds(chosen.fewest.makespan)}"
        )
    for detour in chosen.detours[:5]:
        yield f"repaired: {detour}"
    if len(chosen.detours) > 5:
        yield f"repaired: {len(chosen.detours) - 5} more outputs are handed on"
    if chosen.over_cap:
        yield f"over the memory cap where nothing waits for memory: {chosen.over_cap}"
    if renumbered is not None:
        yield "repaired: microbatches are numbered in the order in which the last stage runs them"
    planned = source.plan.makespan
    if makespan is None:
        yield f"the order is the plan's, makespan {seconds(planned)}"
    else:
        rise = makespan / planned - 1.0 if planned > 0.0 else 0.0
        here, there = apart(seconds, planned, makespan)
        exported = " and as exported" if here == there else f", {there} as exported"
        yield f"makespan {here} as planned{exported}" + (f" ({percent(rise)} more)" if rise > SAME else "")
    counts = Counter(variant for variant in source.variants.values() if variant != BASE)
    if counts:
        some = ", ".join(f"{count} in {shown(variant)}" for variant, count in sorted(counts.items()))
        yield f"operators in variants: {some}; the partition names them, the model has to compute them so"
    if source.problem.on_comm.any():
        yield "operators of stream comm overlap with others only where the model runs them on a stream of their own"


def _partition(
    source: PlanSource,
    chosen: _Candidate,
    schedule: StageSchedule,
    makespan: float | None,
    renumbered: Sequence[int] | None,
) -> dict[str, Any]:
    """The stages of every rank, and the operators of every stage."""
    rank_of = {d: rank for rank, d in enumerate(schedule.devices)}
    handed: dict[int, list[str]] = {}
    for detour in chosen.detours:
        for s in detour.stages:
            handed.setdefault(s, []).append(detour.operator)
    names = [o.name for o in source.problem.operators]
    stages = [[names[i] for i in stage if i < len(names)] for stage in schedule.stages]
    return {
        "schema": PARTITION,
        "graph": source.plan.graph.name,
        "microbatches": source.plan.microbatches,
        "makespan": {"planned": source.plan.makespan, "exported": makespan},
        "ranks": [
            {
                "rank": rank,
                "device": source.device(d),
                "stages": [s for s, at in enumerate(schedule.device_of_stage) if at == d],
            }
            for d, rank in rank_of.items()
        ],
        "stages": [
            {
                "stage": s,
                "rank": rank_of[d],
                "device": source.device(d),
                "operators": operators,
                "modules": modules(operators, names),
                "hands_on": handed.get(s, []),
                **({"variants": {name: source.variants[name] for name in operators}} if source.variants else {}),
            }
            for s, (d, operators) in enumerate(zip(schedule.device_of_stage, stages, strict=True))
        ],
        "microbatch_in_plan": list(range(source.plan.microbatches)) if renumbered is None else list(renumbered),
    }


def modules(operators: Sequence[str], every: Sequence[str]) -> list[str]:
    """The operators by the shortest dotted names that cover them and no others: ``layer.3`` for all parts of it."""
    count, here = Counter(_prefixes(every)), Counter(_prefixes(operators))
    return list(dict.fromkeys(next(p for p in _prefixes([name]) if here[p] == count[p]) for name in operators))


def _prefixes(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[: k + 1]) for k in range(len(parts)))
