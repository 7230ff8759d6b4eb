"""Tasks of operators from actions on stages, and their replay with overlapping actions or block by block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from planner.baselines.action import Action, StagePass
from planner.baselines.packing import BOTH, Item, pack
from planner.baselines.row import ActionKind, Rows
from planner.problem import Placement, Problem
from planner.timetable.network import Floats, Ints, Network
from planner.timetable.replay import Task, replay
from planner.timetable.timetable import Timetable
from planner.timetable.whole_step import with_step_tasks
from planner.timetable.wiring import connect, timed_transfers

Bools = npt.NDArray[np.bool_]

SHARED_EFFORT = 320_000
"""Effort of the packings of one pipeline: most devices have their own fused block, alike in both directions."""

PASSES = {"F": (0,), "I": (1,), "W": (2,), "B": (1, 2)}


@dataclass(frozen=True)
class Pipeline:
    """Rows of actions, the operators of the stages, and the device of every row."""

    problem: Problem
    stages: Sequence[Sequence[int]]
    devices: Sequence[int]
    placement: Placement
    rows: Rows

    def tasks(self, stage_pass: StagePass) -> list[Task]:
        """The tasks of one stage pass, in the order in which a framework issues them.

        Forwards in topological order, gradients in reverse; a full backward computes the weight gradient of
        an operator right after its input gradient, as autograd does.
        """
        m, passes = stage_pass.microbatch, PASSES[stage_pass.kind]
        operators = self.stages[stage_pass.stage]
        tasks = [
            (i, p, m)
            for i in (operators if stage_pass.kind == "F" else reversed(operators))
            for p in passes
            if self.problem.has_pass[i, p]
        ]
        return _without_barriers(self.problem, tasks)

    @cached_property
    def copy_of(self) -> tuple[int, ...]:
        """The copy that each microbatch uses."""
        copies = np.zeros(self.problem.microbatches, dtype=np.int64)
        for kind in (kind for row in self.rows for kind in row.kinds):
            for stage_pass, microbatches in zip(kind.action.passes, kind.microbatches, strict=True):
                copies[microbatches] = stage_pass.copy
        return tuple(copies.tolist())


def _without_barriers(problem: Problem, tasks: list[Task]) -> list[Task]:
    """The tasks of one stage pass, with those of no length on the comm stream right before what waits for them.

    In their own places they would hold up what comes after them on that stream for no reason: the gathering of the
    next weights would wait for the computation that such a task waits for. A task waits for what it reads, and for
    what comes before it on the compute stream. The order stays one that precedence allows.
    """
    idle = {(i, p, m) for i, p, m in tasks if problem.on_comm[i] and not problem.duration[i, p].any()}
    if not idle:
        return tasks
    waits_for: dict[Task, dict[Task, None]] = {}  # of the tasks so far: those of no length that they come after
    computed: dict[Task, None] = {}  # the same, of the compute stream
    ordered: dict[Task, None] = {}
    for task in tasks:
        found: dict[Task, None] = {}
        for before in _read_by(problem, task):
            found |= waits_for.get(before, {})
        if not problem.on_comm[task[0]]:
            computed = found = computed | found
        waits_for[task] = found
        if task in idle:
            waits_for[task] = found | {task: None}
        else:
            ordered |= found | {task: None}
    return list(ordered | dict.fromkeys(tasks))


def _read_by(problem: Problem, task: Task) -> list[Task]:
    """The tasks of the microbatch that a task comes after, by rule 3."""
    i, p, m = task
    if p == 0:
        return [(j, 0, m) for j in problem.inputs[i]]
    if p == 1:
        return [(i, 0, m), *((j, 1, m) for j in problem.consumers[i])]
    return [(i, 1, m)]


def replay_streams(pipeline: Pipeline) -> Timetable:
    """Actions one after another on each stream by itself; outputs leave as soon as they are there.

    A communication operator of one action thus overlaps computation of the next: the strongest reading of a
    baseline's order at operator level. Only a full backward sends its gradient when all of it has ended.
    A fused pair runs its forward, then its backward. If it uses both streams, that order would keep them from
    overlapping within the pair; then its operators run in the order of their best packing.
    """
    problem = pipeline.problem
    orders: list[list[Ints]] = [[np.zeros((0, 3), dtype=np.int64)] * 2 for _ in range(problem.n_devices)]
    leaves_after = np.full((problem.n_operators, 2, problem.microbatches), -1)
    for device, row in zip(pipeline.devices, pipeline.rows, strict=True):
        issued = [(kind, _issued(pipeline, kind.action, device)) for kind in row.kinds]
        for stream in (0, 1):
            there = ((kind, [t for t in tasks if problem.on_comm[t[0]] == stream]) for kind, tasks in issued)
            orders[device][stream] = _in_row(len(row), list(there))
        for kind, tasks in issued:
            _note_full_backwards(pipeline, kind, tasks, leaves_after)
    timetable = replay(problem, pipeline.placement, pipeline.copy_of, orders, leaves_after=leaves_after)
    assert timetable is not None, "a baseline's order deadlocks"
    return timetable


def _in_row(actions: int, issued: Iterable[tuple[ActionKind, list[Task]]]) -> Ints:
    """The tasks of all actions of a row, one per line, in the order of the actions."""
    issued = list(issued)
    length = np.zeros(actions, dtype=np.int64)
    for kind, tasks in issued:
        length[kind.places] = len(tasks)
    first = np.cumsum(length) - length
    found = np.empty((int(length.sum()), 3), dtype=np.int64)
    for kind, tasks in issued:
        for k, (i, p, stage_pass) in enumerate(tasks):
            at = first[kind.places] + k
            found[at, 0], found[at, 1], found[at, 2] = i, p, kind.microbatches[stage_pass]
    return found


def _note_full_backwards(pipeline: Pipeline, kind: ActionKind, tasks: Sequence[Task], leaves_after: Ints) -> None:
    """The gradients of full backward passes leave after the last task on each stream: those before it end earlier."""
    for stage_pass, (what, microbatches) in enumerate(zip(kind.action.passes, kind.microbatches, strict=True)):
        if what.kind == "B":
            last = {int(pipeline.problem.on_comm[i]): 3 * i + p for i, p, of in tasks if p > 0 and of == stage_pass}
            for stream, task in last.items():
                leaves_after[np.ix_(pipeline.stages[what.stage], [stream], microbatches)] = task


def _issued(pipeline: Pipeline, action: Action, device: int) -> list[Task]:
    """The tasks of an action in the order in which its streams run them."""
    tasks = [task for stage_pass in action.passes for task in pipeline.tasks(stage_pass)]
    if len(action.passes) > 1 and len({bool(pipeline.problem.on_comm[i]) for i, _, _ in tasks}) > 1:
        number = {task: k for k, task in enumerate(tasks)}
        packed = _block(pipeline, action, device).starts
        tasks = [task for task, _ in sorted(packed, key=lambda entry: (entry[1], number[entry[0]]))]
    return tasks


@dataclass(frozen=True, slots=True)
class _Block:
    """An action as one block: its tasks with their starts inside it, and its length."""

    starts: tuple[tuple[Task, float], ...]
    seconds: float


def replay_blocks(pipeline: Pipeline, exposed: Bools | None = None, overlapped: bool = True) -> Timetable:
    """Actions strictly one after another on each device; all outputs of an action leave when it ends.

    Inside, the operators of an action (of both stage passes, where it is fused) take the best packing on the two
    streams that the search finds. ``exposed``: the operators of the comm stream during which nothing computes.
    ``overlapped``: see ``with_step_tasks``.
    """
    problem = pipeline.problem
    lanes = [np.zeros(0, dtype=np.int64)] * (2 * problem.n_devices)
    seconds: Floats = np.zeros(sum(map(len, pipeline.rows)))
    node_of = np.full((problem.n_operators, 3, problem.microbatches), -1)
    inside = np.zeros(node_of.shape)
    first = 0
    for device, row in zip(pipeline.devices, pipeline.rows, strict=True):
        lanes[2 * device] = np.arange(first, first + len(row))
        for kind in row.kinds:
            block = _block(pipeline, kind.action, device, exposed)
            seconds[first + kind.places] = block.seconds
            for (i, p, stage_pass), offset in block.starts:
                node_of[i, p, kind.microbatches[stage_pass]] = first + kind.places
                inside[i, p, kind.microbatches[stage_pass]] = offset
        first += len(row)
    network = Network(seconds, lanes)
    sent = connect(network, problem, pipeline.placement, pipeline.copy_of, node_of)
    times = network.run()
    assert times is not None, "a baseline's order deadlocks"
    start = np.where(node_of >= 0, times[node_of] + inside, np.nan)
    found = Timetable(pipeline.placement, pipeline.copy_of, start, timed_transfers(times, sent))
    return with_step_tasks(problem, found, overlapped, exposed)


def _block(pipeline: Pipeline, action: Action, device: int, exposed: Bools | None = None) -> _Block:
    problem = pipeline.problem
    stream = problem.on_comm.astype(int) if exposed is None else np.where(exposed, BOTH, problem.on_comm)
    tasks = [task for stage_pass in action.passes for task in pipeline.tasks(stage_pass)]
    number = {task: k for k, task in enumerate(tasks)}
    items = []
    for i, p, m in tasks:
        after = tuple(number[task] for task in _read_by(problem, (i, p, m)) if task in number)
        items.append(Item(int(stream[i]), float(problem.duration[i, p, device]), after))
    packing = pack(tuple(items), SHARED_EFFORT // max(1, len(pipeline.devices)))
    return _Block(tuple(zip(tasks, packing.starts, strict=True)), packing.length)
