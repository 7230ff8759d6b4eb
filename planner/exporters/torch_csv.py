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
from typing import Annotated, Any

import typer

from planner.common.messages import shown
from planner.common.tolerance import SAME
from planner.exporters import CannotExport, Exported, Repair
from planner.exporters.actions import StageSchedule
from planner.exporters.merging import fewer, grouped
from planner.exporters.source import GIVE_FILES, PlanSource, source_of
from planner.exporters.torch_stages import (
    Candidate,
    as_exported,
    candidate_of,
    in_known_orders,
    in_order,
    partitions,
    quickest,
    with_full_backwards,
)
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.graph import BASE
from planner.report.words import apart, percent, seconds

PARTITION = "planner/torch-partition@1"
EXACT = "exact"
"""The value of ``--stages`` that keeps the plan's order."""
FEW = 2
"""The plan's order is kept where it takes no more than so many times the fewest stages."""


@dataclass(frozen=True)
class TorchOptions:
    """The options of the format."""

    repair: Repair = False
    stages: Annotated[
        str | None,
        typer.Option(
            metavar="N|exact",
            help="For torch-csv: at most N stages, or as many as the plan's order needs.  [default: few]",
        ),
    ] = None


class TorchCsv:
    """The exporter."""

    name = "torch-csv"
    help = "The schedule CSV of torch.distributed.pipelining."
    options = TorchOptions

    def export(self, plan: Plan, problem: Problem | None, options: TorchOptions) -> Exported:
        """The CSV and the partition beside it."""
        return torch_csv(plan, problem, options.repair, options.stages)


def torch_csv(plan: Plan, problem: Problem | None, repair: bool = False, stages: str | None = None) -> Exported:
    """The CSV, and ``.partition.json`` beside it. ``problem``: that of the plan's files, where they are given.

    ``stages``: that of ``--stages``: None for few, at a cost if need be; ``exact`` for as many as the plan's order
    needs; a number for at most so many. Raises ``CannotExport`` for plans of inference, of several copies on different
    devices, and, without ``repair``, for those that torch cannot run without further changes.
    """
    most = _most(stages)
    source = source_of(plan, problem)
    if not source.problem.training:
        raise CannotExport("it is of inference, and torch's loader wants a backward pass of every microbatch")
    if not source.timed or stages == EXACT:
        chosen = _exact(source, repair)
    else:
        chosen = _fewest(source, repair) if most is None else _at_most(source, repair, most)
    schedule, makespan = with_full_backwards(source, chosen)
    rows, renumbered = in_order(schedule, repair)
    notes = [*source.notes, *_notes(source, chosen, schedule, makespan, renumbered)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([str(action) for action in row] for row in rows)
    partition = _partition(source, chosen, schedule, makespan, renumbered)
    return Exported(text.getvalue(), {".partition.json": json.dumps(partition, indent=1) + "\n"}, tuple(notes))


def _most(stages: str | None) -> int | None:
    """The number of ``--stages``; None where it is none."""
    if stages is None or stages == EXACT:
        return None
    if not stages.isdecimal() or int(stages) < 1:
        raise CannotExport(f"--stages {shown(stages)} is neither a number from 1 on nor {EXACT}")
    return int(stages)


def _exact(source: PlanSource, repair: bool) -> Candidate:
    """The fewest stages that cost nothing; where all cost something and ``repair`` is set, the cheapest."""
    tried = [candidate_of(source, stages) for stages in partitions(source)]
    free = _free(source, tried)
    if free is not None:
        return free
    known = [c for c in tried if c.makespan is not None]
    if not known:
        raise CannotExport(f"its stages do not run as one, and the plan alone does not show the cost; {GIVE_FILES}")
    best = min(known, key=lambda c: (c.over_cap is not None, c.makespan))
    if not repair:
        raise CannotExport(f"{_reason(best)}; {remedy(source, best)}")
    return best


def _free(source: PlanSource, tried: Sequence[Candidate]) -> Candidate | None:
    """The fewest stages that cost nothing, those with few stages first; None where all of these cost something."""
    found = next((c for c in tried if c.costs_nothing(source.plan)), None)
    if found is None or found is tried[0]:
        return found
    if source.timed:
        found = fewer(found, tried[0].own, lambda stages: candidate_of(source, stages), source.plan)
    return replace(found, fewest=tried[0])


def _fewest(source: PlanSource, repair: bool) -> Candidate:
    """The fewest stages that cost nothing, where they are few; else the fewest that fit in memory, at a cost.

    Raises ``CannotExport`` where outputs must be handed on or nothing fits, unless ``repair`` is set.
    """
    tried = [candidate_of(source, stages) for stages in partitions(source)]
    free = _free(source, tried)
    if free is not None and len(free.own) <= FEW * len(tried[0].own):
        return free
    best = quickest(source, tried[0])
    if best.over_cap:
        best = next((c for c in tried if not c.over_cap), best)
    if (best.detours or best.over_cap) and not repair:
        raise CannotExport(f"{_reason(best)}; {remedy(source, best)}")
    return replace(best, exact_stages=None if free is None else len(free.own))


def _at_most(source: PlanSource, repair: bool, most: int) -> Candidate:
    """The quickest of some partitions with no more stages, those that fit in memory first."""
    coarse, *finer = partitions(source)
    if most < len(coarse):
        raise CannotExport(
            f"--stages {most} is too few: its operators lie on the devices in {len(coarse)} runs, each of them a stage"
        )
    fine = [stages for stages in finer if len(stages) <= most]
    between = grouped(coarse, finer[-1] if finer else coarse, most)
    tried = [candidate_of(source, stages) for stages in (coarse, *between, *fine)]
    tried += in_known_orders(source, tried[0])
    best = min(tried, key=lambda c: (*as_exported(source, c), len(c.own)))
    if (best.detours or best.over_cap) and not repair:
        raise CannotExport(f"{_reason(best)}; {remedy(source, best)}")
    return best


def _reason(best: Candidate) -> str:
    """Why torch cannot run the plan as it is."""
    if best.detours:
        more = f" (and {len(best.detours) - 1} more)" if len(best.detours) > 1 else ""
        return f"torch sends from each stage to the next alone, and {best.detours[0]}{more}"
    if best.over_cap:
        return f"run one stage at a time, {best.over_cap}"
    return "operators of one stage run in different orders, and torch runs a stage as one"


def remedy(source: PlanSource, best: Candidate) -> str:
    """What ``--repair`` does, and how long the step takes then."""
    assert best.makespan is not None
    if best.makespan <= source.plan.makespan * (1.0 + SAME):
        return f"--repair does it, and the step takes no longer ({seconds(best.makespan)})"
    repaired, planned = apart(seconds, best.makespan, source.plan.makespan)
    rise = percent(best.makespan / source.plan.makespan - 1.0)
    return f"--repair does it, and the step takes {repaired} instead of {planned} ({rise} more)"


def _notes(
    source: PlanSource,
    chosen: Candidate,
    schedule: StageSchedule,
    makespan: float | None,
    renumbered: Sequence[int] | None,
) -> Iterator[str]:
    kinds = Counter(action.passes[0].kind for row in schedule.rows for action in row)
    yield (
        f"{len(schedule.stages)} stages on {len(schedule.rows)} ranks, {source.plan.microbatches} microbatches; "
        f"{kinds['B']} full backward passes, {kinds['I']} in two halves"
    )
    if chosen.order is not None:
        yield f"on these stages {chosen.order} is quicker than what is left of the plan's order, and is exported"
    if chosen.exact_stages is not None and chosen.exact_stages > len(schedule.stages):
        yield (
            "operators that the plan runs apart are merged into these stages; its own order takes "
            f"{chosen.exact_stages} (--stages exact; --stages N for at most N)"
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
        same = here == there or abs(rise) <= SAME
        exported = " and as exported" if same else f", {there} as exported"
        yield f"makespan {here} as planned{exported}" + (f" ({percent(rise)} more)" if rise > SAME else "")
    counts = Counter(variant for variant in source.variants.values() if variant != BASE)
    if counts:
        some = ", ".join(f"{count} in {shown(variant)}" for variant, count in sorted(counts.items()))
        yield f"operators in variants: {some}; the partition names them, the model has to compute them so"
    if source.problem.on_comm.any():
        yield "operators of stream comm overlap with others only where the model runs them on a stream of their own"


def _partition(
    source: PlanSource,
    chosen: Candidate,
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
