"""Local search on orders: simulated annealing along the critical path, compiled.

A schedule is decided by the order of the tasks on every stream and channel: played back, each task starts as soon as
its turn has come, its inputs are there and its memory is free. A move takes a task on the critical path that waits
for another one of its stream, or for memory that this one frees, and exchanges the two, or moves one of them past
the other and some more (the neighbourhood of van Laarhoven, Aarts and Lenstra's annealing for job shops, "Job Shop
Scheduling by Simulated Annealing", 1992, with insertions as in Balas and Vazacopoulos, 1998). An order in which
nothing can go on is no schedule and is not accepted. Where the list scheduler shapes a schedule as a whole, this
closes its last gaps.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np

from planner.control import Control
from planner.rows import rows
from planner.schedule.classes import Classes, Floats, Ints
from planner.schedule.kernel import Arrays, Run
from planner.threads import side_by_side

PLAYED_AT_MOST = 10_000_000
"""Tasks played in one annealing: about a second."""

ITERATIONS_AT_MOST = 50_000

SLICE = 500_000
"""Tasks played between two looks at the clock."""

HOT, COLD = 0.1, 0.003
"""First and last temperature, x the busiest resource's work for one microbatch."""

MANY = 500
"""Tasks from which on the first temperature is lower, the more there are."""

STRANDS = 2
"""Annealings side by side."""

WIDE = 0.3
"""Share of moves that go past more than one task."""

REACH = 4


class Parts(NamedTuple):
    """What playing an order needs, as flat arrays (see ``kernel.Arrays``)."""

    tasks: Ints  # of each class
    ticks: Floats
    tail: Floats  # ticks that must follow a task's end
    res_ptr: Ints
    res: Ints
    pred_ptr: Ints
    pred: Ints
    succ_ptr: Ints
    succ: Ints
    hold_device: Ints
    hold_size: Floats
    rel_ptr: Ints
    rel: Ints
    relof_ptr: Ints
    relof: Ints
    alloc_ptr: Ints
    alloc: Ints
    available: Floats


@numba.njit(cache=True, nogil=True)
def play(p, seq_ptr, seq, limit, start, turn, cause, place):  # type: ignore[no-untyped-def]
    """Play the orders ``seq[seq_ptr[r]:seq_ptr[r + 1]]`` (class after class) of all resources.

    Fills, for every task: its start (ticks), the how-manieth start it was, the task whose end let it start
    (class x width + index; -1 at time 0), and its place in ``seq``. Returns the makespan and the task that ends
    last; the makespan is inf as soon as it must exceed ``limit``, -1 where nothing can go on.
    """
    n, n_resources, width = len(p.tasks), len(seq_ptr) - 1, start.shape[1]
    started = np.zeros(n, dtype=np.int64)
    done = np.zeros(n, dtype=np.int64)
    busy = np.zeros(n_resources, dtype=np.bool_)
    at = seq_ptr[:-1].copy()
    used = np.zeros(len(p.available))
    released = np.zeros(len(p.hold_size), dtype=np.int64)
    wants_memory = np.full(n_resources, -1)  # the device whose memory a resource waits for
    to_look_at = np.arange(n_resources)
    queued = np.ones(n_resources, dtype=np.bool_)
    n_queued = n_resources
    events = [(0.0, 0)]
    events.pop()
    todo = p.tasks.sum()
    now, makespan, ender, last, turns = 0.0, 0.0, -1, -1, 0
    while todo > 0:
        while n_queued > 0:
            n_queued -= 1
            r = to_look_at[n_queued]
            queued[r] = False
            if busy[r] or at[r] >= seq_ptr[r + 1]:
                continue
            a = seq[at[r]]
            k = started[a]
            good = k < p.tasks[a]
            for y in range(p.res_ptr[a], p.res_ptr[a + 1]):
                q = p.res[y]
                if busy[q] or at[q] >= seq_ptr[q + 1] or seq[at[q]] != a:
                    good = False
                    break
            if not good:
                continue
            for y in range(p.pred_ptr[a], p.pred_ptr[a + 1]):
                if done[p.pred[y]] <= k:
                    good = False
                    break
            if not good:
                continue
            if p.alloc_ptr[a] < p.alloc_ptr[a + 1]:
                d = p.hold_device[p.alloc[p.alloc_ptr[a]]]
                size = 0.0
                for y in range(p.alloc_ptr[a], p.alloc_ptr[a + 1]):
                    size += p.hold_size[p.alloc[y]]
                if used[d] + size > p.available[d]:
                    wants_memory[r] = d
                    continue
                used[d] += size
            end = now + p.ticks[a]
            if end + p.tail[a] > limit:
                return np.inf, -1
            start[a, k] = now
            turn[a, k] = turns
            turns += 1
            cause[a, k] = ender
            place[a, k] = at[p.res[p.res_ptr[a]]]
            if end >= makespan:
                makespan = end
                last = a * width + k
            started[a] = k + 1
            for y in range(p.res_ptr[a], p.res_ptr[a + 1]):
                q = p.res[y]
                busy[q] = True
                at[q] += 1
                wants_memory[q] = -1
            heapq.heappush(events, (end, a))
        if len(events) == 0:
            return -1.0, -1
        now, a = heapq.heappop(events)
        k = done[a]
        done[a] = k + 1
        todo -= 1
        ender = a * width + k
        for y in range(p.res_ptr[a], p.res_ptr[a + 1]):
            r = p.res[y]
            busy[r] = False
            if not queued[r]:
                queued[r] = True
                to_look_at[n_queued] = r
                n_queued += 1
            if at[r] < seq_ptr[r + 1]:  # what is next here may wait for other resources, too
                b = seq[at[r]]
                for z in range(p.res_ptr[b], p.res_ptr[b + 1]):
                    q = p.res[z]
                    if not queued[q]:
                        queued[q] = True
                        to_look_at[n_queued] = q
                        n_queued += 1
        for y in range(p.succ_ptr[a], p.succ_ptr[a + 1]):
            b = p.succ[y]
            if started[b] == k:
                for z in range(p.res_ptr[b], p.res_ptr[b + 1]):
                    q = p.res[z]
                    if not queued[q]:
                        queued[q] = True
                        to_look_at[n_queued] = q
                        n_queued += 1
        for y in range(p.relof_ptr[a], p.relof_ptr[a + 1]):
            h = p.relof[y]
            out = done[p.rel[p.rel_ptr[h]]]
            for z in range(p.rel_ptr[h], p.rel_ptr[h + 1]):
                out = min(out, done[p.rel[z]])
            if out > released[h]:
                d = p.hold_device[h]
                used[d] -= p.hold_size[h] * (out - released[h])
                released[h] = out
                for r in range(n_resources):
                    if wants_memory[r] == d and not queued[r]:
                        queued[r] = True
                        to_look_at[n_queued] = r
                        n_queued += 1
    return makespan, last


@numba.njit(cache=True, nogil=True)
def shift(seq, i, j):  # type: ignore[no-untyped-def]
    """Move the element at i to j; those between make room."""
    moved = seq[i]
    step = 1 if i < j else -1
    for x in range(i, j, step):
        seq[x] = seq[x + step]
    seq[j] = moved


@numba.njit(cache=True, nogil=True)
def waits(p, seq, owner, last, cause, place, first, second):  # type: ignore[no-untyped-def]
    """Pairs on one resource of which the second waits for the first along the critical path; their number."""
    width = cause.shape[1]
    found = 0
    task = last
    while task >= 0:
        a, k = task // width, task % width
        before = cause[a, k]
        if before >= 0 and before // width != a:
            x, y = place[before // width, before % width], place[a, k]
            if owner[x] == owner[y]:
                first[found], second[found] = x, y
                found += 1
        task = before
    return found


@numba.njit(cache=True, nogil=True)
def _move(seq, i, j, lo, length, times):  # type: ignore[no-untyped-def]
    """Move the element at i to j, in every repetition of the block at ``lo`` if they are in it.

    False, and nothing moved, where that would cross an end of the block or of a repetition.
    """
    past = lo + length * times
    if (i < lo) != (j < lo) or (i < past) != (j < past):
        return False
    if i < lo or i >= past:
        shift(seq, i, j)
        return True
    if (i - lo) // length != (j - lo) // length:
        return False
    x, y = (i - lo) % length, (j - lo) % length
    for t in range(times):
        shift(seq, lo + t * length + x, lo + t * length + y)
    return True


@numba.njit(cache=True, nogil=True)
def anneal(  # type: ignore[no-untyped-def]
    p, seq_ptr, seq, best_seq, owner, lo, length, times, begin, end, total, hot, cold, goal, rng
):  # fmt: skip
    """Iterations ``begin`` to ``end`` of ``total``, from ``seq``; the makespan (ticks) of the best order so far.

    The temperature falls geometrically from ``hot`` to ``cold`` ticks over the total. ``best_seq`` is replaced where
    something better is found. Ends at once where ``goal`` is reached. On resource r a block of ``length[r]`` classes
    at ``lo[r]`` comes ``times`` times in a row; all its repetitions stay alike.
    """
    n, width = len(p.tasks), p.tasks.max()
    start, start_2 = np.zeros((n, width)), np.zeros((n, width))
    turn = np.zeros((n, width), dtype=np.int64)
    cause, cause_2 = np.zeros((n, width), dtype=np.int64), np.zeros((n, width), dtype=np.int64)
    place, place_2 = np.zeros((n, width), dtype=np.int64), np.zeros((n, width), dtype=np.int64)
    first, second = np.zeros(n * width, dtype=np.int64), np.zeros(n * width, dtype=np.int64)
    best, _ = play(p, seq_ptr, best_seq, np.inf, start, turn, cause, place)
    value, last = play(p, seq_ptr, seq, np.inf, start, turn, cause, place)
    if value < 0 or value <= goal:
        return value if value >= 0 else best
    found = waits(p, seq, owner, last, cause, place, first, second)
    for step in range(begin, end):
        if found == 0 or best <= goal:
            break
        c = int(rng.random() * found)
        i, j = first[c], second[c]
        r = owner[i]
        if rng.random() < WIDE:
            further = int(rng.random() * REACH)
            if rng.random() < 0.5:
                i = max(seq_ptr[r], i - further)
            else:
                j = min(seq_ptr[r + 1] - 1, j + further)
        if rng.random() < 0.5:
            i, j = j, i
        temperature = hot * (cold / hot) ** (step / total)
        limit = value - temperature * np.log(1.0 - rng.random()) + 1e-9
        if not _move(seq, i, j, lo[r], length[r], times):
            continue
        then, then_last = play(p, seq_ptr, seq, limit, start_2, turn, cause_2, place_2)
        if then < 0 or then > limit:
            _move(seq, j, i, lo[r], length[r], times)
            continue
        value, last = then, then_last
        start, start_2 = start_2, start
        cause, cause_2 = cause_2, cause
        place, place_2 = place_2, place
        found = waits(p, seq, owner, last, cause, place, first, second)
        if value < best:
            best = value
            best_seq[:] = seq
    return best


_play: Callable[..., tuple[float, int]] = play
_anneal: Callable[..., float] = anneal


@dataclass(frozen=True)
class Orders:
    """The orders of a schedule: ``seq[seq_ptr[r]:seq_ptr[r + 1]]`` are the classes that resource r runs, in turn.

    On resource r a block of ``length[r]`` classes at ``lo[r]`` (in ``seq``) comes ``times`` times in a row.
    """

    seq_ptr: Ints
    seq: Ints
    lo: Ints
    length: Ints
    times: int = 1

    @staticmethod
    def of(classes: Classes, start: Floats, turn: Ints | None = None) -> Orders:
        """The orders of given starts (classes, largest count); at one instant by ``turn``, or inputs first."""
        rank = np.empty(classes.n, dtype=np.int64)
        rank[list(classes.topological)] = np.arange(classes.n)
        rank += np.where(classes.ticks > 0, classes.n, 0)  # what takes no time comes first
        on: list[list[tuple[float, int, int, int]]] = [[] for _ in range(classes.n_resources)]
        for a in range(classes.n):
            for k in range(int(classes.count[a])):
                tie = int(rank[a] if turn is None else turn[a, k])
                for r in classes.resources[a]:
                    on[r].append((float(start[a, k]), tie, k, a))
        return Orders.plain(*rows([[a for *_, a in sorted(here)] for here in on]))

    @staticmethod
    def plain(seq_ptr: Ints, seq: Ints) -> Orders:
        """Orders without a block."""
        return Orders(seq_ptr, seq, seq_ptr[1:], np.zeros(len(seq_ptr) - 1, dtype=np.int64))

    def with_block(self, classes: Classes, start: Floats, begin: float, end: float) -> Orders:
        """The same orders, with what starts from ``begin`` to before ``end`` as their block."""
        before, within = (
            np.array(
                [
                    int(sum(((start[a] >= low) & (start[a] < high)).sum() for a in here))
                    for here in self._classes_on(classes)
                ],
                dtype=np.int64,
            )
            for low, high in ((-np.inf, begin), (begin, end))
        )
        return Orders(self.seq_ptr, self.seq, self.seq_ptr[:-1] + before, within)

    def _classes_on(self, classes: Classes) -> list[list[int]]:
        return [[a for a in range(classes.n) if r in classes.resources[a]] for r in range(classes.n_resources)]

    def repeated(self, times: int) -> Orders:
        """The orders with the block run ``times`` times."""
        parts: list[list[int]] = []
        for r in range(len(self.seq_ptr) - 1):
            begin, end = int(self.lo[r]), int(self.lo[r] + self.length[r])
            past = end + int(self.length[r]) * (self.times - 1)
            before, after = self.seq[self.seq_ptr[r] : begin], self.seq[past : self.seq_ptr[r + 1]]
            parts.append([*before.tolist(), *self.seq[begin:end].tolist() * times, *after.tolist()])
        seq_ptr, seq = rows(parts)
        return Orders(seq_ptr, seq, seq_ptr[:-1] + (self.lo - self.seq_ptr[:-1]), self.length, times)


@dataclass(frozen=True)
class OrderSearch:
    """Annealing over the orders of one set of classes; ``unit`` (ticks) is what temperatures are multiples of."""

    classes: Classes
    parts: Parts
    unit: float

    @staticmethod
    def of(classes: Classes, arrays: Arrays, unit: float) -> OrderSearch:
        """Prepare for classes whose flat form is ``arrays``."""
        fields: dict[str, Any] = {name: getattr(arrays, name) for name in Parts._fields if name != "tasks"}
        parts = Parts(tasks=arrays.count, **fields)
        return OrderSearch(classes, parts, unit)

    def play(self, orders: Orders) -> Run:
        """The schedule of given orders; its makespan is -1 where they block each other."""
        shape = (self.classes.n, int(self.classes.count.max()))
        start, turn = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
        cause, place = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        makespan, _ = _play(self.parts, orders.seq_ptr, orders.seq, np.inf, start, turn, cause, place)
        return Run(makespan, start, turn)

    def improve(
        self,
        begin: Run,
        control: Control,
        goal: float,
        rngs: Sequence[np.random.Generator],
        hot: float = HOT,
        threads: int = 1,
    ) -> Run | None:
        """Annealings from the orders of ``begin``: the best schedule met; None where they block each other.

        One for each generator, side by side. Stops at ``goal`` ticks. ``hot`` is the first temperature, in units of
        the search.
        """
        orders = self.anneal(Orders.of(self.classes, begin.start, begin.turn), control, goal, rngs, hot, threads)
        return None if orders is None else self.play(orders)

    def anneal(
        self,
        orders: Orders,
        control: Control,
        goal: float,
        rngs: Sequence[np.random.Generator],
        hot: float = HOT,
        threads: int = 1,
    ) -> Orders | None:
        """Annealings from given orders, their blocks kept alike; the best orders met, as in ``improve``."""
        if self.play(orders).makespan < 0:
            return None
        owner = np.repeat(np.arange(len(orders.seq_ptr) - 1), np.diff(orders.seq_ptr))
        strands = [(orders.seq.copy(), orders.seq.copy(), rng) for rng in rngs]
        total = max(1, min(ITERATIONS_AT_MOST, PLAYED_AT_MOST // self.classes.n_tasks))
        slice_ = max(1, SLICE // self.classes.n_tasks)
        hot *= min(1.0, MANY / self.classes.n_tasks)  # there is no time to cool many tasks down from a disorder
        temperatures = (hot * self.unit, min(hot / 10, COLD) * self.unit)

        def go_on(step: int, strand: tuple[Ints, Ints, np.random.Generator]) -> float:
            seq, best, rng = strand
            return _anneal(
                self.parts, orders.seq_ptr, seq, best, owner, orders.lo, orders.length, orders.times,
                step, min(total, step + slice_), total, *temperatures, goal, rng,
            )  # fmt: skip

        reached = [np.inf] * len(strands)
        for step in range(0, total, slice_):
            if control.over:
                break
            reached = side_by_side(partial(go_on, step), strands, threads)
            if min(reached) <= goal:
                break
        return replace(orders, seq=strands[int(np.argmin(reached))][1])
