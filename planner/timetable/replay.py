"""Orders into times: every stream runs its tasks in a given order, as early as the rules allow.

``replay`` simulates (``planner.timetable.network``) and ``orders_of`` reads the orders back, so a replay of
``orders_of(timetable, problem)`` retimes a timetable. Orders are of the tasks of microbatches; exchanged gradients and
step tasks come after them (``planner.timetable.whole_step``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from planner.problem import Placement, Problem
from planner.timetable.network import Floats, Ints, Memory, Network
from planner.timetable.timetable import Timetable
from planner.timetable.whole_step import with_step_tasks
from planner.timetable.wiring import Sent, connect, timed_transfers

Task = tuple[int, int, int]
"""Operator, pass (F, I, W = 0, 1, 2) and microbatch."""

Orders = Sequence[Sequence[npt.ArrayLike]]
"""``orders[device][stream]``: the tasks there, a row each, first to last; stream 0 computes, stream 1 communicates."""


def replay(
    problem: Problem,
    placement: Placement,
    copy_of: Sequence[int],
    orders: Orders,
    *,
    leaves_after: Ints | None = None,
    caps: Sequence[float] | None = None,
    allocation_order: Sequence[Sequence[tuple[int, int]]] | None = None,
) -> Timetable | None:
    """The timetable of these orders, everything as early as possible; None where they deadlock.

    Step tasks take what time the streams have left.

    ``leaves_after[reader, :, microbatch]`` names tasks of the microbatch (3 x operator + pass, -1 for none) that
    must end, too, before a gradient that ``reader`` makes leaves its device (a full backward pass hands its
    gradient on when it is over).

    ``caps`` (bytes a device, parameters included; ``Problem.cap_with_slack``) lets an F wait until its
    activation fits. ``allocation_order[d]`` then fixes in which order the (operator, microbatch) listed there
    allocate on device d: without it two streams may take each other's memory, and an earlier task may make
    a later makespan.
    """
    shape = (problem.n_operators, 3, problem.microbatches)
    number = np.arange(3 * problem.n_operators * problem.microbatches).reshape(shape)
    has_pass = np.array([own.has_pass for own in problem.of_copies(placement)])[list(copy_of)]
    node_of: Ints = np.where(np.moveaxis(has_pass, 0, 2), number, -1)
    seconds = _seconds(problem, placement, copy_of, node_of)
    network = Network(seconds, _lanes(problem, placement, copy_of, orders, int((node_of >= 0).sum())))
    sent = connect(network, problem, placement, copy_of, node_of, leaves_after)
    memory = None
    if caps is not None:
        memory = _memory(problem, placement, copy_of, caps, node_of, sent)
        for d, order in enumerate(allocation_order or ()):
            memory.sequence[d] = [int(node_of[i, 0, m]) for i, m in order]
    start = network.run(memory)
    if start is None:
        return None
    starts, transfers = start[: number.size].reshape(shape), timed_transfers(start, sent)
    return with_step_tasks(problem, Timetable(placement, tuple(copy_of), starts, transfers))


def _seconds(problem: Problem, placement: Placement, copy_of: Sequence[int], node_of: Ints) -> Floats:
    """Lengths of all tasks, in the order of the table of starts; 0 where the pass does not exist."""
    copies, rows = np.asarray(copy_of), np.arange(problem.n_operators)
    own = problem.of_copies(placement)
    each = np.array([one.duration[rows, :, d] for one, d in zip(own, map(list, placement.device_of), strict=True)])
    found: Floats = np.where(node_of >= 0, np.moveaxis(each[copies], 0, 2), 0.0)
    return found.ravel()


def _lanes(problem: Problem, placement: Placement, copy_of: Sequence[int], orders: Orders, expected: int) -> list[Ints]:
    """Orders as node numbers. Tasks that are missing, doubled or on a wrong stream are the caller's bug."""
    lane_of = 2 * np.array(placement.device_of) + problem.on_comm
    copies = np.asarray(copy_of)
    lanes: list[Ints] = []
    for d, streams in enumerate(orders):
        for s, tasks in enumerate(streams):
            i, p, m = np.asarray(tasks, dtype=np.int64).reshape(-1, 3).T
            if (lane_of[copies[m], i] != 2 * d + s).any():
                raise ValueError(f"a task in the order of device {d}, stream {s} does not run there")
            lanes.append((3 * i + p) * problem.microbatches + m)
    times = np.bincount(np.concatenate(lanes))
    different = int(np.count_nonzero(times))
    if different != expected or times.sum() != expected:
        raise ValueError(f"the orders hold {different} different tasks, the problem {expected}")
    return lanes


def _memory(
    problem: Problem,
    placement: Placement,
    copy_of: Sequence[int],
    caps: Sequence[float],
    node_of: Ints,
    sent: Sequence[Sent],
) -> Memory:
    """Rule 5 as needs and releases; in inference, transfers hold an output until they have ended."""
    free = np.array(caps, dtype=np.float64)
    for d, sizes in enumerate(problem.resident_parameters(placement)):
        free[d] -= math.fsum(sizes.values())
    memory, copies = Memory(free), np.asarray(copy_of)
    for copy, device_of in enumerate(placement.device_of):
        own = np.flatnonzero(copies == copy)
        node, version = node_of[:, :, own], problem.of_copy(placement, copy)
        for i, device in enumerate(device_of):
            whole, held = float(version.activation[i]), float(version.held[i])
            memory.needs.append((node[i, 0], device, whole))
            if problem.training:
                memory.release_after([node[i, 1]], device, whole - held)
                if held:
                    memory.release_after([node[i, 2]], device, held)
            else:
                here = [node[j, 0] for j in problem.consumers[i] if device_of[j] == device]
                left = [x.nodes for x in sent if (x.copy, x.leg.operator) == (copy, i)]
                memory.release_after([node[i, 0], *here, *left], device, whole)
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
