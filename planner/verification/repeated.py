"""Plans that list a part of the schedule once and say how often it is repeated.

Tasks and transfers are called items. The part lasts from s to s + L. Microbatches count within their copy, and every
copy that runs some has e of them in the part. ``check_repetition`` sees to it that every class of items (one pass of
one operator and copy, or one transfer of it) starts exactly e times in the part, for e microbatches that follow each
other: a, ..., a + e - 1, with those below a before the part and all others after it.

``repeated_plan(plan, r)`` is the step with the part repeated r times. All rules are checked on the step that is listed,
which commands draw, and on one with R repetitions. Step tasks and exchanges of gradients come once: they start from s
on, and are r L later. R is at least 3 H + 4, where H e is the largest difference of the
numbers a of two classes of one copy. Then the rules hold for any number K above R, for these reasons.

- Call an item's *turn* 0 before the part, i in its i-th repetition (from 0), and K after it; K for step tasks and
  exchanges, too, wherever the listed step starts them. Let q be from 0 to K - R.
  An item with a turn from q to q + R is also an item of the step with R repetitions, q L earlier and for a microbatch
  q e lower: whatever starts before the part only for q = 0, whatever starts after it only for q = K - R, which the
  clipped turns say.
- *Order, transfers:* items of one microbatch have turns that differ by at most H, so one q fits all of them: what holds
  between them holds in the step with R repetitions. Step tasks and exchanges (turn K) share q = K - R with each other,
  and with the passes of turns from K - R on. Passes of lower turns have ended by s + K L, before which none starts.
- *Streams and channels:* two items whose turns differ by at most R have a common q. Else one starts more than R L after
  the other, and the other is a pass or a transfer of one: it lasts no longer than L, since its class runs alone on its
  stream or channel once in every L.
- *Memory:* at an instant t of turn g (its number of whole lengths after s, from 0 to K), what is held was taken at a
  turn up to g, is released at a turn from g - 2 on, and all its items have turns from g - 2 - 2 H to g + H. One q fits
  all of these turns, with room for one more at either end, so that at t - q L the step with R repetitions holds
  exactly the same.
  Step tasks hold nothing.
- *Figures:* from the first repetition on, each adds the same to the makespan, to every device's work and span, and
  nothing to peaks. (The first one may add less to the span of a device whose U comes before its first pass.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from planner.plan.plan import Plan, PlannedExchange, PlannedStepTask, PlannedTask, PlannedTransfer, PlanRepetition
from planner.verification.facts import Violation, name_item, number
from planner.verification.rules import Rule

Item = PlannedTask | PlannedTransfer
"""What is repeated."""

Class = tuple[str, str, int, str, str]
"""Operator, pass and copy of like items; of transfers also the two devices."""


@dataclass(frozen=True)
class _Copy:
    """The microbatches of one copy that the plan lists: ``count`` from ``first`` on."""

    first: int
    count: int


def check_repetition(plan: Plan, repeated: PlanRepetition) -> Iterator[Violation]:
    """Yield why a plan cannot be understood as a short step with a part that is repeated."""
    if plan.listed_microbatches < 1:
        yield _wrong(f"{repeated.more} microbatches are more than the plan's {plan.microbatches} allow")
        return
    for once in chain[PlannedStepTask | PlannedExchange](plan.step_tasks, plan.exchanges):
        if not once.start >= repeated.start:
            yield _wrong(f"{name_item(once)} must start after all repetitions, but the part starts later")
    copies = _copies(plan)
    first = 0
    for copy, listed in sorted(copies.items()):
        if listed.first != first or len(_microbatches(plan)[copy]) != listed.count:
            yield _wrong(f"the microbatches of copy {copy} must follow each other, from {first} on")
            return
        first += listed.count
    each = repeated.microbatches // max(1, len(copies))
    if not copies or repeated.microbatches != each * len(copies):
        yield _wrong(f"{repeated.microbatches} microbatches are not equally many for {len(copies)} copies")
        return
    for key, ranks in _classes(plan, copies).items():
        if key[2] not in copies:
            yield _wrong(f"{key[1]} of {key[0]!r}{_route(key[3:])} names copy {key[2]}, which runs no microbatch")
            continue
        before, within, after = ([rank for turn, rank in ranks if turn == part] for part in (-1, 0, 1))
        a, count = len(before), copies[key[2]].count
        expected = (range(a), range(a, a + each), range(a + each, count))
        if any(sorted(found) != list(wanted) for found, wanted in zip((before, within, after), expected, strict=True)):
            end = number(repeated.start + repeated.length)
            yield _wrong(
                f"{key[1]} of {key[0]!r}, copy {key[2]}{_route(key[3:])}, must start for {each} microbatches that "
                f"follow each other from {number(repeated.start)} s on and before {end} s, for all lower ones before "
                "that, and for all higher ones after it"
            )


def repetitions_to_check(plan: Plan, repeated: PlanRepetition) -> int:
    """How many repetitions stand for all: the number R above, or all if they are fewer."""
    copies = _copies(plan)
    each = repeated.microbatches // len(copies)
    lowest: dict[int, list[int]] = defaultdict(list)
    for key, ranks in _classes(plan, copies).items():
        lowest[key[2]].append(sum(turn < 0 for turn, _ in ranks))
    apart = max(max(found) - min(found) for found in lowest.values())
    return min(repeated.times, 3 * -(-apart // each) + 4)


def repeated_plan(plan: Plan, repeated: PlanRepetition, times: int) -> Plan:
    """The step in full, if the part were repeated so many times. Its figures are still those of ``plan``."""
    copies = _copies(plan)
    each = repeated.microbatches // len(copies)
    moved = {copy: k * times * each for k, copy in enumerate(sorted(copies))}  # by what copies before it have more

    def items(listed: tuple[Item, ...]) -> Iterator[Item]:
        for item in listed:
            turn = _turn(item, repeated)
            for i in range(times + 1) if turn == 0 else (times if turn > 0 else 0,):
                later = i * repeated.length
                microbatch = item.microbatch + moved[item.copy] + i * each
                yield item._replace(microbatch=microbatch, start=item.start + later, end=item.end + later)

    tasks = tuple(item for item in items(plan.tasks) if isinstance(item, PlannedTask))
    transfers = tuple(item for item in items(plan.transfers) if isinstance(item, PlannedTransfer))
    later = times * repeated.length
    return replace(
        plan,
        tasks=tasks,
        transfers=transfers,
        step_tasks=tuple(t._replace(start=t.start + later, end=t.end + later) for t in plan.step_tasks),
        exchanges=tuple(x._replace(start=x.start + later, end=x.end + later) for x in plan.exchanges),
        microbatches=plan.listed_microbatches + times * repeated.microbatches,
        repeated=None,
    )


def instant_in(repeated: PlanRepetition, times: int, instant: float) -> float:
    """The instant of the step with ``times`` repetitions at which the devices hold what they hold at ``instant``."""
    # The step with R repetitions begins where its own turn is in the middle: 2 H + 3 of 3 H + 4.
    middle = times - (times - 4) // 3 - 1
    turn = min(max(0, int((instant - repeated.start) // repeated.length)), repeated.times)
    skipped = min(max(0, turn - middle), repeated.times - times)
    return instant - skipped * repeated.length


def _microbatches(plan: Plan) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for task in plan.tasks:
        found[task.copy].add(task.microbatch)
    return found


def _copies(plan: Plan) -> dict[int, _Copy]:
    return {copy: _Copy(min(found), max(found) - min(found) + 1) for copy, found in _microbatches(plan).items()}


def _classes(plan: Plan, copies: dict[int, _Copy]) -> dict[Class, list[tuple[int, int]]]:
    """By operator, pass, copy and route: where each item lies and its microbatch, counted within its copy."""
    repeated = plan.repeated
    assert repeated is not None
    found: dict[Class, list[tuple[int, int]]] = defaultdict(list)
    items: list[Item] = [*plan.tasks, *plan.transfers]
    for item in items:
        route = ("", "") if isinstance(item, PlannedTask) else (item.source, item.target)
        first = copies[item.copy].first if item.copy in copies else 0
        found[item.operator, item.pass_, item.copy, *route].append((_turn(item, repeated), item.microbatch - first))
    return found


def _turn(item: Item, repeated: PlanRepetition) -> int:
    """-1 before the part that is repeated, 0 in it, 1 after it."""
    if item.start < repeated.start:
        return -1
    return 0 if item.start < repeated.start + repeated.length else 1


def _route(route: tuple[str, ...]) -> str:
    return f", from {route[0]} to {route[1]}" if any(route) else ""


def _wrong(message: str) -> Violation:
    return Violation(Rule.TASKS, f"repeated: {message}")
