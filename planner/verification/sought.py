"""Rules 6 and 7 on the figures of the objective: what the plan reaches, and that no bound exceeds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from planner.plan.plan import Plan, Unit
from planner.verification.facts import DURATION, INSTANT, Violation, number
from planner.verification.figures import close, wrong
from planner.verification.memory import SLACK, DeviceMemory
from planner.verification.rules import Rule
from planner.verification.work import Work


def check_sought(plan: Plan, work: Work, memory: dict[str, DeviceMemory]) -> Iterator[Violation]:
    """Yield the figures of the objective that do not follow from the tasks, and the bounds that exceed them."""
    for figure in plan.figures:
        kind, field = figure.kind, figure.kind.value or figure.key
        if figure.value is not None:
            expected = REACHED[figure.key](work, memory)
            slack = {
                Unit.SECONDS: DURATION * expected + work.tolerance,
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


REACHED: Mapping[str, Callable[[Work, dict[str, DeviceMemory]], float]] = {
    "memory": lambda _, memory: max((held.peak for held in memory.values()), default=0.0),
    "period": lambda work, _: max(work.streams.values(), default=0.0) / max(1, work.microbatches),
    "devices": lambda work, _: len(work.running),
}
"""The value of each kind of figure: most bytes on a device; the busiest stream's work a microbatch; devices at work."""
