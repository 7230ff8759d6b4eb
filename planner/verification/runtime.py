"""Rule 8: a plan of a runtime computes nothing while that runtime stops computation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from planner.common.messages import shown
from planner.problem.graph import Pass, Stream
from planner.verification.facts import INSTANT, Facts, Violation, number
from planner.verification.rules import Rule

HIDES = {
    "megatron": {"weights"},
    "torchtitan": {"weights"},
    "torch": {"weights"},
    "dualpipe": {"expert", "weights"},
    "megatron-deepspeed": {"weights"},
    "nanotron": {"weights"},
    "fsdp": {"weights"},
}
"""The kinds of collectives beside which each computes. A list of its own: verification shares no code with plans."""

EXPOSES_TRANSFERS = {"megatron-deepspeed", "nanotron"}
"""Those that compute nothing while they send or receive, whatever the schedule."""

Span = tuple[float, float, str]


def check_runtime(facts: Facts) -> Iterator[Violation]:
    """Yield computation beside an exposed collective or transfer; nothing for plans of no runtime."""
    name = facts.plan.options.get("runtime")
    if name is None:
        return
    if name not in HIDES:
        yield Violation(Rule.RUNTIME, f"options.runtime is {shown(name)}, not one of {', '.join(HIDES)}")
        return
    computing: dict[str, list[Span]] = defaultdict(list)
    stopping: dict[str, list[Span]] = defaultdict(list)
    for task in facts.plan.tasks:
        operator = facts.operators.get(task.operator)
        if operator is None:
            continue
        if operator.stream is not Stream.COMM:
            computing[task.device].append((task.start, task.end, task.operator))
        elif operator.collective is None or operator.collective.value not in HIDES[name]:
            stopping[task.device].append((task.start, task.end, task.operator))
    for update in facts.plan.step_tasks:
        if update.pass_ == Pass.U.value:
            computing[update.device].append((update.start, update.end, f"the update of {update.operator}"))
    if name in EXPOSES_TRANSFERS:
        for transfer in facts.plan.transfers:
            for device in (transfer.source, transfer.target):
                stopping[device].append((transfer.start, transfer.end, f"the transfer of {transfer.operator}"))
    slack = INSTANT * abs(facts.plan.makespan)
    for device, spans in stopping.items():
        beside = _first_overlap(computing[device], spans, slack)
        if beside is not None:
            a, b = beside
            yield Violation(
                Rule.RUNTIME,
                f"{name} computes nothing beside {shown(b[2])}, and {device} runs {shown(a[2])} from {number(a[0])} to "
                f"{number(a[1])} beside it",
            )


def _first_overlap(computing: list[Span], stopping: list[Span], slack: float) -> tuple[Span, Span] | None:
    """The first span of each list that overlap by more than rounding; spans of one list do not overlap."""
    some, others = (sorted(span for span in spans if span[1] > span[0]) for spans in (computing, stopping))
    k = 0
    for span in others:
        while k < len(some) and some[k][1] <= span[0] + slack:
            k += 1
        if k < len(some) and some[k][0] < span[1] - slack:
            return some[k], span
    return None
