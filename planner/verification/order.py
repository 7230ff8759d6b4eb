"""Rule 3: the order of the passes of one microbatch."""

from __future__ import annotations

from collections.abc import Iterator

from planner.verification.facts import Facts, Violation, name_task
from planner.verification.rules import Rule


def check_order(facts: Facts) -> Iterator[Violation]:
    """F after the F of inputs; I after the own F and the I of consumers; W after the own I."""
    for row in _too_early(facts):
        task = facts.plan.tasks[row]
        for other, pass_ in _before(facts, task.operator, task.pass_):
            earlier = facts.tasks.get((other, pass_, task.microbatch))
            if earlier is not None and task.start < earlier.end - facts.tolerance:
                yield Violation(Rule.ORDER, f"{name_task(task)} must start after {name_task(earlier)}")


def _before(facts: Facts, name: str, pass_: str) -> list[tuple[str, str]]:
    """What must end before a pass of an operator starts."""
    if pass_ == "F":
        return [(read, "F") for read in facts.inputs[name]]
    if pass_ == "I":
        return [(name, "F"), *((reader, "I") for reader in facts.consumers[name])]
    return [(name, "I")]


def _too_early(facts: Facts) -> list[int]:
    """The rows of tasks that start before something that they wait for has ended."""
    table, index = facts.table, facts.index
    number = {name: i for i, name in enumerate(facts.operators)}
    found: set[int] = set()
    for name, passes in facts.passes.items():
        for pass_ in passes:
            microbatch, rows = index.of(number[name], pass_)
            for other, earlier in _before(facts, name, pass_):
                before = index.at(number[other], earlier, microbatch)
                late = (before >= 0) & (table.start[rows] < table.end[before] - facts.tolerance)
                found.update(rows[late].tolist())
    return sorted(found)
