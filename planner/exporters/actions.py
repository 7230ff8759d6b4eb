"""What every device runs: rows of forwards, gradients and full backwards of stages, and their times.

The rows are those of the baselines (``planner.baselines.action``), so that they are replayed in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from planner.baselines.action import Action, StagePass, action
from planner.baselines.operators import PASSES, Pipeline, replay_streams
from planner.baselines.row import row_of
from planner.exporters.partition import Bools, Ints, Stages, mixes_backwards, on_streams
from planner.problem import Placement, Problem
from planner.timetable.replay import orders_of
from planner.timetable.timetable import Timetable

ROUNDING = 1e-9
"""Of the makespan: instants closer than this are one."""


@dataclass(frozen=True)
class StageSchedule:
    """Stages on devices, and the row of every device that runs some: row r is that of ``devices[r]``."""

    problem: Problem
    stages: Stages
    device_of_stage: tuple[int, ...]
    devices: tuple[int, ...]
    rows: list[list[Action]]

    def replayed(self) -> Timetable:
        """When everything runs, as early as the rows allow."""
        device_of = [0] * self.problem.n_operators
        for stage, d in zip(self.stages, self.device_of_stage, strict=True):
            for i in stage:
                device_of[i] = d
        rows = [row_of(row) for row in self.rows]
        return replay_streams(Pipeline(self.problem, self.stages, self.devices, Placement.single(device_of), rows))


def schedule_of(problem: Problem, device_of: Sequence[int], stages: Stages, position: Ints) -> StageSchedule:
    """The rows that come closest to a plan: F, I and W, and B where the plan mixes I and W or there is no W.

    A stage pass takes its place where the plan starts its last task. If that is before a pass that it waits for (the
    passes of a microbatch go through the stages one after the other, forth and back), it comes right after that pass.
    So the rows follow one order of all passes that respects precedence, and cannot deadlock.
    """
    on_stream = on_streams(problem, device_of, position)
    full = np.array([mixes_backwards(problem, stage, on_stream) for stage in stages])
    full |= ~np.array([problem.has_pass[list(stage), 2].any() for stage in stages])[:, None]
    keys = _keys(stages, position, full)
    count = len(stages)
    order: list[tuple[int, int, int, str, int]] = []  # key, order at one key, microbatch, kind, stage
    for s in range(count):
        for m, (f, i, w) in enumerate(keys[s].T.tolist()):
            order.append((f, s, m, "F", s))
            order.append((i, 2 * count - 1 - s, m, "B" if full[s, m] else "I", s))
            if not full[s, m]:
                order.append((w, 2 * count, m, "W", s))
    device_of_stage = tuple(device_of[stage[0]] for stage in stages)
    rows: dict[int, list[Action]] = {d: [] for d in sorted(set(device_of_stage))}
    for _, _, m, kind, s in sorted(order):
        rows[device_of_stage[s]].append(action(kind, s, m))
    return StageSchedule(problem, stages, device_of_stage, tuple(rows), list(rows.values()))


def _keys(stages: Stages, position: Ints, full: Bools) -> Ints:
    """``[stage, pass, microbatch]``: the place of the last task, raised to that of what has to come before."""
    own = np.array([position[list(stage)].max(axis=0) for stage in stages])
    forth = np.maximum.accumulate(own[:, 0], axis=0)
    ending = np.where(full, own[:, 1:].max(axis=1), own[:, 1])
    back = np.maximum.accumulate(np.concatenate([forth[-1:], ending[::-1]]), axis=0)[:0:-1]
    return np.stack([forth, back, np.maximum(own[:, 2], back)], axis=1)


def keeps_order(schedule: StageSchedule, timetable: Timetable) -> bool:
    """Whether every stream runs the passes of the stages in the order of the rows, each in one go.

    A full backward must also send its gradient as late in the timetable as it would by itself.
    """
    problem = schedule.problem
    free = _Free(schedule, timetable, strict=True)
    stage_of = {i: s for s, stage in enumerate(schedule.stages) for i in stage}
    full = {(p.stage, p.microbatch) for row in schedule.rows for c in row for p in c.passes if p.kind == "B"}
    if not all(free(s, m) for s, m in full):
        return False
    orders = orders_of(timetable, problem)
    for d, row in zip(schedule.devices, schedule.rows, strict=True):
        for stream in (0, 1):
            tasks = ((stage_of[i], m, p) for i, p, m in orders[d][stream])
            run = [(s, m, "B" if p and (s, m) in full else "FIW"[p]) for s, m, p in tasks]
            wanted = [
                (stage_pass.stage, stage_pass.microbatch, stage_pass.kind)
                for stage_pass in (c.passes[0] for c in row)
                if _uses(problem, schedule.stages[stage_pass.stage], stage_pass, stream)
            ]
            if [key for key, _ in groupby(run)] != wanted:
                return False
    return True


def _uses(problem: Problem, stage: Sequence[int], stage_pass: StagePass, stream: int) -> bool:
    """Whether a stage's pass has a task on the stream."""
    on_it = [i for i in stage if problem.on_comm[i] == stream]
    return bool(problem.has_pass[on_it][:, PASSES[stage_pass.kind]].any())


def merge_backwards(schedule: StageSchedule, timetable: Timetable, strict: bool) -> StageSchedule:
    """The rows with B for an I that its W follows at once, where that delays no other stage.

    A full backward costs less than its two halves, but sends its gradient only at its end. That delays nothing at the
    first stage, nor if the stage before is on the same device and so comes later anyway. Elsewhere the gradient must
    leave after W in the timetable already (``strict``), or the stage before must start its I late enough.
    """
    free = _Free(schedule, timetable, strict)
    rows = [_merged(row, free) for row in schedule.rows]
    return replace(schedule, rows=rows)


def _merged(row: Sequence[Action], free: _Free) -> list[Action]:
    found: list[Action] = []
    for c in row:
        stage_pass = c.passes[0]
        before = found[-1].passes[0] if found else None
        follows = before is not None and (before.kind, before[1:]) == ("I", stage_pass[1:]) and stage_pass.kind == "W"
        if follows and free(stage_pass.stage, stage_pass.microbatch):
            found[-1] = Action((stage_pass._replace(kind="B"),))
        else:
            found.append(c)
    return found


class _Free:
    """Whether the gradient of a stage may leave after W without delay for the stage before."""

    def __init__(self, schedule: StageSchedule, timetable: Timetable, strict: bool) -> None:
        self.stages, self.device, self.strict = schedule.stages, schedule.device_of_stage, strict
        self.start, ends = timetable.start, timetable.ends(schedule.problem)
        self.end = np.array([np.nanmax(ends[list(stage), 1:], axis=(0, 1)) for stage in self.stages])
        self.slack = ROUNDING * float(np.nanmax(ends))
        self.sent: dict[tuple[int, int], list[tuple[float, float]]] = {}
        stage_of = {i: s for s, stage in enumerate(self.stages) for i in stage}
        for t in timetable.transfers:
            if t.pass_ == 1:
                self.sent.setdefault((stage_of[t.operator], t.microbatch), []).append((t.start, t.end))

    def __call__(self, stage: int, microbatch: int) -> bool:
        if stage == 0 or self.device[stage - 1] == self.device[stage]:
            return True
        over = self.end[stage, microbatch]
        waiting = float(np.nanmin(self.start[list(self.stages[stage - 1]), 1, microbatch])) + self.slack
        sent = self.sent.get((stage - 1, microbatch), [])
        if self.strict:
            return all(over <= start + self.slack for start, _ in sent) and over <= waiting
        return bool(over + max((end - start for start, end in sent), default=0.0) <= waiting)
