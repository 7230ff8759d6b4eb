"""Local search on orders: simulated annealing along the critical path, compiled.

A schedule is decided by the order of the tasks on every stream and channel: played back, each task starts as soon as
its turn has come, its inputs are there and its memory is free. A move takes a task on the critical path that waits
for another one of its stream, or for memory that this one frees, and exchanges the two, or moves one of them past
the other and some more (the neighbourhood of van Laarhoven, Aarts and Lenstra's annealing for job shops, "Job Shop
Scheduling by Simulated Annealing", 1992, with insertions as in Balas and Vazacopoulos, 1998). An order that deadlocks
is not accepted. List scheduling shapes a schedule as a whole; annealing closes its last gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from planner.common.budget import Control
from planner.common.compiled import compiled
from planner.common.ragged import compressed, rows
from planner.common.threads import side_by_side
from planner.scheduling.classes import Classes, Floats, Ints
from planner.scheduling.containers import BARE
from planner.scheduling.list.arrays import Arrays
from planner.scheduling.list.kernel import Run
from planner.scheduling.orders.play import Parts, keep, play, resume, room, row_before
from planner.scheduling.params import SHIPPED, AnnealParams

ROWS, LEAST_TURNS = 32, 16
"""Snapshots of a schedule from which it can be played again, and the fewest turns between them."""

WIDE = 0.3
"""Share of moves that go past more than one task."""

REACH = 4


@compiled(**BARE)
def shift(seq, i, j):  # type: ignore[no-untyped-def]
    """Move the element at i to j; those between shift by one."""
    moved = seq[i]
    step = 1 if i < j else -1
    for x in range(i, j, step):
        seq[x] = seq[x + step]
    seq[j] = moved


@compiled(**BARE)
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


@compiled(nogil=True)
def follow(p, seq_ptr, seq, turn, in_turn, stands, places, rest):  # type: ignore[no-untyped-def]
    """Positions and longest paths of the tasks (class x width + index) of a played order.

    Fills ``in_turn`` (tasks by their turns), ``stands`` (which task stands at a place of ``seq``), ``places`` (where,
    by the entry of ``p.res`` and the index) and ``rest``, the longest path through inputs and orders after a task's
    end, in ticks. Waiting for memory is left out, which only makes it shorter.
    """
    width = turn.shape[1]
    met = np.zeros(len(p.tasks), dtype=np.int64)
    entry = np.zeros(len(p.tasks), dtype=np.int64)
    for r in range(len(seq_ptr) - 1):
        for x in range(seq_ptr[r], seq_ptr[r + 1]):
            a = seq[x]
            k = met[a] % p.tasks[a]  # a class stands as often in the order of each of its resources
            met[a] += 1
            if k == 0:
                for y in range(p.res_ptr[a], p.res_ptr[a + 1]):
                    if p.res[y] == r:
                        entry[a] = y
            stands[x] = a * width + k
            places[entry[a], k] = x
    for a in range(len(p.tasks)):
        for k in range(p.tasks[a]):
            in_turn[turn[a, k]] = a * width + k
    for x in range(len(in_turn) - 1, -1, -1):
        a, k = in_turn[x] // width, in_turn[x] % width
        longest = p.tail[a]
        for y in range(p.succ_ptr[a], p.succ_ptr[a + 1]):
            b = p.succ[y]
            m = k + p.tasks[b] - p.tasks[a]
            if m >= 0:
                longest = max(longest, p.ticks[b] + rest[b, m])
        for y in range(p.res_ptr[a], p.res_ptr[a + 1]):
            next_ = places[y, k] + 1
            if next_ < seq_ptr[p.res[y] + 1]:
                b = stands[next_] // width
                longest = max(longest, p.ticks[b] + rest[b, stands[next_] % width])
        rest[a, k] = longest


@compiled(**BARE)
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


@compiled(nogil=True)
def anneal(  # type: ignore[no-untyped-def]
    p, seq_ptr, seq, best_seq, owner, lo, length, times, begin, end, total, hot, cold, goal, rng
):  # fmt: skip
    """Iterations ``begin`` to ``end`` of ``total``, from ``seq``; the makespan (ticks) of the best order so far.

    The temperature falls geometrically from ``hot`` to ``cold`` ticks over the total. ``best_seq`` is replaced where
    something better is found. Ends at once where ``goal`` is reached. On resource r a block of ``length[r]`` classes
    at ``lo[r]`` comes ``times`` times in a row; all its repetitions stay alike.
    """
    n, width, tasks = len(p.tasks), p.tasks.max(), p.tasks.sum()
    start, start_2 = np.zeros((n, width)), np.zeros((n, width))
    turn, turn_2 = np.zeros((n, width), dtype=np.int64), np.zeros((n, width), dtype=np.int64)
    cause, cause_2 = np.zeros((n, width), dtype=np.int64), np.zeros((n, width), dtype=np.int64)
    place, place_2 = np.zeros((n, width), dtype=np.int64), np.zeros((n, width), dtype=np.int64)
    first, second = np.zeros(n * width, dtype=np.int64), np.zeros(n * width, dtype=np.int64)
    rest = np.zeros((n, width))
    in_turn, stands = np.zeros(tasks, dtype=np.int64), np.zeros(len(seq), dtype=np.int64)
    places = np.zeros((len(p.res), width), dtype=np.int64)
    seen, taken = room(p, len(seq_ptr) - 1, ROWS), room(p, len(seq_ptr) - 1, ROWS)
    every = max(LEAST_TURNS, tasks // ROWS + 1)
    best, _ = play(p, seq_ptr, best_seq, np.inf, start, turn, cause, place)
    value, last, rows = resume(
        p, seq_ptr, seq, np.inf, start, turn, cause, place, start, np.inf, rest, seen, -1, seen, every
    )
    if value < 0 or value <= goal:
        return value if value >= 0 else best
    follow(p, seq_ptr, seq, turn, in_turn, stands, places, rest)
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
        low, high = min(i, j), max(i, j)
        if lo[r] <= low < lo[r] + length[r] * times:  # the first and the last place that has changed
            low, high = lo[r] + (low - lo[r]) % length[r], lo[r] + length[r] * (times - 1) + (high - lo[r]) % length[r]
        after = start[stands[high] // width, stands[high] % width]
        row = row_before(seen, rows, r, low)
        then, then_last, then_rows = resume(
            p, seq_ptr, seq, limit, start_2, turn_2, cause_2, place_2, start, after, rest, seen, row, taken, every
        )
        if then < 0 or then > limit:
            _move(seq, j, i, lo[r], length[r], times)
            continue
        value, last = then, then_last
        for x in range(seen.numbers[row, 0] if row >= 0 else 0, tasks):  # what has been played again
            a, k = in_turn[x] // width, in_turn[x] % width
            start[a, k], turn[a, k], cause[a, k], place[a, k] = (
                start_2[a, k], turn_2[a, k], cause_2[a, k], place_2[a, k]
            )  # fmt: skip
        keep(seen, taken, row + 1, then_rows)
        rows = then_rows
        follow(p, seq_ptr, seq, turn, in_turn, stands, places, rest)
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
        ptr, flat = rows(classes.resources)
        owner = np.repeat(np.arange(classes.n), np.diff(ptr))
        entry = np.argsort(rank[owner], kind="stable")
        times = classes.count[owner[entry]]
        at = np.repeat(entry, times)  # of each task on each of its resources
        k = np.arange(len(at)) - np.repeat(np.cumsum(times) - times, times)
        a, r = owner[at], flat[at]
        order = np.argsort(start[a, k], kind="stable") if turn is None else np.lexsort((turn[a, k], start[a, k]))
        return Orders.plain(*compressed(r[order], a[order], classes.n_resources))

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
    """Annealing over the orders of one set of classes; ``unit()`` (ticks) is what temperatures are multiples of."""

    classes: Classes
    parts: Parts
    unit: Callable[[], float]
    params: AnnealParams = SHIPPED.anneal

    @staticmethod
    def of(
        classes: Classes, arrays: Arrays, unit: Callable[[], float], params: AnnealParams = SHIPPED.anneal
    ) -> OrderSearch:
        """Prepare for classes whose flat form is ``arrays``."""
        fields: dict[str, Any] = {name: getattr(arrays, name) for name in Parts._fields if name != "tasks"}
        parts = Parts(tasks=arrays.count, **fields)
        return OrderSearch(classes, parts, unit, params)

    def play(self, orders: Orders) -> Run:
        """The schedule of given orders; its makespan is -1 where they deadlock."""
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
        hot: float | None = None,
        threads: int = 1,
    ) -> Run | None:
        """Annealings from the orders of ``begin``: the best schedule met; None where they deadlock.

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
        hot: float | None = None,
        threads: int = 1,
    ) -> Orders | None:
        """Annealings from given orders, their blocks kept alike; the best orders met, as in ``improve``."""
        if self.play(orders).makespan < 0:
            return None
        params, tasks = self.params, self.classes.n_tasks
        owner = np.repeat(np.arange(len(orders.seq_ptr) - 1), np.diff(orders.seq_ptr))
        walkers = [(orders.seq.copy(), orders.seq.copy(), rng) for rng in rngs]
        total = max(1, min(params.iterations_at_most, params.played_at_most // tasks))
        slice_ = max(1, params.slice // tasks)
        # with many tasks there is no time to cool down from a high temperature
        hot = (params.hot if hot is None else hot) * min(1.0, params.cooler_from / tasks)
        unit = self.unit()
        temperatures = (hot * unit, min(hot / 10, params.cold) * unit)

        def go_on(step: int, walker: tuple[Ints, Ints, np.random.Generator]) -> float:
            seq, best, rng = walker
            return _anneal(
                self.parts, orders.seq_ptr, seq, best, owner, orders.lo, orders.length, orders.times,
                step, min(total, step + slice_), total, *temperatures, goal, rng,
            )  # fmt: skip

        reached = [np.inf] * len(walkers)
        for step in range(0, total, slice_):
            if control.over:
                break
            reached = side_by_side(partial(go_on, step), walkers, threads)
            control.spend(min(total - step, slice_) * len(walkers))
            if min(reached) <= goal:
                break
        return replace(orders, seq=walkers[int(np.argmin(reached))][1])
