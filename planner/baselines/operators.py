"""From calls on stages to tasks of operators, and their replay with overlapping calls or block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.baselines.call import Call, Part, Rows
from planner.baselines.packing import Item, pack
from planner.plan.network import Network
from planner.plan.replay import Leg, Task, legs_of, replay, timed_transfers
from planner.plan.timetable import Timetable
from planner.problem import Placement, Problem

SHARED_EFFORT = 320_000
"""Effort of the packings of one pipeline: most ranks have their own fused block, alike in both directions."""

PASSES = {"F": (0,), "I": (1,), "W": (2,), "B": (1, 2)}


@dataclass(frozen=True)
class Pipeline:
    """Rows of calls, the operators of the stages, and the device behind every rank."""

    problem: Problem
    stages: Sequence[Sequence[int]]
    devices: Sequence[int]
    placement: Placement
    rows: Rows

    def tasks(self, part: Part) -> list[Task]:
        """The tasks of one part, in the order in which a framework issues them.

        Forwards in topological order, gradients in reverse; a full backward computes the weight gradient of
        an operator right after its input gradient, as autograd does.
        """
        m, passes = part.microbatch, PASSES[part.kind]
        operators = self.stages[part.stage]
        return [
            (i, p, m)
            for i in (operators if part.kind == "F" else reversed(operators))
            for p in passes
            if self.problem.has_pass[i, p]
        ]

    def copy_of(self) -> tuple[int, ...]:
        """The copy that each microbatch uses."""
        copies = {p.microbatch: p.copy for row in self.rows for call in row for p in call.parts}
        return tuple(copies[m] for m in range(self.problem.microbatches))


def replay_streams(pipeline: Pipeline) -> Timetable:
    """Calls one after another on each stream by itself; outputs leave as soon as they are there.

    A communication operator of one call thus overlaps computation of the next: the strongest reading of a
    published order at operator level. Only a full backward hands its gradient on when all of it has ended.
    A fused pair runs its forward, then its backward; where it uses both streams, that would keep them from
    overlapping within the pair, so there its operators go in the order of their best packing.
    """
    problem = pipeline.problem
    orders: list[list[list[Task]]] = [[[], []] for _ in range(problem.n_devices)]
    leaves_after: dict[tuple[int, int], list[Task]] = {}
    for device, row in zip(pipeline.devices, pipeline.rows, strict=True):
        for call in row:
            last: dict[tuple[int, int], Task] = {}  # by microbatch and stream: those before it end earlier
            for task in _issued(pipeline, call, device):
                i, p, m = task
                stream = int(problem.on_comm[i])
                orders[device][stream].append(task)
                if p > 0:
                    last[m, stream] = task
            for part in call.parts:
                if part.kind == "B":
                    ends = [task for (m, _), task in last.items() if m == part.microbatch]
                    leaves_after.update({(i, part.microbatch): ends for i in pipeline.stages[part.stage]})
    timetable = replay(problem, pipeline.placement, pipeline.copy_of(), orders, leaves_after=leaves_after)
    assert timetable is not None, "a published order deadlocks"
    return timetable


def _issued(pipeline: Pipeline, call: Call, device: int) -> list[Task]:
    """The tasks of a call in the order in which its streams run them."""
    tasks = [task for part in call.parts for task in pipeline.tasks(part)]
    if len(call.parts) > 1 and len({bool(pipeline.problem.on_comm[i]) for i, _, _ in tasks}) > 1:
        number = {task: k for k, task in enumerate(tasks)}
        packed = _block(pipeline, call, device).starts
        tasks = [task for task, _ in sorted(packed, key=lambda entry: (entry[1], number[entry[0]]))]
    return tasks


@dataclass(frozen=True, slots=True)
class _Block:
    """A call as one block: its tasks with their starts inside it, and its length."""

    starts: tuple[tuple[Task, float], ...]
    seconds: float


def replay_blocks(pipeline: Pipeline) -> Timetable:
    """Calls strictly one after another on each device; all that a call makes leaves when the call ends.

    Inside, the operators of a call (of both parts, where it is fused) take the best packing on the two
    streams that the search finds.
    """
    problem, copy_of = pipeline.problem, pipeline.copy_of()
    network = Network(problem.n_devices)
    starts_of: list[tuple[tuple[Task, float], ...]] = []
    node_of: dict[Task, int] = {}
    for device, row in zip(pipeline.devices, pipeline.rows, strict=True):
        blocks = [_block(pipeline, call, device) for call in row]
        network.lanes[device] = range(len(starts_of), len(starts_of) + len(blocks))
        network.add(block.seconds for block in blocks)
        for block in blocks:
            node_of.update({task: len(starts_of) for task, _ in block.starts})
            starts_of.append(block.starts)
    transfers: list[tuple[int, Leg, int]] = []
    legs = [legs_of(problem, device_of) for device_of in pipeline.placement.device_of]
    for m, copy in enumerate(copy_of):
        _precede_on_devices(network, problem, pipeline.placement.device_of[copy], node_of, m)
        for leg in legs[copy]:
            first, last = ([leg.operator], leg.readers) if leg.pass_ == 0 else (leg.readers, [leg.operator])
            node = network.add_transfer(
                (leg.source, leg.target),
                leg.seconds,
                sorted({node_of[i, leg.pass_, m] for i in first}),
                sorted({node_of[i, leg.pass_, m] for i in last}),
                tuple(d for d in (leg.source, leg.target) if problem.exclusive[d]),
            )
            if node is not None:
                transfers.append((node, leg, m))
    times = network.run()
    assert times is not None, "a published order deadlocks"
    start = np.full((problem.n_operators, 3, problem.microbatches), np.nan)
    for block_start, inside in zip(times, starts_of, strict=False):
        for task, offset in inside:
            start[task] = block_start + offset
    return Timetable(pipeline.placement, copy_of, start, timed_transfers(times, transfers))


def _precede_on_devices(
    network: Network, problem: Problem, device_of: Sequence[int], node_of: dict[Task, int], m: int
) -> None:
    """Precedence between blocks of one device; chunked stages may meet there."""
    for i, consumers in enumerate(problem.consumers):
        for j in consumers:
            if device_of[i] == device_of[j]:
                for first, last in (((i, 0, m), (j, 0, m)), ((j, 1, m), (i, 1, m))):
                    a, b = node_of.get(first), node_of.get(last)
                    if a is not None and b is not None and a != b:
                        network.precede(a, b)


def _block(pipeline: Pipeline, call: Call, device: int) -> _Block:
    problem = pipeline.problem
    tasks = [task for part in call.parts for task in pipeline.tasks(part)]
    number = {task: k for k, task in enumerate(tasks)}
    items = []
    for i, p, m in tasks:
        if p == 0:
            before: list[Task] = [(j, 0, m) for j in problem.inputs[i]]
        elif p == 1:
            before = [(i, 0, m), *((j, 1, m) for j in problem.consumers[i])]
        else:
            before = [(i, 1, m)]
        after = tuple(number[task] for task in before if task in number)
        items.append(Item(int(problem.on_comm[i]), float(problem.duration[i, p, device]), after))
    packing = pack(tuple(items), SHARED_EFFORT // max(1, len(pipeline.devices)))
    return _Block(tuple(zip(tasks, packing.starts, strict=True)), packing.length)
