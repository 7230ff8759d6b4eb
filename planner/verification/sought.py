"""Rules 6 and 7 on the figures of the objective: what the plan reaches, and that no bound exceeds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from planner.plan.plan import Unit
from planner.verification.facts import DURATION, INSTANT, Facts, Violation, number
from planner.verification.figures import close, wrong
from planner.verification.memory import SLACK, DeviceMemory
from planner.verification.rules import Rule


def check_sought(facts: Facts, memory: dict[str, DeviceMemory]) -> Iterator[Violation]:
    """Yield the figures of the objective that do not follow from the tasks, and the bounds that exceed them."""
    for figure in facts.plan.figures:
        kind, field = figure.kind, figure.kind.value or figure.key
        if figure.value is not None:
            expected = REACHED[figure.key](facts, memory)
            slack = {
                Unit.SECONDS: DURATION * expected + facts.tolerance,
                Unit.BYTES: SLACK * expected + 1e-6,
                Unit.DEVICES: 0.0,
            }
            if not close(figure.value, expected, slack[kind.unit]):
                yield wrong(field, figure.value, expected)
        if figure.bound is None:
            continue
        if figure.value is None:
            yield Violation(Rule.BOUNDS, f"{kind.bound} is {number(figure.bound)}, but the plan has no {field}")
        elif not 0 <= figure.bound <= figure.value * (1 + INSTANT):
            yield Violation(
                Rule.BOUNDS, f"{kind.bound} is {number(figure.bound)}, but the plan has {number(figure.value)}"
            )


def _peak(facts: Facts, memory: dict[str, DeviceMemory]) -> float:
    """The most bytes that any device holds at any time."""
    return max((held.peak for held in memory.values()), default=0.0)


def _period(facts: Facts, memory: dict[str, DeviceMemory]) -> float:
    """The work of the busiest stream or channel for a microbatch; exclusive transfers count on streams too."""
    streams: dict[tuple[str, str], list[float]] = {}
    for task in facts.usable:
        streams.setdefault((task.device, task.stream), []).append(task.end - task.start)
    for transfer in filter(facts.timed, facts.plan.transfers):
        streams.setdefault((transfer.source, f"to {transfer.target}"), []).append(transfer.end - transfer.start)
        for end in (transfer.source, transfer.target):
            device = facts.devices.get(end)
            if device is not None and device.type.exclusive_transfers:
                streams.setdefault((end, "compute"), []).append(transfer.end - transfer.start)
    return max(map(math.fsum, streams.values()), default=0.0) / max(1, facts.microbatches)


def _devices(facts: Facts, memory: dict[str, DeviceMemory]) -> float:
    """How many devices run a task."""
    return len({task.device for task in facts.usable})


REACHED: Mapping[str, Callable[[Facts, dict[str, DeviceMemory]], float]] = {
    "memory": _peak,
    "period": _period,
    "devices": _devices,
}
"""The value of each kind of figure, from the tasks alone."""
