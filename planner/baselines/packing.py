"""The best two-stream packing of a block: tasks with precedence on a compute and a communication stream.

A job shop of two machines; some tasks occupy both. A list of tasks by priority becomes a schedule in one of two ways:
each task at the earliest gap that takes it (serial, which contains an optimum), or always the task that can start
first (parallel, often better by itself); see Kolisch, "Serial and parallel resource-constrained project scheduling
methods revisited" (1996). Many priority rules, then changes of the best list, until a packing reaches the bound.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import NamedTuple

EFFORT = 40_000
"""Tasks placed in search of one packing: some tenths of a second where no bound ends it sooner."""

REACHED = 1e-9
"""Relative distance from the bound at which a packing counts as optimal."""


BOTH = 2
"""In place of a stream: a task that occupies both."""

OCCUPIED = ((0,), (1,), (0, 1))
"""The streams that a task occupies."""


class Item(NamedTuple):
    """One task: its stream (0, 1 or ``BOTH``), its length, and the items (of smaller number) that precede it."""

    stream: int
    seconds: float
    after: tuple[int, ...]


class Packing(NamedTuple):
    """Starts of the items, the length of the whole, and a proven bound of that length."""

    starts: tuple[float, ...]
    length: float
    bound: float


@lru_cache(maxsize=4096)
def pack(items: tuple[Item, ...], effort: int = EFFORT) -> Packing:
    """A short packing of the items. The same items always get the same one, which is computed once."""
    if not items:
        return Packing((), 0.0, 0.0)
    return _Search(items).best(effort)


class _Search:
    """The items, their heads and tails (longest paths before and after), and the best packing so far."""

    def __init__(self, items: tuple[Item, ...]) -> None:
        self.items = items
        self.followers: list[list[int]] = [[] for _ in items]
        self.head = [0.0] * len(items)
        for k, item in enumerate(items):
            for a in item.after:
                self.followers[a].append(k)
                self.head[k] = max(self.head[k], self.head[a] + items[a].seconds)
        self.tail = [0.0] * len(items)  # after the item itself
        for k in reversed(range(len(items))):
            self.tail[k] = max((self.tail[f] + items[f].seconds for f in self.followers[k]), default=0.0)
        self.bound = self._bound()
        self.length, self.starts = float("inf"), [0.0] * len(items)

    def _bound(self) -> float:
        """Longest path; and for each stream the least head + load + least tail of its items, over subsets.

        Of a set of items on one stream, none starts before the least head, and after the last comes at least
        the least tail; it suffices to look at the sets of items with heads from h and tails from t on.
        """
        bound = max(h + i.seconds + t for h, i, t in zip(self.head, self.items, self.tail, strict=True))
        for stream in (0, 1):
            on = [k for k, item in enumerate(self.items) if item.stream in (stream, BOTH)]
            for head in sorted({self.head[k] for k in on}):
                load = 0.0
                for k in sorted((k for k in on if self.head[k] >= head), key=lambda k: -self.tail[k]):
                    load += self.items[k].seconds
                    bound = max(bound, head + load + self.tail[k])
        return bound

    def best(self, effort: int) -> Packing:
        chance = random.Random(0)
        n = len(self.items)
        for keys in self._rules(chance):
            self._keep(self._parallel(keys))
            self._keep(self._serial(self._list(keys)))
            if self._done:
                break
        # From the best: its order of starts, then moves of items up or down that do not lengthen it.
        order = sorted(range(n), key=lambda k: (self.starts[k], k))
        length = self.length
        for _ in range(max(1, effort // n)):
            if self._done:
                break
            keys = [0.0] * n
            for place, k in enumerate(order):
                keys[k] = float(place)
            for _ in range(chance.choice((1, 1, 2, 3))):
                keys[chance.randrange(n)] += chance.choice((-1.0, 1.0)) * (0.5 + chance.randrange(1, n + 1))
            trial = self._list(keys)
            starts = self._serial(trial)
            now = self._length(starts)
            if now <= length * (1 + REACHED):
                order, length = trial, now
                self._keep(starts)
        return Packing(tuple(self.starts), self.length, self.bound)

    @property
    def _done(self) -> bool:
        return self.length <= self.bound * (1 + REACHED)

    def _rules(self, chance: random.Random) -> list[list[float]]:
        """Priorities, lower first: long tails, early heads, file order, and blends of them with noise."""
        n = len(self.items)
        after = [i.seconds + t for i, t in zip(self.items, self.tail, strict=True)]
        rules = [[-a for a in after], list(self.head), [float(k) for k in range(n)]]
        rules.append([h - a for h, a in zip(self.head, after, strict=True)])
        rules.append([-len(f) - a / (1.0 + self.bound) for f, a in zip(self.followers, after, strict=True)])
        for _ in range(40):
            weight, noise = chance.random(), 0.3 * self.bound * chance.random()
            rules.append(
                [weight * h - (1 - weight) * a + noise * chance.random() for h, a in zip(self.head, after, strict=True)]
            )
        return rules

    def _list(self, keys: Sequence[float]) -> list[int]:
        """The items by key as far as precedence lets them."""
        missing = [len(item.after) for item in self.items]
        ready = [(keys[k], k) for k, count in enumerate(missing) if count == 0]
        heapify(ready)
        order = []
        while ready:
            k = heappop(ready)[1]
            order.append(k)
            for f in self.followers[k]:
                missing[f] -= 1
                if missing[f] == 0:
                    heappush(ready, (keys[f], f))
        return order

    def _serial(self, order: Sequence[int]) -> list[float]:
        """Each item of the list at the earliest gap of its stream, or of both at once."""
        ends = [0.0] * len(self.items)
        starts = [0.0] * len(self.items)
        gaps: tuple[list[list[float]], ...] = ([[0.0, float("inf")]], [[0.0, float("inf")]])
        for k in order:
            stream, seconds, after = self.items[k]
            ready = max((ends[a] for a in after), default=0.0)
            if stream == BOTH:
                starts[k] = start = _common(gaps, ready, seconds)
                ends[k] = start + seconds
                for free in gaps:
                    _take(free, start, ends[k])
                continue
            free = gaps[stream]
            for at, (low, high) in enumerate(free):
                start = max(ready, low)
                if start + seconds <= high:
                    starts[k], ends[k] = start, start + seconds
                    free[at : at + 1] = [g for g in ([low, start], [ends[k], high]) if g[0] < g[1]]
                    break
        return starts

    def _parallel(self, keys: Sequence[float]) -> list[float]:
        """Always the item that can start first; of several, the one with the lowest key."""
        missing = [len(item.after) for item in self.items]
        ready = {k: 0.0 for k, count in enumerate(missing) if count == 0}
        starts, free = [0.0] * len(self.items), [0.0, 0.0]
        while ready:
            start, _, k = min(
                (max(t, *(free[stream] for stream in OCCUPIED[self.items[k].stream])), keys[k], k)
                for k, t in ready.items()
            )
            del ready[k]
            starts[k] = start
            end = start + self.items[k].seconds
            for stream in OCCUPIED[self.items[k].stream]:
                free[stream] = end
            for f in self.followers[k]:
                missing[f] -= 1
                if missing[f] == 0:
                    ready[f] = max(starts[a] + self.items[a].seconds for a in self.items[f].after)
                    ready[f] = max(ready[f], end)
        return starts

    def _length(self, starts: Sequence[float]) -> float:
        return max(start + item.seconds for start, item in zip(starts, self.items, strict=True))

    def _keep(self, starts: Sequence[float]) -> None:
        length = self._length(starts)
        if length < self.length:
            self.length, self.starts = length, list(starts)


def _common(gaps: Sequence[Sequence[Sequence[float]]], ready: float, seconds: float) -> float:
    """The earliest start at which all streams have a gap that takes a task."""
    start, later = ready, -1.0
    while later != start:
        later = start
        for free in gaps:
            start = next(max(start, low) for low, high in free if max(start, low) + seconds <= high)
    return start


def _take(free: list[list[float]], start: float, end: float) -> None:
    """Take an interval out of the gap that contains it."""
    at = next(at for at, (low, high) in enumerate(free) if low <= start and end <= high)
    low, high = free[at]
    free[at : at + 1] = [g for g in ([low, start], [end, high]) if g[0] < g[1]]
