"""Precedence inferred from a plan without graph and cluster: everything that may explain its order.

A pass may read all passes of its microbatch and direction that have ended before it, so it is assumed to wait for all
of them. Its true predecessors are among them, so that a replay never breaks a rule. For a chain of operators this is
exact. Where the graph branches, a replay waits for more than necessary.

A step task is assumed to wait for the passes of every copy of its operator that have ended before it, and an update
for every reduction, if all of the plan's updates start after all of its reductions.
"""

from __future__ import annotations

import numpy as np

from planner.events.edges import Edges, Wait
from planner.events.nodes import NONE, Flags, Ints, Nodes
from planner.events.steps import clips_by_time, step_edges
from planner.plan.plan import Plan


def inferred_precedence(nodes: Nodes, edges: Edges) -> None:
    """Edges that are at least those of rules 3 and 4, whatever the graph."""
    by_time = np.lexsort((np.arange(nodes.n), nodes.pass_, nodes.end, nodes.start))
    place = np.empty(nodes.n, dtype=np.int64)
    place[by_time] = np.arange(nodes.n)
    is_task = np.arange(nodes.n) < nodes.n_tasks
    _own_passes(nodes, edges)
    step_edges(nodes, edges, None, clips_by_time(nodes))
    for microbatch in np.unique(nodes.microbatch[~nodes.once]).tolist():
        own = by_time[nodes.microbatch[by_time] == microbatch]
        for pass_ in (0, 1):
            group = own[nodes.pass_[own] == pass_]
            tasks, transfers = group[is_task[group]], group[~is_task[group]]
            _all_before(nodes, place, edges, tasks, tasks, Wait.INPUT)  # a transfer that takes no time is not listed
            for d in np.unique(nodes.device[group]).tolist():
                here = tasks[nodes.device[tasks] == d]
                _all_before(nodes, place, edges, transfers[nodes.target[transfers] == d], here, Wait.TRANSFER)
                if pass_ == 1:  # the gradient of an output leaves after the readers' own gradients
                    leaving = transfers[nodes.device[transfers] == d]
                    _all_before(nodes, place, edges, here, leaving, Wait.INPUT)


def _own_passes(nodes: Nodes, edges: Edges) -> None:
    """F before I before W of an operator, and F before the transfer of its output."""
    task: dict[tuple[int, int, int], int] = {}
    columns = (nodes.operator, nodes.pass_, nodes.microbatch)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    for node, key in enumerate(rows[: nodes.n_tasks]):
        task.setdefault(key, node)
    for node, (i, p, m) in enumerate(rows):
        if m == NONE:
            continue
        wanted = (i, p - 1, m) if node < nodes.n_tasks else (i, 0, m) if p == 0 else None
        before = -1 if wanted is None else task.get(wanted, -1)
        if before >= 0 and nodes.end[before] <= nodes.start[node] + nodes.tolerance:
            edges.one(before, node, Wait.INPUT)


def _all_before(nodes: Nodes, place: Ints, edges: Edges, makers: Ints, takers: Ints, wait: Wait) -> None:
    """Each taker waits for all makers that have ended when it starts, except those that another of them waits for."""
    if not len(makers) or not len(takers):
        return
    makers = makers[np.argsort(nodes.end[makers], kind="stable")]
    ends, starts = nodes.end[makers], nodes.start[makers]
    upto = np.searchsorted(ends, nodes.start[takers] + nodes.tolerance, side="right")
    # What ended before another of them started is waited for by that one already. One that takes no time does not
    # count: it may be the taker itself, or stand after it.
    latest = np.maximum.accumulate(np.where(ends - starts > 2 * nodes.tolerance, starts, -np.inf))
    since = np.searchsorted(ends, latest[np.maximum(upto - 1, 0)] - nodes.tolerance, side="left")
    count = np.where(upto > 0, np.maximum(upto - since, 0), 0)
    after = np.repeat(takers, count)
    first = np.repeat(since, count)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    before = makers[first + step]
    earlier = place[before] < place[after]
    edges.add(before[earlier], after[earlier], wait)


def inferred_memory(nodes: Nodes, plan: Plan, edges: Edges, rank: Ints) -> None:
    """On devices with a cap memory is taken and released in the plan's order, so that it never exceeds its peak.

    Sizes are not known here, so every forward pass waits for all that has ended on its device before.
    """
    capped = {d.name for d in plan.devices if d.memory is not None}
    is_task = np.arange(nodes.n) < nodes.n_tasks
    training = bool((nodes.pass_ > 0).any())
    for d, name in enumerate(nodes.devices):
        if name not in capped:
            continue
        here = is_task & (nodes.device == d)
        takers = here & (nodes.pass_ == 0)
        lanes = [here & nodes.comm, here & ~nodes.comm]
        lanes += [] if training else _channels_from(nodes, is_task, d)
        for lane in lanes:
            releasing = np.flatnonzero(lane & (nodes.pass_ > 0) & ~nodes.once if training else lane)
            _last_before(nodes, rank, edges, releasing, np.flatnonzero(takers))
        order = np.flatnonzero(takers)[np.argsort(rank[takers])]
        other = nodes.comm[order[1:]] != nodes.comm[order[:-1]]
        edges.add(order[:-1][other], order[1:][other], Wait.MEMORY, from_start=True)


def _channels_from(nodes: Nodes, is_task: Flags, d: int) -> list[Flags]:
    leaving = ~is_task & (nodes.device == d)
    return [leaving & (nodes.target == e) for e in np.unique(nodes.target[leaving]).tolist()]


def _last_before(nodes: Nodes, rank: Ints, edges: Edges, makers: Ints, takers: Ints) -> None:
    """Each taker waits for the last of some makers, which run one after the other, that has ended when it starts."""
    if not len(makers):
        return
    makers = makers[np.argsort(nodes.end[makers], kind="stable")]
    at = np.searchsorted(nodes.end[makers], nodes.start[takers] + nodes.tolerance, side="right") - 1
    before = np.where(at >= 0, makers[np.maximum(at, 0)], -1)
    edges.add(np.where(rank[before] < rank[takers], before, -1), takers, Wait.MEMORY)
