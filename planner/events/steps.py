"""What step tasks and exchanges of gradients wait for, with graph and cluster or read off the plan."""

from __future__ import annotations

import numpy as np

from planner.events.edges import Edges, Wait
from planner.events.nodes import Flags, Ints, Nodes, R, U


def step_edges(nodes: Nodes, edges: Edges, gradient: Flags | None, clips: bool) -> None:
    """Edges of the tasks of the step. ``gradient[i]``: copies of operator i exchange gradients (None: not known).

    Where it is not known, a copy is assumed to wait for each other copy all of whose passes have ended before it.
    """
    if not len(nodes.of_step) and not len(nodes.exchanges):
        return
    found = _Copies(nodes)
    for (i, copy), tasks in found.tasks.items():
        first, own = tasks[0], found.passes(i, copy)
        edges.add(*_pairs(_ended(nodes, own, first) if gradient is None else own, first), Wait.INPUT)
        for other in range(found.copies):
            if other == copy:
                continue
            sent = found.sent.get((i, other, int(nodes.device[first])), -1)
            passes = found.passes(i, other)
            if sent >= 0:
                edges.one(sent, first, Wait.TRANSFER)
            elif _joined(nodes, passes, first) if gradient is None else bool(gradient[i]):
                edges.add(*_pairs(passes[nodes.device[passes] != nodes.device[first]], first), Wait.INPUT)
        edges.add(np.array(tasks[:-1], dtype=np.int64), np.array(tasks[1:], dtype=np.int64), Wait.INPUT)
    for (i, copy, _), exchange in found.sent.items():
        own = found.passes(i, copy)
        edges.add(*_pairs(_ended(nodes, own, exchange) if gradient is None else own, exchange), Wait.INPUT)
    if clips:
        last = _last_reductions(nodes)
        updates = nodes.of_step[nodes.pass_[nodes.of_step] == U]
        edges.add(np.repeat(last, len(updates)), np.tile(updates, len(last)), Wait.INPUT)


def clips_by_time(nodes: Nodes) -> bool:
    """Whether a plan may clip gradients: no update of it starts before a reduction has ended."""
    of_step = nodes.of_step
    reductions, updates = (of_step[nodes.pass_[of_step] == p] for p in (R, U))
    if not len(reductions) or not len(updates):
        return False
    return bool(nodes.end[reductions].max() <= nodes.start[updates].min() + nodes.tolerance)


class _Copies:
    """Step tasks, exchanges and backward passes, by operator and copy."""

    def __init__(self, nodes: Nodes) -> None:
        self.copies = 1 + int(nodes.copy.max(initial=0))
        back = np.flatnonzero((nodes.pass_[: nodes.n_tasks] > 0) & ~nodes.once[: nodes.n_tasks])
        key = nodes.operator[back] * self.copies + nodes.copy[back]
        order = np.argsort(key, kind="stable")
        self._back = back[order]
        self._ptr = np.searchsorted(key[order], np.arange(len(nodes.operators) * self.copies + 1))
        self.tasks: dict[tuple[int, int], list[int]] = {}
        for node in nodes.of_step[np.argsort(nodes.pass_[nodes.of_step], kind="stable")].tolist():
            self.tasks.setdefault((int(nodes.operator[node]), int(nodes.copy[node])), []).append(node)
        self.sent: dict[tuple[int, int, int], int] = {}  # by operator, sending copy and target
        for node in nodes.exchanges.tolist():
            self.sent[int(nodes.operator[node]), int(nodes.copy[node]), int(nodes.target[node])] = node

    def passes(self, operator: int, copy: int) -> Ints:
        """The tasks that compute gradients in one copy of an operator."""
        at = operator * self.copies + copy
        return self._back[self._ptr[at] : self._ptr[at + 1]]


def _pairs(before: Ints, after: int) -> tuple[Ints, Ints]:
    return before, np.full(len(before), after, dtype=np.int64)


def _ended(nodes: Nodes, passes: Ints, node: int) -> Ints:
    """Those that have ended when the node starts: all of them, in a valid plan."""
    ended: Flags = nodes.end[passes] <= nodes.start[node] + nodes.tolerance
    return passes[ended]


def _joined(nodes: Nodes, passes: Ints, node: int) -> bool:
    return len(_ended(nodes, passes, node)) == len(passes)


def _last_reductions(nodes: Nodes) -> Ints:
    """On each device the reduction that ends last; those that end just then, too. They run one after the other."""
    reductions: Ints = nodes.of_step[nodes.pass_[nodes.of_step] == R]
    latest = np.full(len(nodes.devices), -np.inf)
    np.maximum.at(latest, nodes.device[reductions], nodes.end[reductions])
    last: Ints = reductions[nodes.end[reductions] >= latest[nodes.device[reductions]] - nodes.tolerance]
    return last
