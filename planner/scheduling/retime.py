"""Exact start times from an order: everything as early as its order, its inputs and memory let it.

The searches of level 2 count time in ticks; what they decide is an order. Here the times are computed again in
seconds, each start being the latest of the ends that it waits for, so that no rounding is left in a plan.
"""

from __future__ import annotations

import heapq

import numpy as np

from planner.common.compiled import compiled
from planner.common.ragged import rows
from planner.scheduling.classes import Classes, Floats, Ints


def retime(classes: Classes, start: Floats, turn: Ints | Floats | None = None) -> Floats | None:
    """Starts in seconds for a schedule in ticks, both shaped (classes, largest count).

    ``turn``: the order in which starts at one instant were decided, where that is known.

    Keeps the order of starts on every resource and the order in which memory is taken on every device. Where the
    schedule is valid, by induction nothing starts later than in it (times the tick), rounding aside. Where it
    left out memory or channels, they are respected now; None where memory does not allow that order.
    """
    if turn is None:
        turn = _inputs_first(classes, start.shape)
    takes: list[list[int]] = [[] for _ in range(classes.n)]
    frees: list[list[int]] = [[] for _ in range(classes.n)]
    for h, hold in enumerate(classes.holds):
        takes[hold.alloc].append(h)
        for a in hold.releases:
            frees[a].append(h)
    seconds = np.full(start.shape, np.nan)
    fits = _play(
        seconds,
        np.ascontiguousarray(start, dtype=np.float64),
        np.ascontiguousarray(turn, dtype=np.float64),  # whole numbers far below 2 ** 53
        classes.count,
        np.ascontiguousarray(classes.seconds, dtype=np.float64),
        *rows(classes.resources),
        classes.n_resources,
        *rows(classes.preds),
        *rows(classes.succs),
        *rows(takes),
        *rows(frees),
        np.array([hold.device for hold in classes.holds], dtype=np.int64),
        np.array([hold.size for hold in classes.holds], dtype=np.float64),
        np.array([len(hold.releases) for hold in classes.holds], dtype=np.int64),
        np.ascontiguousarray(classes.available, dtype=np.float64),
    )
    return seconds if fits else None


def _inputs_first(classes: Classes, shape: tuple[int, ...]) -> Ints:
    """Turns at one instant: what takes no time comes first, then inputs before what reads them."""
    rank = np.empty(classes.n, dtype=np.int64)
    rank[list(classes.topological)] = np.arange(classes.n)
    later = (classes.ticks > 0) * np.int64(shape[0] * shape[1]) + rank
    turn: Ints = later[:, None] * shape[1] + np.arange(shape[1])[None, :]
    return turn


@compiled()
def _play(  # type: ignore[no-untyped-def]
    seconds, start, turn, count, lasts, res_ptr, res, n_resources, pred_ptr, pred, succ_ptr, succ, take_ptr, take,
    free_ptr, free, hold_device, hold_size, hold_releases, room,
):  # fmt: skip
    """Fill ``seconds``; False where memory does not allow the order.

    In order of (start, turn), but never before what a task waits for: where rounding (or a solver's tolerance)
    has put a task slightly before its input, the input still comes first.
    """
    n, most = start.shape
    waiting = np.zeros((n, most), dtype=np.int64)
    queue = [(0.0, 0.0, 0, 0)]
    queue.pop()
    for a in range(n):
        for k in range(count[a]):
            waiting[a, k] = pred_ptr[a + 1] - pred_ptr[a] + (1 if k > 0 else 0)
            if waiting[a, k] == 0:
                heapq.heappush(queue, (start[a, k], turn[a, k], k, a))
    idle_from = np.zeros(n_resources)
    used = np.zeros(len(room))
    latest_take = np.zeros(len(room))  # the last instant at which memory was taken on a device
    releases = [[(0.0, 0.0)] for _ in range(len(room))]  # heaps of (instant, bytes)
    for heap in releases:
        heap.pop()
    holders = np.zeros((len(hold_size), most), dtype=np.int64)  # of a hold: those that have ended, and
    latest_end = np.zeros((len(hold_size), most))  # the latest end of them
    while queue:
        _, _, k, a = heapq.heappop(queue)
        begin = 0.0
        for x in range(res_ptr[a], res_ptr[a + 1]):
            begin = max(begin, idle_from[res[x]])
        for x in range(pred_ptr[a], pred_ptr[a + 1]):
            b = pred[x]
            begin = max(begin, seconds[b, k + count[b] - count[a]] + lasts[b])
        if take_ptr[a] < take_ptr[a + 1]:
            d = hold_device[take[take_ptr[a]]]
            size = 0.0
            for x in range(take_ptr[a], take_ptr[a + 1]):
                size += hold_size[take[x]]
            begin = max(begin, latest_take[d])
            heap = releases[d]
            while heap and (heap[0][0] <= begin or used[d] + size > room[d]):
                instant, released = heapq.heappop(heap)
                used[d] -= released
                begin = max(begin, instant)
            if used[d] + size > room[d]:
                return False
            used[d] += size
            latest_take[d] = begin
        seconds[a, k] = begin
        end = begin + lasts[a]
        for x in range(res_ptr[a], res_ptr[a + 1]):
            idle_from[res[x]] = end
        for x in range(free_ptr[a], free_ptr[a + 1]):  # memory is free once all that hold it have ended
            h = free[x]
            holders[h, k] += 1
            latest_end[h, k] = max(latest_end[h, k], end)
            if holders[h, k] == hold_releases[h]:
                heapq.heappush(releases[hold_device[h]], (latest_end[h, k], hold_size[h]))
        for x in range(succ_ptr[a], succ_ptr[a + 1]):
            b = succ[x]
            m = k + count[b] - count[a]
            if m >= 0:
                waiting[b, m] -= 1
                if waiting[b, m] == 0:
                    heapq.heappush(queue, (start[b, m], turn[b, m], m, b))
        if k + 1 < count[a]:
            waiting[a, k + 1] -= 1
            if waiting[a, k + 1] == 0:
                heapq.heappush(queue, (start[a, k + 1], turn[a, k + 1], k + 1, a))
    return True
