"""Rules 2 and 3 on step tasks: what runs once a step and copy, after the last microbatch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from planner.common.messages import shown
from planner.plan.plan import PlannedStepTask
from planner.problem.graph import STEP_STREAMS, Pass
from planner.verification.facts import Facts, Task, Violation, name_task, number
from planner.verification.rules import Rule


def check_step_tasks(facts: Facts) -> Iterator[Violation]:
    """R, U and G run once for each copy that has them, on its device and their stream, for exactly their times."""
    seen: dict[tuple[str, str, int], PlannedStepTask] = {}
    for task in facts.plan.step_tasks:
        key = (task.operator, task.pass_, task.copy)
        if task.operator not in facts.operators:
            yield Violation(Rule.TASKS, f"{name_task(task)}: the graph has no such operator")
            continue
        if task.pass_ not in facts.step_passes[task.operator]:
            why = "the operator has no such step task" if facts.training else "inference has no step tasks"
            yield Violation(Rule.TASKS, f"{name_task(task)}: {why}")
            continue
        if key in seen:
            where = f"first on {seen[key].device} at {number(seen[key].start)} s"
            yield Violation(Rule.TASKS, f"{name_task(task)} runs a second time; {where}")
        seen.setdefault(key, task)
        yield from _task(facts, task)
    for (name, copy), device in facts.place.items():
        for pass_ in facts.step_passes[name]:
            if (name, pass_, copy) not in seen:
                yield Violation(Rule.TASKS, f"{pass_} of {shown(name)}, copy {copy}, does not run on {device}")


def _task(facts: Facts, task: PlannedStepTask) -> Iterator[Violation]:
    """Device, stream and duration of one step task."""
    stream = STEP_STREAMS[Pass(task.pass_)].value
    if task.stream != stream:
        what = f"is on stream {task.stream}, but {task.pass_} occupies stream {stream}"
        yield Violation(Rule.TASKS, f"{name_task(task)} {what}")
    placed = facts.place.get((task.operator, task.copy))
    if placed is None:
        yield Violation(Rule.TASKS, f"{name_task(task)}: copy {task.copy} of the operator has no placement")
    elif placed != task.device:
        yield Violation(Rule.TASKS, f"{name_task(task)}: copy {task.copy} of the operator is placed on {placed}")
    if not facts.timed(task):
        yield Violation(Rule.TASKS, f"{name_task(task)}: start and end must be finite, from 0 on and in this order")
    elif task.device in facts.devices:
        expected = facts.seconds(task.operator, task.pass_, task.device)
        if math.isfinite(expected) and not facts.same_duration(task.end - task.start, expected):
            yield Violation(
                Rule.TASKS,
                f"{name_task(task)} lasts {number(task.end - task.start)} s, but it takes {number(expected)} s there",
            )


def check_step_order(facts: Facts) -> Iterator[Violation]:
    """R after the last I and W of its copy, U after its R (clipped: after every R), G after its U; see ``_Order``."""
    order = _Order.of(facts)
    for task in facts.step_tasks.values():
        for earlier in order.before(task):
            if task.start < earlier.end - facts.tolerance:
                yield Violation(Rule.ORDER, f"{name_task(task)} must start after {name_task(earlier)}")


@dataclass(frozen=True)
class _Order:
    """What step tasks wait for. ``last_reduction``: the R that ends last, where gradients are clipped.

    ``sent``: the exchanges that the plan lists, by operator, copy and target.
    """

    facts: Facts
    last_reduction: PlannedStepTask | None
    sent: frozenset[tuple[str, int, str]]

    @staticmethod
    def of(facts: Facts) -> _Order:
        reductions = [task for task in facts.step_tasks.values() if task.pass_ == "R"]
        clipped = facts.graph.clip_gradients and reductions
        last = max(reductions, key=lambda task: task.end) if clipped else None
        return _Order(facts, last, frozenset((x.operator, x.copy, x.target) for x in facts.plan.exchanges))

    def before(self, task: PlannedStepTask) -> Iterator[Task]:
        """What must end before a step task starts; a step task that the operator lacks is skipped."""
        facts = self.facts
        own = facts.step_passes[task.operator]
        place = own.index(task.pass_)
        if place > 0:
            earlier = facts.step_tasks.get((task.operator, own[place - 1], task.copy))
            if earlier is not None:
                yield earlier
        else:
            gradient = facts.last_gradient.get((task.operator, task.copy))
            if gradient is not None:
                yield gradient
            yield from self._gradients_unsent(task)
        clipping = self.last_reduction
        if task.pass_ == "U" and clipping is not None and clipping[:3] != (task.operator, "R", task.copy):
            yield clipping

    def _gradients_unsent(self, task: PlannedStepTask) -> Iterator[Task]:
        """The last I or W of copies whose gradient arrives at once, so that no exchange need be listed."""
        facts = self.facts
        if facts.gradient[task.operator] <= 0:
            return
        for copy in facts.copies_of(task.operator):
            elsewhere = facts.place[task.operator, copy] != task.device
            gradient = facts.last_gradient.get((task.operator, copy))
            if elsewhere and gradient is not None and (task.operator, copy, task.device) not in self.sent:
                yield gradient
