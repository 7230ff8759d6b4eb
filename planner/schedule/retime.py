"""Exact start times from an order: everything as early as its order, its inputs and memory let it.

The searches of level 2 count time in ticks; what they decide is an order. Here the times are computed again in
seconds, each start being the latest of the ends that it waits for, so that no rounding is left in a plan.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from planner.schedule.classes import Classes, Floats, Ints


def retime(classes: Classes, start: Floats, turn: Ints | Floats | None = None) -> Floats | None:
    """Starts in seconds for a schedule in ticks, both shaped (classes, largest count).

    ``turn``: the order in which starts at one instant were decided, where that is known.

    Keeps the order of starts on every resource and the order in which memory is taken on every device. Where the
    schedule is valid, by induction nothing starts later than in it (times the tick), rounding aside. Where it
    left out memory or channels, they are respected now; None where memory does not allow that order.
    """
    seconds = np.full(start.shape, np.nan)
    free: list[float] = [0.0] * classes.n_resources
    memory = _Memory(classes)
    for a, k in _in_order(classes, start, turn):
        begin = 0.0
        for r in classes.resources[a]:
            begin = max(begin, free[r])
        for b in classes.preds[a]:
            begin = max(begin, seconds[b, k] + classes.seconds[b])
        at = memory.take(a, begin)
        if at is None:
            return None
        begin = at
        seconds[a, k] = begin
        end = begin + float(classes.seconds[a])
        for r in classes.resources[a]:
            free[r] = end
        memory.ended(a, k, end)
    return seconds


def _in_order(classes: Classes, start: Floats, turn: Ints | Floats | None) -> Iterator[tuple[int, int]]:
    """All (class, index) by start, but never before what they wait for.

    At one instant by turn; where none is given, what takes no time comes first. Where rounding (or a solver's
    tolerance) has put a task a hair before its input, the input comes first all the same.
    """
    rank = np.empty(classes.n, dtype=np.int64)
    rank[list(classes.topological)] = np.arange(classes.n)
    if turn is None:
        later = (classes.ticks > 0) * np.int64(start.size) + rank  # what takes no time first, then inputs first
        turn = later[:, None] * start.shape[1] + np.arange(start.shape[1])[None, :]
    by_turn = turn

    def entry(a: int, k: int) -> tuple[float, int, int, int]:
        return float(start[a, k]), int(by_turn[a, k]), k, a

    waiting = {(a, k): len(classes.preds[a]) + (k > 0) for a in range(classes.n) for k in range(int(classes.count[a]))}
    heap = [entry(a, k) for (a, k), left in waiting.items() if not left]
    heapq.heapify(heap)
    while heap:
        *_, k, a = heapq.heappop(heap)
        yield a, k
        for b, j in [*((b, k) for b in classes.succs[a]), (a, k + 1)]:
            if (b, j) in waiting:
                waiting[b, j] -= 1
                if not waiting[b, j]:
                    heapq.heappush(heap, entry(b, j))


class _Memory:
    """Memory in use on every device while starts are dealt out in order."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.used = [0.0] * classes.problem.n_devices
        self.room = classes.available.tolist()
        self.latest = [0.0] * len(self.used)  # the last instant at which memory was taken
        self.releases: list[list[tuple[float, float]]] = [[] for _ in self.used]  # heaps of (instant, bytes)
        self.takes: list[list[tuple[int, float]]] = [[] for _ in range(classes.n)]
        self.frees: list[list[int]] = [[] for _ in range(classes.n)]
        self.pending: dict[tuple[int, int], tuple[int, float]] = {}  # (hold, k): releasers left, latest end
        for h, hold in enumerate(classes.holds):
            self.takes[hold.alloc].append((hold.device, hold.size))
            for a in hold.releases:
                self.frees[a].append(h)

    def take(self, a: int, begin: float) -> float | None:
        """The earliest instant from ``begin`` on at which the memory of a fits; takes it. None if it never does."""
        if not self.takes[a]:
            return begin
        device = self.takes[a][0][0]
        size = sum(s for _, s in self.takes[a])
        begin = max(begin, self.latest[device])
        heap = self.releases[device]
        while heap and (heap[0][0] <= begin or self.used[device] + size > self.room[device]):
            instant, released = heapq.heappop(heap)
            self.used[device] -= released
            begin = max(begin, instant)
        if self.used[device] + size > self.room[device]:
            return None
        self.used[device] += size
        self.latest[device] = begin
        return begin

    def ended(self, a: int, k: int, end: float) -> None:
        """Note an end; memory is free once all that hold it have ended."""
        for h in self.frees[a]:
            hold = self.classes.holds[h]
            left, latest = self.pending.pop((h, k), (len(hold.releases), 0.0))
            latest = max(latest, end)
            if left > 1:
                self.pending[h, k] = (left - 1, latest)
            else:
                heapq.heappush(self.releases[hold.device], (latest, hold.size))
