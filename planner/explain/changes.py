"""Changes of a problem that show what a plan suffers from, and the operators and clusters that they need."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.plan.plan import Plan
from planner.problem import ByDevice, Impossible, Operator, Problem, Work
from planner.problem.graph import PassTime, Stream
from planner.runtimes.names import ANY

MORE = 4 * 2.0**30
"""Bytes of memory that are tried in addition on each device."""

MORE_MEMORY, NO_CAP = "more_memory", "cap_lifted"
"""The changes with more memory."""

MORE_CHUNKS = "one_more_chunk"
"""The change of placements."""

SPLIT = "slowest_operator_split"
"""The change whose halves take the place of an operator in the plan's orders."""


class Useless(Exception):
    """The change would change nothing, or cannot be made; the message says why."""


@dataclass(frozen=True)
class Change:
    """A change of a problem: ``make`` returns the other problem, and raises ``Useless`` where there is none.

    ``keeps_order``: the plan's orders are orders of the other problem, too; the halves of an operator in
    its place.
    """

    key: str  # in JSON
    title: str
    make: Callable[[Problem, Plan], Problem]
    keeps_order: bool


def capped(problem: Problem, caps: Sequence[float]) -> Problem:
    """The problem with a cap for each device, in bytes; inf: none."""
    devices = tuple(
        replace(device, memory=None if math.isinf(cap) else float(cap))
        for device, cap in zip(problem.cluster.devices, caps, strict=True)
    )
    return replace(problem, cluster=replace(problem.cluster, devices=devices), memory_cap=None, memory_at_most=None)


def more_memory(problem: Problem, plan: Plan) -> Problem:
    """Every device with 4 GiB more."""
    caps = problem.cap[np.isfinite(problem.cap)]
    if not caps.size:
        raise Useless("no device has a cap")
    if caps.max() < MORE:
        raise Useless("no device has as much already")
    return capped(problem, (problem.cap + MORE).tolist())


def without_cap(problem: Problem, plan: Plan) -> Problem:
    """Every device with as much memory as it needs."""
    if not np.isfinite(problem.cap).any():
        raise Useless("no device has a cap")
    return capped(problem, [math.inf] * problem.n_devices)


def free_transfers(problem: Problem, plan: Plan) -> Problem:
    """A network that takes no time, for gradients of copies as well."""
    cluster = problem.cluster
    if not plan.transfers and not plan.exchanges:
        raise Useless("the plan has no transfers")
    return replace(problem, cluster=replace(cluster, within_node=None, between_nodes=None, links=()))


def twice_the_microbatches(problem: Problem, plan: Plan) -> Problem:
    """A step of twice as many microbatches of the same size."""
    return problem.with_microbatches(2 * problem.microbatches)


def chunks_of(problem: Problem, plan: Plan) -> int:
    """The most stretches of consecutive operators that one copy of the plan has on one device."""
    most = 1
    for copy in range(plan.copies):
        on = {placed.operator: placed.device for placed in plan.placement if placed.copy == copy}
        devices = [on[problem.operators[i].name] for i in problem.topological]
        starts = [d for k, d in enumerate(devices) if k == 0 or devices[k - 1] != d]
        most = max(most, *(starts.count(d) for d in set(starts)))
    return most


def one_more_chunk(problem: Problem, plan: Plan) -> Problem:
    """An interleaved placement, or a wave where the plan has that layout, with one more chunk a device."""
    if plan.options.get("runtime", ANY) != ANY:
        raise Useless("the plan is one of a runtime, which decides about chunks")
    chunks = chunks_of(problem, plan) + 1
    if chunks * problem.n_devices > problem.n_operators:
        raise Useless(f"{problem.n_operators} operators are too few for {chunks} chunks on each device")
    layout = problem.layout if problem.layout in ("interleaved", "wave") else "interleaved"
    return replace(problem, layout=layout, chunks=chunks)


def slowest_operator(problem: Problem, plan: Plan) -> int:
    """The operator on a compute stream whose passes over a microbatch take longest in the plan; the first of several.

    Raises ``Useless`` where there is none.
    """
    seconds = dict.fromkeys((o.name for o in problem.operators if o.stream is Stream.COMPUTE), 0.0)
    for task in plan.tasks:
        if task.microbatch == 0 and task.operator in seconds:
            seconds[task.operator] += task.end - task.start
    if not any(seconds.values()):
        raise Useless("no operator takes time on a compute stream")
    longest = max(seconds.values())
    return problem.graph.index[next(name for name, value in seconds.items() if value >= longest * (1 - 1e-9))]


def slowest_split(problem: Problem, plan: Plan) -> Problem:
    """The slowest operator as two of half its times and sizes, one after the other; between them its own output."""
    i = slowest_operator(problem, plan)
    whole = problem.operators[i]
    first = replace(_half(whole), name=f"{whole.name} (first half)")
    if first.name in problem.graph.index:
        raise Useless(f"there is an operator called {first.name} already")
    second = replace(_half(whole), inputs=(first.name,))
    operators = (*problem.operators[:i], first, second, *problem.operators[i + 1 :])
    return replace(problem, graph=replace(problem.graph, operators=operators))


def _half(operator: Operator) -> Operator:
    return replace(
        operator,
        times={p: _half_time(cost) for p, cost in operator.times.items()},
        step={p: _half_time(cost) for p, cost in operator.step.items()},
        parameters=operator.parameters / 2,
        activation=operator.activation / 2,
        held_for_weight_grad=operator.held_for_weight_grad / 2,
        gradient=operator.gradient / 2,
        variants=tuple(
            replace(
                variant,
                times={p: _half_time(cost) for p, cost in variant.times.items()},
                parameters=variant.parameters / 2,
                activation=variant.activation / 2,
                held_for_weight_grad=variant.held_for_weight_grad / 2,
            )
            for variant in operator.variants
        ),
    )


def _half_time(cost: PassTime) -> PassTime:
    if isinstance(cost, ByDevice):
        return ByDevice({name: seconds / 2 for name, seconds in cost.seconds.items()})
    if isinstance(cost, Work):
        return Work(cost.flops / 2, cost.bytes / 2)
    return cost / 2


CHANGES = (
    Change(MORE_MEMORY, "4 GiB more on each device", more_memory, True),
    Change(NO_CAP, "no memory cap", without_cap, True),
    Change("transfers_free", "transfers take no time", free_transfers, True),
    Change("twice_the_microbatches", "twice the microbatches", twice_the_microbatches, False),
    Change(MORE_CHUNKS, "one more chunk a device", one_more_chunk, False),
    Change(SPLIT, "slowest operator split", slowest_split, True),
)
"""What is tried by planning again."""


def flags_for(problem: Problem, changed: Problem) -> tuple[str, ...]:
    """The flags of ``solve`` that make one problem the other; none where its files have to change."""
    if changed.microbatches != problem.microbatches:
        return ("--microbatches", str(changed.microbatches))
    if changed.chunks != problem.chunks:
        return ("--layout", changed.layout, "--chunks", str(changed.chunks))
    caps = set(changed.cap.tolist())
    if not np.array_equal(changed.cap, problem.cap) and len(caps) == 1 and np.isfinite(changed.cap).all():
        return ("--memory-cap", _size_of_flag(caps.pop()))
    return ()


def _size_of_flag(size: float) -> str:
    gib = f"{size / 2**30:g}"
    return f"{gib}GiB" if float(gib) * 2**30 == size else f"{size:.0f}"


def made(change: Change, problem: Problem, plan: Plan) -> Problem:
    """The changed problem. Raises ``Useless``, also where the other problem is proven to have no plan."""
    try:
        return change.make(problem, plan)
    except Impossible as error:
        raise Useless(str(error)) from error
