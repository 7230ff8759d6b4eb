"""The graph of events of a plan: from its rows to what each of them waits for."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from planner.events.edges import Edges, Wait
from planner.events.gates import Gates, gate_edges
from planner.events.inferred import inferred_memory, inferred_precedence
from planner.events.known import Known
from planner.events.nodes import Flags, Floats, Ints, Nodes
from planner.plan.plan import Plan
from planner.problem import Problem


@dataclass(frozen=True)
class Events:
    """Tasks and transfers, and edges ``before[k] -> after[k]`` between them; times are the plan's, in seconds.

    ``wait[k]`` is the kind of wait (``Wait``); with ``from_start[k]`` the second waits for the start of the first, else
    for its end. ``order`` is a topological order of the nodes. ``hold[node]``: seconds between the last event that the
    node waits for and its start, where nothing explains them. ``exact``: precedence and memory are those of graph and
    cluster; else they are inferred from the plan, and constrain it at least as much.
    """

    nodes: Nodes
    exact: bool
    before: Ints
    after: Ints
    wait: Ints
    from_start: Flags
    order: Ints
    hold: Floats

    @property
    def seconds(self) -> Floats:
        """How long each node takes."""
        return self.nodes.end - self.nodes.start

    def ready(self) -> Floats:
        """Of every edge: when, in the plan, the second node no longer waits for the first."""
        return np.where(self.from_start, self.nodes.start[self.before], self.nodes.end[self.before])


def events_of(plan: Plan, problem: Problem | None = None, gates: Callable[[Nodes], Gates] | None = None) -> Events:
    """The events of a plan: exact with the problem that it is valid for, else inferred from the plan.

    ``gates``: further waits of its tasks, if it is a baseline with rules of its own.

    Every edge holds in the plan (instants closer than 1e-9 of the makespan are one), and a replay of all edges and
    holds with the plan's own lengths gives the plan's instants.
    """
    nodes, edges = Nodes.of(plan, problem), Edges()
    known = None if problem is None else Known(nodes, problem, plan)
    if known is None:
        inferred_precedence(nodes, edges)
    else:
        known.precedence(edges)
    if gates is not None:
        gate_edges(nodes, edges, gates(nodes))
    order = _order(nodes, edges)
    rank = np.empty(nodes.n, dtype=np.int64)
    rank[order] = np.arange(nodes.n)
    _turns(nodes, edges, rank, _exclusive(nodes, problem))
    if known is None:
        inferred_memory(nodes, plan, edges, rank)
    else:
        known.memory(edges, plan, rank)
    hold = _held(nodes, edges, rank)
    return Events(nodes, known is not None, *edges.arrays(), order, hold)


def _order(nodes: Nodes, edges: Edges) -> Ints:
    """A topological order, by start and end as far as precedence allows."""
    before, after, _, _ = edges.arrays()
    ptr, following = one_edge_each(before, after, nodes.n)
    missing = np.bincount(after, minlength=nodes.n).tolist()
    start, end = nodes.start.tolist(), nodes.end.tolist()
    pointer, follower = ptr.tolist(), following.tolist()
    ready = [(start[k], end[k], k) for k in range(nodes.n) if not missing[k]]
    heapq.heapify(ready)
    order = []
    while ready:
        k = heapq.heappop(ready)[2]
        order.append(k)
        for b in follower[pointer[k] : pointer[k + 1]]:
            missing[b] -= 1
            if not missing[b]:
                heapq.heappush(ready, (start[b], end[b], b))
    assert len(order) == nodes.n, "the waits of a verified plan, or of one sorted by time, form no cycle"
    return np.array(order, dtype=np.int64)


def one_edge_each(keys: Ints, values: Ints, n: int) -> tuple[Ints, Ints]:
    """The values by key: those of key k are ``values[ptr[k]:ptr[k + 1]]`` of what is returned."""
    ptr = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=n))]).astype(np.int64)
    return ptr, values[np.argsort(keys, kind="stable")]


def _exclusive(nodes: Nodes, problem: Problem | None) -> Flags:
    """Devices whose compute stream a transfer occupies; without the cluster, those where the two never overlap."""
    if problem is not None:
        return np.asarray(problem.exclusive)
    found = np.zeros(len(nodes.devices), dtype=bool)
    k = nodes.n_tasks
    for d in range(len(nodes.devices)):
        tasks = np.flatnonzero((nodes.device[:k] == d) & ~nodes.comm[:k])
        sent = k + np.flatnonzero((nodes.device[k:] == d) | (nodes.target[k:] == d))
        if len(sent) and len(tasks):
            both = np.concatenate([tasks, sent])
            both = both[np.lexsort((nodes.end[both], nodes.start[both]))]
            until = np.maximum.accumulate(nodes.end[both])
            found[d] = bool((nodes.start[both[1:]] >= until[:-1] - nodes.tolerance).all())
    return found


def _turns(nodes: Nodes, edges: Edges, rank: Ints, exclusive: Flags) -> None:
    """The order on every stream and channel."""
    n_devices, k = len(nodes.devices), nodes.n_tasks
    lane = np.where(np.arange(nodes.n) < k, 2 * nodes.device + nodes.comm, 2 * n_devices + nodes.device * n_devices)
    lane = lane + np.where(np.arange(nodes.n) < k, 0, nodes.target)
    members, lanes = [np.arange(nodes.n)], [lane]
    for end in (nodes.device, nodes.target):
        busy = k + np.flatnonzero(exclusive[end[k:]])
        members.append(busy)
        lanes.append(2 * end[busy])
    node, on = np.concatenate(members), np.concatenate(lanes)
    by_lane = np.lexsort((rank[node], on))
    node, on = node[by_lane], on[by_lane]
    same = on[1:] == on[:-1]
    edges.add(node[:-1][same], node[1:][same], Wait.ORDER)


def _held(nodes: Nodes, edges: Edges, rank: Ints) -> Floats:
    """Explain late starts: add edges from tasks that end just then on the devices of the inputs, or else on its own.

    A baseline runs several operators as one block, or a full backward pass, whose outputs leave at the end. If no task
    ends just then, the node keeps its distance, in seconds, from what it waits for.
    """
    before, after, _, from_start = edges.arrays()
    ready = np.zeros(nodes.n)
    np.maximum.at(ready, after, np.where(from_start, nodes.start[before], nodes.end[before]))
    hold = np.zeros(nodes.n)
    late = np.flatnonzero(nodes.start > ready + nodes.tolerance)
    if not len(late):
        return hold
    runs = _ends_by_device(nodes)
    ptr, waited = one_edge_each(after, before, nodes.n)
    for node in late.tolist():
        made_on = set(nodes.device[waited[ptr[node] : ptr[node + 1]]].tolist())
        just = [k for d in sorted(made_on) for k in _ending(nodes, runs[d], node, rank)]
        just = just or _ending(nodes, runs[int(nodes.device[node])], node, rank)
        for k in just:
            edges.one(k, node, Wait.HELD)
        if not just:
            hold[node] = nodes.start[node] - ready[node]
    return hold


def _ends_by_device(nodes: Nodes) -> list[Ints]:
    """Of every device its tasks that take time, by their ends."""
    tasks = np.arange(nodes.n_tasks)
    tasks = tasks[nodes.end[tasks] > nodes.start[tasks]]
    tasks = tasks[np.lexsort((nodes.end[tasks], nodes.device[tasks]))]
    bounds = np.searchsorted(nodes.device[tasks], np.arange(len(nodes.devices) + 1))
    return [tasks[a:b] for a, b in pairwise(bounds.tolist())]


def _ending(nodes: Nodes, tasks: Ints, node: int, rank: Ints) -> list[int]:
    """Those of some tasks, sorted by end, that end when the node starts."""
    at = nodes.start[node]
    low, high = np.searchsorted(nodes.end[tasks], [at - nodes.tolerance, at + nodes.tolerance])
    return [k for k in tasks[low:high].tolist() if rank[k] < rank[node]]
