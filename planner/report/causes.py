"""Why compute streams are idle, and the critical path."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from planner.events import Events, Nodes, Wait, one_edge_each
from planner.events.nodes import G, R


class Cause(StrEnum):
    """Why a compute stream is idle."""

    INPUT = "waiting for input"  # a task on a compute stream, here or elsewhere, has yet to make it
    COMM = "waiting for communication"  # a task on a communication stream has yet to end
    TRANSFER = "waiting for a transfer"  # it is on its way, or waits for its channel
    MEMORY = "waiting for memory"  # only the memory that it takes is not free yet
    HELD = "held back by the plan"  # it could start, and the plan starts it later
    NOTHING = "nothing left"  # this device has no further task
    REDUCE = "waiting for reduction"  # gradients are being reduced: here, or before the clipped update everywhere
    EXCHANGE = "waiting for gradients of another copy"  # of the weights: to be computed there, or on their way
    GATHER = "gathering parameters"  # all work is done, and the communication stream still gathers


class Idle(NamedTuple):
    """The compute stream of a device (by number) is idle from ``start`` to ``end`` (seconds)."""

    device: int
    cause: Cause
    start: float
    end: float


PREFERRED = {Wait.ORDER: 0, Wait.INPUT: 1, Wait.TRANSFER: 2, Wait.MEMORY: 3, Wait.HELD: 4}
"""Of several waits that end at the same instant, the critical path follows the one with the lowest number."""


OF_STEP = {R: Cause.REDUCE, G: Cause.GATHER}
"""Causes of waits for tasks of the step."""

THROUGHOUT = {Cause.INPUT, Cause.EXCHANGE}
"""Causes that last from the beginning of the wait, whatever the node waited for waits for itself."""


class Waits:
    """For each node what it waits for, the latest first."""

    def __init__(self, events: Events) -> None:
        self.events = events
        nodes = events.nodes
        self.tolerance = nodes.tolerance
        self.start, self.end = nodes.start.tolist(), nodes.end.tolist()
        ptr, rows = one_edge_each(events.after, np.arange(len(events.after)), nodes.n)
        self._ptr, self._rows = ptr.tolist(), rows.tolist()
        self._ready = events.ready().tolist()
        self._before, self._wait = events.before.tolist(), events.wait.tolist()

    def of(self, node: int) -> list[tuple[float, int, int]]:
        """``(instant, kind of wait, node waited for)``, the latest instant first, then as ``PREFERRED``."""
        edges = self._rows[self._ptr[node] : self._ptr[node + 1]]
        found = [(self._ready[k], self._wait[k], self._before[k]) for k in edges]
        return sorted(found, key=lambda w: (-w[0], PREFERRED[Wait(w[1])], w[2]))

    def cause_of(self, node: int) -> Cause:
        """The cause of a wait for the end of this node."""
        nodes = self.events.nodes
        if nodes.once[node]:
            return Cause.EXCHANGE if node >= nodes.n_tasks else OF_STEP.get(int(nodes.pass_[node]), Cause.INPUT)
        if node >= nodes.n_tasks:
            return Cause.TRANSFER
        return Cause.COMM if nodes.comm[node] else Cause.INPUT


def idle_times(events: Events, makespan: float) -> list[Idle]:
    """All idle time of the compute streams by cause, device after device, in order of time.

    The idle time before a task is followed backwards. While only memory is missing, memory is the cause; while an
    input is on its way, the transfer; before that, the wait of the transfer itself. After the last task the stream
    waits for the step tasks that the device's communication stream still runs. A device's intervals add up to its
    bubble.
    """
    nodes, waits = events.nodes, Waits(events)
    found: list[Idle] = []
    for d in range(len(nodes.devices)):
        tasks = np.flatnonzero((nodes.device[: nodes.n_tasks] == d) & ~nodes.comm[: nodes.n_tasks])
        tasks = tasks[np.lexsort((nodes.end[tasks], nodes.start[tasks]))]
        free = 0.0
        for task in tasks.tolist():
            if waits.start[task] > free + waits.tolerance:
                pieces = list(_before(waits, task, free))
                found += [Idle(d, cause, start, end) for cause, start, end in _merged(reversed(pieces))]
            free = max(free, waits.end[task])
        last = _last_of_step(nodes, d)
        if last >= 0 and waits.end[last] > free + waits.tolerance:
            pieces = [(waits.cause_of(last), max(free, waits.start[last]), waits.end[last])]
            pieces += _before(waits, last, free)
            found += [Idle(d, cause, start, end) for cause, start, end in _merged(reversed(pieces))]
            free = waits.end[last]
        if makespan > free + waits.tolerance:
            found.append(Idle(d, Cause.NOTHING, free, makespan))
    return found


def _last_of_step(nodes: Nodes, device: int) -> int:
    """The step task that ends last on the communication stream of a device; -1: there is none."""
    own = nodes.of_step[(nodes.device[nodes.of_step] == device) & nodes.comm[nodes.of_step]]
    return int(own[np.argmax(nodes.end[own])]) if len(own) else -1


def _before(waits: Waits, task: int, since: float) -> Iterator[tuple[Cause, float, float]]:
    """The intervals from ``since`` to the start of a task with their causes, the last one first."""
    node, until = task, waits.start[task]
    while until > since:
        known = [w for w in waits.of(node) if w[1] != Wait.HELD]
        plain = [w for w in known if w[1] != Wait.MEMORY]
        ready = max(since, plain[0][0]) if plain else since
        with_memory = max(ready, known[0][0]) if known else since
        if until > with_memory:
            yield Cause.HELD, with_memory, until
        if min(until, with_memory) > ready:
            yield Cause.MEMORY, ready, min(until, with_memory)
        until = min(until, ready)
        if until <= since or not plain:
            return
        node = plain[0][2]
        cause = waits.cause_of(node)
        begin = since if cause in THROUGHOUT else max(since, min(until, waits.start[node]))
        if until > begin:
            yield cause, begin, until
        until = begin


def _merged(pieces: Iterator[tuple[Cause, float, float]]) -> Iterator[tuple[Cause, float, float]]:
    """Adjacent intervals of one cause, merged."""
    last: tuple[Cause, float, float] | None = None
    for piece in pieces:
        if last is not None and last[0] is piece[0]:
            last = (last[0], last[1], piece[2])
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def critical_path(events: Events) -> list[int]:
    """Nodes from the start of the step to its end: each is the one that the next waits for longest. The last ends last.

    Shortening a node shortens the step if the next one waits for no other as long.
    """
    nodes, waits = events.nodes, Waits(events)
    if not nodes.n_tasks:
        return []
    node = int(np.argmax(nodes.end[: nodes.n_tasks]))
    if len(nodes.exchanges):
        last = int(nodes.exchanges[np.argmax(nodes.end[nodes.exchanges])])
        node = last if nodes.end[last] > nodes.end[node] else node
    path = [node]
    while True:
        known = waits.of(node)
        if not known or waits.start[node] <= waits.tolerance:
            return path[::-1]
        latest = [w for w in known if w[0] >= known[0][0] - waits.tolerance]
        node = min(latest, key=lambda w: (PREFERRED[Wait(w[1])], -waits.end[w[2]], w[2]))[2]
        path.append(node)
