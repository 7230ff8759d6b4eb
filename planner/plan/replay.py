"""Orders into times: every stream runs its tasks in a given order, as early as the rules allow.

``replay`` simulates (``planner.plan.network``) and ``orders_of`` reads the orders back, so a replay of
``orders_of(timetable, problem)`` retimes a timetable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.plan.network import Memory, Network
from planner.plan.timetable import TimedTransfer, Timetable
from planner.problem import Placement, Problem

Task = tuple[int, int, int]
"""Operator, pass (F, I, W = 0, 1, 2) and microbatch."""

Orders = Sequence[Sequence[Sequence[Task]]]
"""``orders[device][stream]``: the tasks there, first to last; stream 0 computes, stream 1 communicates."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A transfer that every microbatch of a copy makes (rule 4): the output of ``operator`` or its gradient.

    ``readers`` are the operators on the device at the other end; they wait for pass 0 and make pass 1.
    """

    operator: int
    pass_: int
    source: int
    target: int
    seconds: float
    readers: tuple[int, ...]


def legs_of(problem: Problem, device_of: Sequence[int]) -> list[Leg]:
    """All transfers of one microbatch under the placement of its copy, those without length too."""
    legs: list[Leg] = []
    for i in problem.topological:
        home = device_of[i]
        readers: dict[int, list[int]] = {}
        for j in problem.consumers[i]:
            if device_of[j] != home:
                readers.setdefault(device_of[j], []).append(j)
        for away in sorted(readers):
            there = tuple(readers[away])
            legs.append(Leg(i, 0, home, away, problem.transfer(i, home, away), there))
            if problem.training:
                legs.append(Leg(i, 1, away, home, problem.transfer(i, away, home), there))
    return legs


def replay(
    problem: Problem,
    placement: Placement,
    copy_of: Sequence[int],
    orders: Orders,
    *,
    leaves_after: Mapping[tuple[int, int], Sequence[Task]] | None = None,
    caps: Sequence[float] | None = None,
    allocation_order: Sequence[Sequence[tuple[int, int]]] | None = None,
) -> Timetable | None:
    """The timetable of these orders, everything as early as possible; None where they deadlock.

    ``leaves_after[reader, microbatch]`` names tasks that must end, too, before a gradient that ``reader``
    makes leaves its device (a full backward pass hands its gradient on when it is over).

    ``caps`` (bytes a device, parameters included; ``Problem.cap_with_slack``) lets an F wait until its
    activation fits. ``allocation_order[d]`` then fixes in which order the (operator, microbatch) listed there
    allocate on device d: without it two streams may take each other's memory, and an earlier task may make
    a later makespan.
    """
    m_all = problem.microbatches
    lanes = _lanes(problem, placement, copy_of, orders)
    network = Network(2 * problem.n_devices)
    network.add([0.0] * (3 * problem.n_operators * m_all))
    network.lanes = lanes
    transfers: list[tuple[int, Leg, int]] = []  # node, leg, microbatch
    inference_reads: dict[tuple[int, int], list[int]] = {}
    legs = [legs_of(problem, device_of) for device_of in placement.device_of]
    extra = leaves_after or {}
    for m, copy in enumerate(copy_of):
        device_of = placement.device_of[copy]
        _add_tasks(network, problem, device_of, m)
        for leg in legs[copy]:
            first, last = ([leg.operator], leg.readers) if leg.pass_ == 0 else (leg.readers, [leg.operator])
            before = [(3 * i + leg.pass_) * m_all + m for i in first]
            if leg.pass_ == 1 and extra:
                late = {task for reader in leg.readers for task in extra.get((reader, m), ())}
                before += sorted((3 * i + p) * m_all + mb for i, p, mb in late)
            after = [(3 * i + leg.pass_) * m_all + m for i in last]
            ends = (leg.source, leg.target)
            occupies = tuple(2 * d for d in ends if problem.exclusive[d])
            node = network.add_transfer(ends, leg.seconds, before, after, occupies)
            if node is not None:
                transfers.append((node, leg, m))
                inference_reads.setdefault((leg.operator, m), []).append(node)
    memory = None
    if caps is not None:
        memory = _memory(problem, placement, copy_of, caps, inference_reads)
        if allocation_order is not None:
            memory.sequence = {d: [3 * i * m_all + m for i, m in order] for d, order in enumerate(allocation_order)}
    starts = network.run(memory)
    if starts is None:
        return None
    table = np.array(starts[: 3 * problem.n_operators * m_all]).reshape(problem.n_operators, 3, m_all)
    return Timetable(placement, tuple(copy_of), table, timed_transfers(starts, transfers))


def timed_transfers(starts: Sequence[float], transfers: Iterable[tuple[int, Leg, int]]) -> tuple[TimedTransfer, ...]:
    """The transfers (node, leg, microbatch) with their times, in order of time."""
    timed = [
        TimedTransfer(leg.operator, leg.pass_, m, leg.source, leg.target, starts[node], starts[node] + leg.seconds)
        for node, leg, m in transfers
    ]
    return tuple(sorted(timed, key=lambda x: (x.start, x.end, x.microbatch, x.operator, x.pass_, x.target)))


def _lanes(problem: Problem, placement: Placement, copy_of: Sequence[int], orders: Orders) -> list[Sequence[int]]:
    """Orders as node numbers. Tasks that are missing, doubled or on a wrong stream are the caller's bug."""
    comm = problem.on_comm.astype(int).tolist()
    lane_of = [[2 * d + comm[i] for i, d in enumerate(device_of)] for device_of in placement.device_of]
    lanes: list[Sequence[int]] = []
    seen: set[int] = set()
    for d, streams in enumerate(orders):
        for s, tasks in enumerate(streams):
            nodes = [(3 * i + p) * problem.microbatches + m for i, p, m in tasks]
            if any(lane_of[copy_of[m]][i] != 2 * d + s for i, _, m in tasks):
                raise ValueError(f"a task in the order of device {d}, stream {s} does not run there")
            lanes.append(nodes)
            seen.update(nodes)
    expected = int(problem.has_pass.sum()) * problem.microbatches
    if len(seen) != expected or sum(len(nodes) for nodes in lanes) != expected:
        raise ValueError(f"the orders hold {len(seen)} different tasks, the problem {expected}")
    return lanes


def _add_tasks(network: Network, problem: Problem, device_of: Sequence[int], m: int) -> None:
    """Lengths of one microbatch's tasks and the precedence between those that share a device (rule 3)."""
    m_all, seconds = problem.microbatches, network.seconds
    for i, device in enumerate(device_of):
        f = 3 * i * m_all + m
        input_grad, weight_grad = f + m_all, f + 2 * m_all
        times = problem.duration[i, :, device]
        seconds[f] = float(times[0])
        for j in problem.consumers[i]:
            if device_of[j] == device:
                reader = 3 * j * m_all + m
                network.precede(f, reader)
                if problem.training:
                    network.precede(reader + m_all, input_grad)
        if problem.training:
            seconds[input_grad] = float(times[1])
            network.precede(f, input_grad)
            if problem.has_pass[i, 2]:
                seconds[weight_grad] = float(times[2])
                network.precede(input_grad, weight_grad)


def _memory(
    problem: Problem,
    placement: Placement,
    copy_of: Sequence[int],
    caps: Sequence[float],
    reads: Mapping[tuple[int, int], Sequence[int]],
) -> Memory:
    """Rule 5 as needs and releases; ``reads``: the nodes of the transfers that carry an output away."""
    free = [float(cap) for cap in caps]
    for d in range(problem.n_devices):
        there = sorted({i for device_of in placement.device_of for i, at in enumerate(device_of) if at == d})
        free[d] -= float(problem.parameters[there].sum())
    memory, m_all = Memory(free), problem.microbatches
    for m, copy in enumerate(copy_of):
        device_of = placement.device_of[copy]
        for i, device in enumerate(device_of):
            f, whole, held = 3 * i * m_all + m, float(problem.activation[i]), float(problem.held[i])
            memory.needs[f] = (device, whole)
            if problem.training:
                memory.release_after([f + m_all], device, whole - held)
                if held:
                    memory.release_after([f + 2 * m_all], device, held)
            else:
                here = [3 * j * m_all + m for j in problem.consumers[i] if device_of[j] == device]
                memory.release_after([f, *here, *reads.get((i, m), ())], device, whole)
    return memory


def orders_of(timetable: Timetable, problem: Problem) -> list[list[list[Task]]]:
    """The orders that a timetable's streams follow, by start, then end.

    Tasks of no length at one instant stand in an order that precedence allows (F along the graph, I against
    it, W last), so that a replay of the orders of a valid timetable never deadlocks.
    """
    ends = timetable.ends(problem)
    operator, pass_, microbatch = np.nonzero(~np.isnan(timetable.start))
    start, end = timetable.start[operator, pass_, microbatch], ends[operator, pass_, microbatch]
    place = np.empty(problem.n_operators, dtype=int)
    place[list(problem.topological)] = np.arange(problem.n_operators)
    along = np.where(pass_ == 0, place[operator], -place[operator])
    by_time = np.lexsort((microbatch, along, pass_, end, start))
    device = np.array(timetable.placement.device_of)[np.array(timetable.copy_of)[microbatch], operator]
    stream = problem.on_comm[operator].astype(int)
    orders: list[list[list[Task]]] = [[[], []] for _ in range(problem.n_devices)]
    columns = (operator, pass_, microbatch, device, stream)
    for i, p, m, d, s in zip(*(column[by_time].tolist() for column in columns), strict=True):
        orders[d][s].append((i, p, m))
    return orders
