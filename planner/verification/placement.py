"""Rule 1: every operator has all copies on allowed devices and in allowed variants; labels stay together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from planner.common.messages import shown
from planner.verification.facts import Facts, Violation, listing
from planner.verification.rules import Rule


def check_placement(facts: Facts) -> Iterator[Violation]:
    """Yield the violations of rule 1."""
    yield from _entries(facts)
    yield from _variants(facts)
    yield from _copies(facts)
    yield from _allowed(facts)
    yield from _colocate(facts)
    yield from _one_copy_a_microbatch(facts)


def _entries(facts: Facts) -> Iterator[Violation]:
    """Each entry names what exists, once."""
    for placed in facts.plan.placement:
        if placed.operator not in facts.operators:
            yield Violation(Rule.PLACEMENT, f"placement of {shown(placed.operator)}: the graph has no such operator")
        if placed.device not in facts.devices:
            yield Violation(
                Rule.PLACEMENT,
                f"placement of {shown(placed.operator)}, copy {placed.copy}: "
                f"the cluster has no device {shown(placed.device)}",
            )
    for (operator, copy), count in Counter((p.operator, p.copy) for p in facts.plan.placement).items():
        if count > 1:
            yield Violation(Rule.PLACEMENT, f"placement of {shown(operator)}, copy {copy}, is listed {count} times")


def _variants(facts: Facts) -> Iterator[Violation]:
    """Each copy is in a version of its operator that exists and is allowed."""
    for placed in facts.plan.placement:
        operator = facts.operators.get(placed.operator)
        if operator is None:
            continue
        where = f"placement of {shown(placed.operator)}, copy {placed.copy}"
        if placed.variant not in operator.versions:
            what = f"the operator has no variant {shown(placed.variant)}, only {listing(operator.versions)}"
            yield Violation(Rule.PLACEMENT, f"{where}: {what}")
        elif placed.variant not in facts.allowed_versions(placed.operator):
            what = f"variant {shown(placed.variant)} is not allowed, only"
            yield Violation(Rule.PLACEMENT, f"{where}: {what} {listing(facts.allowed_versions(placed.operator))}")


def _copies(facts: Facts) -> Iterator[Violation]:
    """Copies are numbered from 0, no more than allowed, and every operator has all of them."""
    numbers = {p.copy for p in facts.plan.placement}
    expected = set(range(len(numbers)))
    if numbers != expected:
        yield Violation(Rule.PLACEMENT, f"copies must be numbered 0 to {len(numbers) - 1}, found {sorted(numbers)}")
    if len(numbers) > facts.copies:
        yield Violation(
            Rule.PLACEMENT, f"the plan has {len(numbers)} copies of its operators, allowed are {facts.copies}"
        )
    found = {(p.operator, p.copy) for p in facts.plan.placement}
    for copy in sorted(numbers) or [0]:
        missing = [name for name in facts.operators if (name, copy) not in found]
        if missing:
            yield Violation(Rule.PLACEMENT, f"copy {copy} lacks a placement of {listing(missing)}")


def _allowed(facts: Facts) -> Iterator[Violation]:
    """The device is among the operator's devices and has a time for each of its passes and step tasks."""
    for (name, copy), device in facts.place.items():
        version = facts.version(name, copy)
        if facts.may_run(name, device, version):
            continue
        timeless = facts.timeless(name, device, version)
        why = (
            f"{device} has no time for pass {', '.join(timeless)}"
            if timeless
            else f"its devices are {listing(facts.operators[name].devices or ())}"
        )
        which = f" as variant {shown(facts.operators[name].versions[version])}" if version else ""
        yield Violation(Rule.PLACEMENT, f"{shown(name)}, copy {copy}, may not run on {device}{which}: {why}")


def _colocate(facts: Facts) -> Iterator[Violation]:
    """Operators with one label share a device, copy by copy."""
    first: dict[tuple[str, int], tuple[str, str]] = {}
    for (name, copy), device in facts.place.items():
        label = facts.operators[name].colocate
        if label is None:
            continue
        leader, where = first.setdefault((label, copy), (name, device))
        if where != device:
            yield Violation(
                Rule.PLACEMENT,
                f"{shown(name)}, copy {copy}, on {device} must share the device of {shown(leader)} on {where} "
                f"(colocate label {shown(label)})",
            )


def _one_copy_a_microbatch(facts: Facts) -> Iterator[Violation]:
    """A microbatch uses the same, existing copy number of every operator."""
    numbers = {p.copy for p in facts.plan.placement}
    table = facts.table
    place = {copy: k for k, copy in enumerate(table.copies)}
    used = np.array([place[facts.copy_of[m]] if m in facts.copy_of else -1 for m in table.microbatches], dtype=np.int64)
    of_row = used[table.microbatch]
    for row in np.flatnonzero((of_row >= 0) & (of_row != table.copy)).tolist():
        task = facts.plan.tasks[row]
        yield Violation(
            Rule.PLACEMENT,
            f"{task.pass_} of {shown(task.operator)}, microbatch {task.microbatch}, on {task.device} "
            f"uses copy {task.copy}, but the microbatch uses copy {facts.copy_of[task.microbatch]}",
        )
    for microbatch, copy in sorted(facts.copy_of.items()):
        if copy not in numbers:
            yield Violation(Rule.PLACEMENT, f"microbatch {microbatch} uses copy {copy}, which has no placement")
