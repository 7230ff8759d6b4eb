"""Rule 4: transfers between devices, their times, and the streams and channels that they occupy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from planner.common.messages import shown
from planner.plan.plan import PlannedTransfer
from planner.verification.facts import (
    Facts,
    Item,
    Route,
    Task,
    Transfer,
    Violation,
    name_item,
    name_task,
    name_transfer,
    number,
    overlaps,
)
from planner.verification.rules import Rule


def check_transfers(facts: Facts) -> Iterator[Violation]:
    """Yield what is wrong with single transfers, and which are missing or listed twice."""
    seen: dict[tuple[str, str, int, str], PlannedTransfer] = {}
    for transfer in facts.plan.transfers:
        reason = _unknown(facts, transfer)
        if reason:
            yield Violation(Rule.TRANSFERS, f"{name_transfer(transfer)}: {reason}")
            continue
        forward = transfer.pass_ == "F"
        home, away = (transfer.source, transfer.target) if forward else (transfer.target, transfer.source)
        copy = facts.copy_of.get(transfer.microbatch, transfer.copy)
        if transfer.copy != copy:
            yield Violation(
                Rule.TRANSFERS,
                f"{name_transfer(transfer)} names copy {transfer.copy}, but the microbatch uses copy {copy}",
            )
        placed = facts.place.get((transfer.operator, copy))
        if placed is not None and placed != home:
            yield Violation(Rule.TRANSFERS, f"{name_transfer(transfer)}: the producer runs on {placed}")
            continue
        route = facts.routes.get(copy, {}).get((transfer.operator, away))
        if route is None:
            yield Violation(Rule.TRANSFERS, f"{name_transfer(transfer)} is not needed: no operator on {away} reads it")
            continue
        first = seen.setdefault((transfer.operator, transfer.pass_, transfer.microbatch, away), transfer)
        if first is not transfer:
            yield Violation(
                Rule.TRANSFERS, f"{name_transfer(transfer)} is sent a second time; first at {number(first.start)} s"
            )
        yield from _times(facts, transfer, route)
    yield from _missing(facts, seen)


def _unknown(facts: Facts, transfer: PlannedTransfer) -> str | None:
    """Why a transfer cannot be compared with anything."""
    if transfer.operator not in facts.operators:
        return "the graph has no such operator"
    if transfer.pass_ not in ("F", "I"):
        return "only outputs (F) and their gradients (I) are sent"
    if transfer.pass_ == "I" and not facts.training:
        return "inference sends no gradients"
    if not 0 <= transfer.microbatch < facts.microbatches:
        return f"microbatches are 0 to {facts.microbatches - 1}"
    for device in (transfer.source, transfer.target):
        if device not in facts.devices:
            return f"the cluster has no device {shown(device)}"
    return None


def _times(facts: Facts, transfer: PlannedTransfer, route: Route) -> Iterator[Violation]:
    """Duration, start after the producing tasks, end before the consuming ones."""
    if not facts.timed(transfer):
        yield Violation(
            Rule.TRANSFERS, f"{name_transfer(transfer)}: start and end must be finite, from 0 on and in this order"
        )
        return
    forward = transfer.pass_ == "F"
    expected = route.seconds if forward else route.seconds_back
    found = transfer.end - transfer.start
    if not facts.same_duration(found, expected):
        yield Violation(
            Rule.TRANSFERS, f"{name_transfer(transfer)} lasts {number(found)} s, but it takes {number(expected)} s"
        )
    producers, consumers = ((route.operator,), route.readers) if forward else (route.readers, (route.operator,))
    for name in producers:
        task = facts.tasks.get((name, transfer.pass_, transfer.microbatch))
        if task is not None and transfer.start < task.end - facts.tolerance:
            yield Violation(Rule.TRANSFERS, f"{name_transfer(transfer)} starts before {name_task(task)} ends")
    for name in consumers:
        task = facts.tasks.get((name, transfer.pass_, transfer.microbatch))
        if task is not None and transfer.end > task.start + facts.tolerance:
            yield Violation(Rule.TRANSFERS, f"{name_transfer(transfer)} ends after {name_task(task)} starts")


def _missing(facts: Facts, seen: dict[tuple[str, str, int, str], PlannedTransfer]) -> Iterator[Violation]:
    """Every route that takes time is served, for every microbatch; gradients in training only."""
    for microbatch, copy in sorted(facts.copy_of.items()):
        if not 0 <= microbatch < facts.microbatches:
            continue
        routes = facts.routes.get(copy, {})
        for route in routes.values():
            if route.seconds > 0 and (route.operator, "F", microbatch, route.target) not in seen:
                yield _absent(route, "F", microbatch, route.source, route.target)
            if not facts.training or route.seconds_back <= 0:
                continue
            if (route.operator, "I", microbatch, route.target) not in seen:
                yield _absent(route, "I", microbatch, route.target, route.source)


def _absent(route: Route, pass_: str, microbatch: int, source: str, target: str) -> Violation:
    return Violation(
        Rule.TRANSFERS,
        f"transfer {pass_} of {shown(route.operator)}, microbatch {microbatch}, from {source} to {target} "
        f"is missing (for {', '.join(repr(r) for r in route.readers)})",
    )


def check_channels(facts: Facts) -> Iterator[Violation]:
    """A channel carries one transfer at a time; exclusive ones share the compute stream of their end.

    A transfer of no length occupies nothing: it need not even be listed.
    """
    listed = chain[Transfer](facts.plan.transfers, facts.plan.exchanges)
    moving = [t for t in listed if facts.timed(t) and t.end > t.start]
    channels: dict[tuple[str, str], list[Transfer]] = {}
    for transfer in moving:
        channels.setdefault((transfer.source, transfer.target), []).append(transfer)
    for channel in sorted(channels):
        for before, transfer in overlaps(channels[channel], facts.tolerance):
            yield Violation(
                Rule.TRANSFERS, f"{name_transfer(transfer)} overlaps {name_transfer(before)} on their channel"
            )

    exclusive = {name for name, device in facts.devices.items() if device.type.exclusive_transfers}
    occupied: dict[str, list[Item]] = {name: [] for name in sorted(exclusive)}
    for transfer in moving:
        for end in {transfer.source, transfer.target} & exclusive:
            occupied[end].append(transfer)
    for task in chain[Task](facts.usable, facts.usable_step):
        if task.device in exclusive and task.stream == "compute":
            occupied[task.device].append(task)
    for device, items in occupied.items():
        for first, second in overlaps(items, facts.tolerance):
            if _channel(first) == _channel(second):
                continue  # two tasks, or two transfers of one channel: reported above
            yield Violation(
                Rule.TRANSFERS,
                f"{name_item(second)} overlaps {name_item(first)}, but both occupy compute on {device}",
            )


def _channel(item: Item) -> tuple[str, str] | None:
    """The channel of a transfer; None for a task."""
    return None if isinstance(item, Task) else (item.source, item.target)
