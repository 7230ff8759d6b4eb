"""What Megatron's own order makes of a placement, and a plan's order with other versions of its operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.common.messages import shown
from planner.exporters import CannotExport
from planner.exporters.layers import Chunk
from planner.plan.build import timetable_of
from planner.plan.plan import Plan
from planner.problem import Placement, Problem
from planner.report.words import apart, size
from planner.timetable.memory import memory_profile
from planner.timetable.replay import Task, orders_of, replay
from planner.timetable.timetable import Timetable


def order_name(chunks: Sequence[Chunk], ranks: Sequence[str]) -> str:
    """What Megatron runs on these virtual stages."""
    return "1F1B" if len(chunks) == len(ranks) else "interleaved 1F1B"


def own_order(problem: Problem, chunks: Sequence[Chunk], ranks: Sequence[str]) -> Timetable:
    """Megatron's order on the placement, as it runs it (``--runtime megatron``). ``problem``: without alternatives."""
    from planner.baselines import interleaved_1f1b, one_f_one_b
    from planner.baselines.operators import Pipeline, replay_blocks
    from planner.runtimes.megatron import RUNTIME
    from planner.runtimes.whole_passes import exposed, with_transfers

    index, place = problem.graph.index, {i: k for k, i in enumerate(problem.topological)}
    devices = {device.name: d for d, device in enumerate(problem.cluster.devices)}
    stages = [sorted((index[n] for layer in c.layers for n in layer.operators), key=place.__getitem__) for c in chunks]
    stage_of = {i: s for s, stage in enumerate(stages) for i in stage}
    for i, readers in enumerate(problem.consumers):
        for j in readers:
            if stage_of[j] < stage_of[i]:
                names = problem.operators
                raise CannotExport(f"{shown(names[j].name)} reads {shown(names[i].name)}, which is in a later stage")
    device_of = [0] * problem.n_operators
    for i, s in stage_of.items():
        device_of[i] = devices[chunks[s].device]
    virtual, microbatches = len(chunks) // len(ranks), problem.microbatches
    rows = (
        one_f_one_b.rows(len(ranks), microbatches)
        if virtual == 1
        else interleaved_1f1b.rows(len(ranks), microbatches, virtual)
    )
    own = with_transfers(problem, RUNTIME.exposes_transfers(virtual))
    pipeline = Pipeline(own, stages, [devices[r] for r in ranks], Placement.single(device_of), rows)
    return replay_blocks(pipeline, exposed(own, RUNTIME), RUNTIME.reduces_beside)


def plans_order(plan: Plan, problem: Problem, other: Problem) -> Timetable | None:
    """The plan's order with the versions of ``other``: a W that the plan lacks comes right after its I.

    ``problem``: of the plan; ``other``: the same without alternatives, its operators in any version. None where that
    order deadlocks.
    """
    timetable = timetable_of(plan, problem)
    orders: list[list[list[Task]]] = []
    for streams in orders_of(timetable, problem):
        orders.append([])
        for tasks in streams:
            there = {(i, m) for i, p, m in tasks if p == 2}
            row: list[Task] = []
            for i, p, m in tasks:
                if other.has_pass[i, p]:
                    row.append((i, p, m))
                if p == 1 and other.has_pass[i, 2] and (i, m) not in there:
                    row.append((i, 2, m))
            orders[-1].append(row)
    placement = Placement(timetable.placement.device_of)
    return replay(other, placement, timetable.copy_of, orders)


@dataclass(frozen=True)
class Shortage:
    """The device that lacks most memory."""

    device: str
    needs: float  # bytes
    cap: float  # bytes

    def __str__(self) -> str:
        needs, cap = apart(size, self.needs, self.cap, 4)
        return f"{self.device} needs {needs} of memory, its cap is {cap}"


def shortage(problem: Problem, timetable: Timetable) -> Shortage | None:
    """Where a timetable does not fit in memory; None where it does."""
    found = [
        Shortage(device.name, profile.peak, float(cap))
        for device, profile, cap, most in zip(
            problem.cluster.devices,
            memory_profile(problem, timetable),
            problem.cap,
            problem.cap_with_slack,
            strict=True,
        )
        if profile.peak > most
    ]
    return max(found, key=lambda each: each.needs - each.cap, default=None)
