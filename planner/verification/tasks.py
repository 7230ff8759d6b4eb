"""Rule 2: every pass runs once, on its copy's device and stream, for its time, alone on that stream."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, pairwise

import numpy as np

from planner.common.messages import shown
from planner.plan.plan import PlannedTask
from planner.problem.graph import Stream
from planner.verification.facts import Facts, Task, Violation, name_task, number, overlaps
from planner.verification.rules import Rule
from planner.verification.table import PASSES, Flags, TaskIndex


def check_tasks(facts: Facts) -> Iterator[Violation]:
    """Yield what is wrong with single tasks, and which are missing or listed twice."""
    table = facts.table
    index = table.index(facts.known_rows)
    doubled = facts.known_rows.copy()
    doubled[index.rows] = False
    for row in np.flatnonzero(~facts.known_rows | doubled | _suspicious(facts)).tolist():
        task = facts.plan.tasks[row]
        if task.operator not in facts.operators:
            yield Violation(Rule.TASKS, f"{name_task(task)}: the graph has no such operator")
            continue
        version = facts.version(task.operator, task.copy)
        if task.pass_ not in facts.passes_of[task.operator][version]:
            which = f"variant {shown(facts.operators[task.operator].versions[version])}" if version else "the operator"
            yield Violation(Rule.TASKS, f"{name_task(task)}: {which} has no such pass")
            continue
        if not 0 <= task.microbatch < facts.microbatches:
            yield Violation(Rule.TASKS, f"{name_task(task)}: microbatches are 0 to {facts.microbatches - 1}")
            continue
        if doubled[row]:
            at = index.at(int(table.operator[row]), task.pass_, table.microbatch[row : row + 1])
            first = facts.plan.tasks[int(at[0])]
            yield Violation(
                Rule.TASKS, f"{name_task(task)} runs a second time; first on {first.device} at {number(first.start)} s"
            )
        yield from _task(facts, task)
    yield from _missing(facts, index)


def _suspicious(facts: Facts) -> Flags:
    """The rows with a wrong stream, device, time or duration, or with unknown names."""
    table = facts.table
    comm = np.array([o.stream is Stream.COMM for o in facts.operators.values()], dtype=np.int64)
    devices, copies = list(facts.devices), {copy: k for k, copy in enumerate(table.copies)}
    placed = np.full((len(facts.operators), max(1, len(copies))), -1)
    for i, name in enumerate(facts.operators):
        for copy, k in copies.items():
            where = facts.place.get((name, copy))
            placed[i, k] = -1 if where is None else devices.index(where)
    wrong = (table.on_comm != comm[table.operator]) | (table.device < 0) | ~facts.timed_rows
    wrong |= placed[table.operator, table.copy] != table.device
    names = [(name, p) for name in facts.operators for p in PASSES]
    most = max(map(len, facts.passes_of.values()))
    # rows without a device that exists are wrong, whatever they last
    codes = (table.kind * most + facts.version_rows) * len(devices) + np.maximum(table.device, 0)
    which, at = np.unique(codes, return_inverse=True)
    lasts = np.full(len(which), math.inf)
    for k, code in enumerate(which.tolist()):
        rest, d = divmod(code, len(devices))
        row, version = divmod(rest, most)
        name, pass_ = names[row]
        if version < len(facts.passes_of[name]) and pass_ in facts.passes_of[name][version]:
            lasts[k] = facts.seconds(name, pass_, devices[d], version)
    expected = lasts[at]
    with np.errstate(invalid="ignore"):
        same = np.abs(table.end - table.start - expected) <= facts.duration_slack(expected)
    flags: Flags = wrong | (np.isfinite(expected) & ~same)
    return flags


def _missing(facts: Facts, index: TaskIndex) -> Iterator[Violation]:
    """Tasks that are missing; microbatches without any task are named once, not task by task."""
    present = np.bincount(index.keys % index.most).nonzero()[0]
    named = [facts.table.microbatches[k] for k in present.tolist()]
    for before, after in pairwise([-1, *named, facts.microbatches]):
        if after - before > 1:
            which = f"{before + 1}" if after - before == 2 else f"{before + 1} to {after - 1}"
            yield Violation(Rule.TASKS, f"microbatch {which} has no task on any device")
    for i, (name, passes) in enumerate(facts.passes.items()):
        for pass_ in passes:
            for k in np.flatnonzero(index.at(i, pass_, present) < 0).tolist():
                microbatch = named[k]
                if pass_ not in facts.passes_of[name][facts.version(name, facts.copy_of[microbatch])]:
                    continue
                where = facts.device(name, microbatch) or "any device"
                yield Violation(
                    Rule.TASKS, f"{pass_} of {shown(name)}, microbatch {microbatch}, does not run on {where}"
                )


def _task(facts: Facts, task: PlannedTask) -> Iterator[Violation]:
    """Device, stream and duration of one task."""
    if task.stream != facts.operators[task.operator].stream.value:
        yield Violation(
            Rule.TASKS,
            f"{name_task(task)} is on stream {task.stream}, but the operator occupies stream "
            f"{facts.operators[task.operator].stream.value}",
        )
    placed = facts.place.get((task.operator, task.copy))
    if placed is None:
        yield Violation(Rule.TASKS, f"{name_task(task)}: copy {task.copy} of the operator has no placement")
    elif placed != task.device:
        yield Violation(Rule.TASKS, f"{name_task(task)}: copy {task.copy} of the operator is placed on {placed}")
    if not facts.timed(task):
        yield Violation(Rule.TASKS, f"{name_task(task)}: start and end must be finite, from 0 on and in this order")
    elif task.device in facts.devices:
        version = facts.version(task.operator, task.copy)
        expected = facts.seconds(task.operator, task.pass_, task.device, version)
        if math.isfinite(expected) and not facts.same_duration(task.end - task.start, expected):
            yield Violation(
                Rule.TASKS,
                f"{name_task(task)} lasts {number(task.end - task.start)} s, but the pass takes "
                f"{number(expected)} s there",
            )


def check_streams(facts: Facts) -> Iterator[Violation]:
    """A stream runs one task at a time."""
    if not _crowded(facts):
        return
    streams: dict[tuple[str, str], list[Task]] = {}
    for task in chain[Task](facts.usable, facts.usable_step):
        streams.setdefault((task.device, task.stream), []).append(task)
    for (_, stream), tasks in sorted(streams.items()):
        for before, task in overlaps(tasks, facts.tolerance):
            yield Violation(Rule.TASKS, f"{name_task(task)} overlaps {name_task(before)} on stream {stream}")


def _crowded(facts: Facts) -> bool:
    """Whether some task starts before one that started earlier on the same stream has ended."""
    table, rows, step = facts.table, np.flatnonzero(facts.usable_rows), facts.usable_step
    number = {name: d for d, name in enumerate(facts.devices)}
    own = [(number[task.device], task.stream != "compute", task.start, task.end) for task in step]
    device, on_comm, first, last = np.array(own, dtype=np.float64).reshape(-1, 4).T
    # a stream that does not exist is one more of its device
    stream = np.concatenate([3 * table.device[rows] + table.on_comm[rows], 3 * device + on_comm])
    start, end = np.concatenate([table.start[rows], first]), np.concatenate([table.end[rows], last])
    order = np.lexsort((end, start, stream))
    for same in np.split(order, np.flatnonzero(np.diff(stream[order])) + 1):
        over = np.maximum.accumulate(end[same])
        if (start[same][1:] < over[:-1] - facts.tolerance).any():
            return True
    return False
