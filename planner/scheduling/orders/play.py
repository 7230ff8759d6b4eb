"""Plays the orders of a schedule, compiled: all starts, if each resource runs its tasks in a given order.

A changed order need not be played from the beginning: up to the change everything stays as it was. Most changes make a
schedule longer. This shows soon after the change, since the longest path after each task of the old schedule is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.common.compiled import compiled
from planner.scheduling.classes import Floats, Ints
from planner.scheduling.containers import BARE, pop, push


class Parts(NamedTuple):
    """What playing an order needs, as flat arrays (see ``arrays.Arrays``)."""

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


class Snapshots(NamedTuple):
    """The state of a play at some moments, a row each, in order of time: ``resume`` continues from one."""

    numbers: Ints  # rows x (turns, tasks to do, last to end, ended just now, queued, running)
    times: Floats  # rows x (now, makespan)
    classes: Ints  # rows x (started, done) x classes
    resources: Ints  # rows x (place in the order, busy, memory waited for, queued, the queue) x resources
    used: Floats  # rows x devices
    released: Ints  # rows x holds
    ends: Floats  # rows x resources: of what runs
    runs: Ints


@compiled(nogil=True)
def room(p, n_resources, rows):  # type: ignore[no-untyped-def]
    """Empty rows for snapshots."""
    return Snapshots(
        np.zeros((rows, 6), dtype=np.int64),
        np.zeros((rows, 2)),
        np.zeros((rows, 2, len(p.tasks)), dtype=np.int64),
        np.zeros((rows, 5, n_resources), dtype=np.int64),
        np.zeros((rows, len(p.available))),
        np.zeros((rows, len(p.hold_size)), dtype=np.int64),
        np.zeros((rows, n_resources)),
        np.zeros((rows, n_resources), dtype=np.int64),
    )


@compiled(nogil=True)
def keep(into, taken, first, past):  # type: ignore[no-untyped-def]
    """Replace rows ``first`` to ``past`` of some snapshots by those of others."""
    into.numbers[first:past] = taken.numbers[first:past]
    into.times[first:past] = taken.times[first:past]
    into.classes[first:past] = taken.classes[first:past]
    into.resources[first:past] = taken.resources[first:past]
    into.used[first:past] = taken.used[first:past]
    into.released[first:past] = taken.released[first:past]
    into.ends[first:past] = taken.ends[first:past]
    into.runs[first:past] = taken.runs[first:past]


@compiled(**BARE)
def row_before(seen, rows, r, x):  # type: ignore[no-untyped-def]
    """The last of ``rows`` snapshots that does not depend on place ``x`` in the order of resource r; -1 if none."""
    for row in range(rows - 1, -1, -1):
        at = seen.resources[row, 0, r]
        if at < x or (at == x and seen.resources[row, 1, r]):
            return row
    return -1


@compiled(**BARE)
def _queue(p, a, queued, to_look_at, n_queued):  # type: ignore[no-untyped-def]
    """Queue the resources of class a; how many are queued then."""
    for y in range(p.res_ptr[a], p.res_ptr[a + 1]):
        r = p.res[y]
        if not queued[r]:
            queued[r] = True
            to_look_at[n_queued] = r
            n_queued += 1
    return n_queued


@compiled(nogil=True)
def play(p, seq_ptr, seq, limit, start, turn, cause, place):  # type: ignore[no-untyped-def]
    """Play the orders ``seq[seq_ptr[r]:seq_ptr[r + 1]]`` (class after class) of all resources.

    Fills, for every task: its start (ticks), the rank of its start among all, the task whose end let it start
    (class x width + index; -1 at time 0), and its place in ``seq``. Returns the makespan and the task that ends
    last; the makespan is inf as soon as it must exceed ``limit``, -1 on deadlock.
    """
    none = room(p, len(seq_ptr) - 1, 0)
    makespan, last, _ = resume(
        p, seq_ptr, seq, limit, start, turn, cause, place, start, np.inf, start, none, -1, none, 0
    )
    return makespan, last


@compiled(nogil=True)
def resume(  # type: ignore[no-untyped-def]
    p, seq_ptr, seq, limit, start, turn, cause, place, before, after, rest, seen, row, taken, every
):  # fmt: skip
    """Play orders from a snapshot on: row ``row`` of ``seen``, or from the beginning where that is -1.

    As ``play``; what has started before the snapshot is not filled in. In the schedule from which the orders were
    changed, tasks started at ``before`` and were followed by ``rest`` ticks at least. Nothing has changed for those
    that started later than ``after``, so the play also ends where one of them comes too late. Fills the rows of
    ``taken`` that follow, one for every so many turns; also returns how many rows there are then.
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
    ends = np.zeros(n_resources)  # of what is running, and its classes: a heap
    runs = np.zeros(n_resources, dtype=np.int64)
    running = 0
    todo = p.tasks.sum()
    now, makespan, ender, last, turns = 0.0, 0.0, -1, -1, 0
    if row >= 0:
        turns, todo, last = seen.numbers[row, 0], seen.numbers[row, 1], seen.numbers[row, 2]
        ender, n_queued, running = seen.numbers[row, 3], seen.numbers[row, 4], seen.numbers[row, 5]
        now, makespan = seen.times[row, 0], seen.times[row, 1]
        started[:], done[:] = seen.classes[row, 0], seen.classes[row, 1]
        at[:], wants_memory[:], to_look_at[:] = (
            seen.resources[row, 0], seen.resources[row, 2], seen.resources[row, 4]
        )  # fmt: skip
        for r in range(n_resources):
            busy[r], queued[r] = seen.resources[row, 1, r] > 0, seen.resources[row, 3, r] > 0
        used[:], released[:] = seen.used[row], seen.released[row]
        ends[:running], runs[:running] = seen.ends[row, :running], seen.runs[row, :running]
    rows, mark = row + 1, turns + every
    while todo > 0:
        if turns >= mark and rows < len(taken.numbers):
            numbers = taken.numbers[rows]
            numbers[0], numbers[1], numbers[2] = turns, todo, last
            numbers[3], numbers[4], numbers[5] = ender, n_queued, running
            taken.times[rows, 0], taken.times[rows, 1] = now, makespan
            taken.classes[rows, 0], taken.classes[rows, 1] = started, done
            for r in range(n_resources):
                here = taken.resources[rows, :, r]
                here[0], here[1], here[2], here[3], here[4] = at[r], busy[r], wants_memory[r], queued[r], to_look_at[r]
            taken.used[rows], taken.released[rows] = used, released
            taken.ends[rows, :running], taken.runs[rows, :running] = ends[:running], runs[:running]
            rows += 1
            mark = turns + every
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
                if done[p.pred[y]] <= k + p.tasks[p.pred[y]] - p.tasks[a]:
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
            if end + p.tail[a] > limit or (before[a, k] > after and end + rest[a, k] > limit):
                return np.inf, -1, rows
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
            running = push(ends, runs, running, end, a)
        if running == 0:
            return -1.0, -1, rows
        now, a = ends[0], runs[0]
        running = pop(ends, runs, running)
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
                n_queued = _queue(p, b, queued, to_look_at, n_queued)
        for y in range(p.succ_ptr[a], p.succ_ptr[a + 1]):
            b = p.succ[y]
            if started[b] == k + p.tasks[b] - p.tasks[a]:
                n_queued = _queue(p, b, queued, to_look_at, n_queued)
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
    return makespan, last, rows
