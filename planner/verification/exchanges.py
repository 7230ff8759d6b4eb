"""Rule 4 on exchanges: copies on different devices add up the gradients of their weights before the first step task."""

from __future__ import annotations

from collections.abc import Iterator

from planner.common.messages import shown
from planner.plan.plan import PlannedExchange
from planner.verification.facts import Facts, Violation, name_task, name_transfer, number
from planner.verification.rules import Rule

Sent = tuple[str, int, str]
"""Operator, the copy that sends, and the device that receives."""


def check_exchanges(facts: Facts) -> Iterator[Violation]:
    """Yield what is wrong with single exchanges, and which are missing or listed twice."""
    needed = _needed(facts)
    seen: dict[Sent, PlannedExchange] = {}
    for exchange in facts.plan.exchanges:
        reason = _unknown(facts, exchange) or _unneeded(facts, exchange, needed)
        if reason:
            yield Violation(Rule.TRANSFERS, f"{name_transfer(exchange)}{reason}")
            continue
        key = (exchange.operator, exchange.copy, exchange.target)
        if key in seen:
            first = f"first at {number(seen[key].start)} s"
            yield Violation(Rule.TRANSFERS, f"{name_transfer(exchange)} is sent a second time; {first}")
        seen.setdefault(key, exchange)
        yield from _times(facts, exchange, needed[key])
    for (name, copy, target), seconds in needed.items():
        if seconds > 0 and (name, copy, target) not in seen:
            source = facts.place[name, copy]
            route = f"transfer R of {shown(name)}, copy {copy}, from {source} to {target}"
            yield Violation(Rule.TRANSFERS, f"{route} is missing: copies there wait for this gradient")


def _needed(facts: Facts) -> dict[Sent, float]:
    """How long every exchange takes that the placement needs."""
    found: dict[Sent, float] = {}
    for name, size in facts.gradient.items():
        if size <= 0:
            continue
        copies = facts.copies_of(name)
        devices = sorted({facts.place[name, copy] for copy in copies})
        for copy in copies:
            source = facts.place[name, copy]
            for target in devices:
                if target != source:
                    found[name, copy, target] = facts.transfer_seconds(source, target, size)
    return found


def _unknown(facts: Facts, exchange: PlannedExchange) -> str | None:
    """Why an exchange cannot be compared with anything."""
    if exchange.operator not in facts.operators:
        return ": the graph has no such operator"
    for device in (exchange.source, exchange.target):
        if device not in facts.devices:
            return f": the cluster has no device {shown(device)}"
    if not facts.training:
        return ": inference sends no gradients"
    placed = facts.place.get((exchange.operator, exchange.copy))
    if placed is None:
        return f": copy {exchange.copy} of the operator has no placement"
    if placed != exchange.source:
        return f": copy {exchange.copy} of the operator runs on {placed}"
    return None


def _unneeded(facts: Facts, exchange: PlannedExchange, needed: dict[Sent, float]) -> str | None:
    if facts.gradient[exchange.operator] <= 0:
        return " is not needed: the operator has no gradient that copies exchange"
    if (exchange.operator, exchange.copy, exchange.target) not in needed:
        return (
            f" is not needed: no other device than {exchange.source} with a copy of the operator is {exchange.target}"
        )
    return None


def _times(facts: Facts, exchange: PlannedExchange, expected: float) -> Iterator[Violation]:
    """Duration, start after the last I and W of the sender, end before the first step task of those who receive."""
    name = name_transfer(exchange)
    if not facts.timed(exchange):
        yield Violation(Rule.TRANSFERS, f"{name}: start and end must be finite, from 0 on and in this order")
        return
    found = exchange.end - exchange.start
    if not facts.same_duration(found, expected):
        yield Violation(Rule.TRANSFERS, f"{name} lasts {number(found)} s, but it takes {number(expected)} s")
    gradient = facts.last_gradient.get((exchange.operator, exchange.copy))
    if gradient is not None and exchange.start < gradient.end - facts.tolerance:
        yield Violation(Rule.TRANSFERS, f"{name} starts before {name_task(gradient)} ends")
    for pass_ in facts.step_passes[exchange.operator][:1]:
        for copy in facts.copies_of(exchange.operator):
            task = facts.step_tasks.get((exchange.operator, pass_, copy))
            receives = facts.place[exchange.operator, copy] == exchange.target
            if receives and task is not None and exchange.end > task.start + facts.tolerance:
                yield Violation(Rule.TRANSFERS, f"{name} ends after {name_task(task)} starts")
