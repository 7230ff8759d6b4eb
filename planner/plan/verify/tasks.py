"""Rule 2: every pass runs once, on its copy's device and stream, for its time, alone on that stream."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from itertools import pairwise

from planner.plan.plan import PlannedTask
from planner.plan.verify.facts import Facts, Violation, name_task, number, overlaps


def check_tasks(facts: Facts) -> Iterator[Violation]:
    """Yield what is wrong with single tasks, and which are missing or listed twice."""
    seen: dict[tuple[str, str, int], PlannedTask] = {}
    for task in facts.plan.tasks:
        if task.operator not in facts.operators:
            yield Violation(2, f"{name_task(task)}: the graph has no such operator")
            continue
        if task.pass_ not in facts.passes[task.operator]:
            yield Violation(2, f"{name_task(task)}: the operator has no such pass")
            continue
        if not 0 <= task.microbatch < facts.microbatches:
            yield Violation(2, f"{name_task(task)}: microbatches are 0 to {facts.microbatches - 1}")
            continue
        first = seen.setdefault((task.operator, task.pass_, task.microbatch), task)
        if first is not task:
            yield Violation(
                2, f"{name_task(task)} runs a second time; first on {first.device} at {number(first.start)} s"
            )
        yield from _task(facts, task)
    yield from _missing(facts, seen.keys())


def _missing(facts: Facts, seen: Collection[tuple[str, str, int]]) -> Iterator[Violation]:
    """Tasks that nobody runs; microbatches without any task are named once, not task by task."""
    present = sorted({microbatch for _, _, microbatch in seen})
    for before, after in pairwise([-1, *present, facts.microbatches]):
        if after - before > 1:
            which = f"{before + 1}" if after - before == 2 else f"{before + 1} to {after - 1}"
            yield Violation(2, f"microbatch {which} has no task on any device")
    for name, passes in facts.passes.items():
        for pass_ in passes:
            for microbatch in present:
                if (name, pass_, microbatch) not in seen:
                    where = facts.device(name, microbatch) or "any device"
                    yield Violation(2, f"{pass_} of {name!r}, microbatch {microbatch}, does not run on {where}")


def _task(facts: Facts, task: PlannedTask) -> Iterator[Violation]:
    """Device, stream and duration of one task."""
    if task.stream != facts.operators[task.operator].stream.value:
        yield Violation(
            2,
            f"{name_task(task)} is on stream {task.stream}, but the operator occupies stream "
            f"{facts.operators[task.operator].stream.value}",
        )
    placed = facts.place.get((task.operator, task.copy))
    if placed is None:
        yield Violation(2, f"{name_task(task)}: copy {task.copy} of the operator has no placement")
    elif placed != task.device:
        yield Violation(2, f"{name_task(task)}: copy {task.copy} of the operator is placed on {placed}")
    if not facts.timed(task):
        yield Violation(2, f"{name_task(task)}: start and end must be finite, from 0 on and in this order")
    elif task.device in facts.devices:
        expected = facts.seconds(task.operator, task.pass_, task.device)
        if math.isfinite(expected) and not facts.same_duration(task.end - task.start, expected):
            yield Violation(
                2,
                f"{name_task(task)} lasts {number(task.end - task.start)} s, but the pass takes "
                f"{number(expected)} s there",
            )


def check_streams(facts: Facts) -> Iterator[Violation]:
    """A stream runs one task at a time."""
    streams: dict[tuple[str, str], list[PlannedTask]] = {}
    for task in facts.usable:
        streams.setdefault((task.device, task.stream), []).append(task)
    for (_, stream), tasks in sorted(streams.items()):
        for before, task in overlaps(tasks, facts.tolerance):
            yield Violation(2, f"{name_task(task)} overlaps {name_task(before)} on stream {stream}")
