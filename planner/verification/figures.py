"""Rule 6: the figures of the plan, each computed anew from its tasks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

from planner.common.messages import shown
from planner.plan.plan import DeviceFigures
from planner.verification.facts import DURATION, Facts, Violation, number
from planner.verification.memory import SLACK, DeviceMemory
from planner.verification.rules import Rule
from planner.verification.work import Work

Instants = Callable[[float], float]
"""From an instant of the whole step to one of the tasks that are checked."""


def check_figures(facts: Facts, work: Work, memory: dict[str, DeviceMemory], when: Instants) -> Iterator[Violation]:
    """Yield the figures that do not follow from the tasks. ``when``: instants of ``memory`` by those of ``work``."""
    plan = facts.plan
    if plan.microbatches != work.microbatches:
        yield Violation(Rule.FIGURES, f"microbatches is {plan.microbatches}, but the step has {work.microbatches}")
    if not close(plan.makespan, work.makespan, work.tolerance):
        yield wrong("makespan", plan.makespan, work.makespan)
    listed = Counter(figures.name for figures in plan.devices)
    for name in facts.devices:
        if listed[name] != 1:
            yield Violation(Rule.FIGURES, f"devices lists {shown(name)} {listed[name]} times instead of once")
    for figures in plan.devices:
        if figures.name not in facts.devices:
            yield Violation(Rule.FIGURES, f"devices lists {shown(figures.name)}, which the cluster does not have")
            continue
        yield from _times(figures, work)
        yield from _memory(facts, figures, work, memory[figures.name], when)

    bubble = {name: work.makespan - seconds for name, seconds in work.busy.items()}
    yield from _ratio(work, "bubble_ratio", plan.bubble_ratio, [bubble[name] for name in sorted(work.running)])
    yield from _ratio(work, "bubble_ratio_all", plan.bubble_ratio_all, list(bubble.values()))


def _times(figures: DeviceFigures, work: Work) -> Iterator[Violation]:
    """Busy time, bubble and span bubble of a device."""
    busy, span = work.busy[figures.name], work.span[figures.name]
    slack = DURATION * busy + work.tolerance
    for field, found, expected in (
        ("busy", figures.busy, busy),
        ("bubble", figures.bubble, work.makespan - busy),
        ("span_bubble", figures.span_bubble, span - busy),
    ):
        if not close(found, expected, slack):
            yield wrong(f"{field} of {figures.name}", found, expected)


def _memory(
    facts: Facts, figures: DeviceFigures, work: Work, memory: DeviceMemory, when: Instants
) -> Iterator[Violation]:
    """Peak memory, when, and the cap of a device."""
    cap = facts.cap(figures.name)
    agree = figures.memory is None if cap is None else close(figures.memory, cap, SLACK * cap)
    if not agree:
        yield wrong(f"memory (the cap) of {figures.name}", figures.memory, cap)
    slack = SLACK * memory.peak + 1e-6
    if not close(figures.peak_memory, memory.peak, slack):
        yield wrong(f"peak_memory of {figures.name}", figures.peak_memory, memory.peak)
    at = figures.peak_memory_at
    if not (math.isfinite(at) and -work.tolerance <= at <= work.makespan + work.tolerance):
        yield Violation(Rule.FIGURES, f"peak_memory_at of {figures.name} is {number(at)}, not an instant of the step")
        return
    there = memory.highest_near(when(at), work.tolerance)
    if not close(there, memory.peak, slack):
        yield Violation(
            Rule.FIGURES,
            f"peak_memory_at of {figures.name} is {number(at)} s, but it holds {number(there)} bytes then; "
            f"the peak of {number(memory.peak)} bytes is at {number(memory.peak_at)} s",
        )


def _ratio(work: Work, field: str, found: float, bubbles: list[float]) -> Iterator[Violation]:
    """A ratio of bubbles to the time of their devices."""
    time = len(bubbles) * work.makespan
    expected = math.fsum(bubbles) / time if time > 0 else 0.0
    if not close(found, expected, DURATION):
        yield wrong(field, found, expected)


def close(found: float | None, expected: float, slack: float) -> bool:
    """Whether a figure is what it should be."""
    return found is not None and math.isfinite(found) and abs(found - expected) <= slack


def wrong(field: str, found: float | None, expected: float | None) -> Violation:
    """A figure that does not follow from the tasks."""
    words = ["null" if value is None else number(value) for value in (found, expected)]
    if words[0] == words[1]:
        words = [str(found), str(expected)]
    return Violation(Rule.FIGURES, f"{field} is {words[0]}, but it follows as {words[1]}")
