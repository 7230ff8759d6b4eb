"""Rule 3: the order of the passes of one microbatch."""

from __future__ import annotations

from collections.abc import Iterator

from planner.plan.verify.facts import Facts, Violation, name_task


def check_order(facts: Facts) -> Iterator[Violation]:
    """F after the F of inputs; I after the own F and the I of consumers; W after the own I."""
    for task in facts.tasks.values():
        name, microbatch = task.operator, task.microbatch
        if task.pass_ == "F":
            before = [(read, "F") for read in facts.inputs[name]]
        elif task.pass_ == "I":
            before = [(name, "F"), *((reader, "I") for reader in facts.consumers[name])]
        else:
            before = [(name, "I")]
        for other, pass_ in before:
            earlier = facts.tasks.get((other, pass_, microbatch))
            if earlier is not None and task.start < earlier.end - facts.tolerance:
                yield Violation(3, f"{name_task(task)} must start after {name_task(earlier)}")
