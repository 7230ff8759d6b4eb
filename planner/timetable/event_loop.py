"""The event-driven simulation of a ``Network``: everything as early as orders, channels and memory allow.

Written in what numba compiles. Large networks run it compiled; a small one is played by the interpreter before numba
is even loaded, with the same result to the last bit, since times are only ever added and compared.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

INTERPRETED = 4_000
"""Nodes up to which a network is played without numba: 2 us each, where numba takes 0.4 s to be ready."""


def simulation(nodes: int) -> Callable[..., Any]:
    """``simulate`` in the form that is faster for so many nodes."""
    return interpreted if nodes <= INTERPRETED and "numba" not in sys.modules else compiled()


def interpreted(*arrays: npt.NDArray[np.generic]) -> Any:
    """``simulate`` as it is, with arrays as lists, which the interpreter reads twice as fast."""
    return simulate(*(a.tolist() if a.ndim == 1 and len(a) else a for a in arrays))  # type: ignore[no-untyped-call]


@cache
def compiled() -> Callable[..., Any]:
    """``simulate`` as machine code."""
    from planner.common import compiled as code  # numba: here, so that small networks do without

    function: Callable[..., Any] = code.compiled()(simulate)
    return function


# The arguments, besides those that ``Network`` explains; rows are compressed: ``x[x_ptr[k]:x_ptr[k + 1]]``.
#   queued[c]       nodes on channel c
#   occupies[node]  up to two lanes that a node on a channel takes besides, else -1
#   missing[node]   nodes that must end before it
#   free[d]         bytes; needs_on[node] -1: the node needs none; place[node]: its place among those whose
#                   order of allocation on their device is fixed, else -1
#   group           release groups that a node's end is waited for in; group g gives back[g] bytes to device
#                   back_to[g] once left[g] nodes have ended


def simulate(  # type: ignore[no-untyped-def]
    seconds,
    lane_of,
    lane_ptr,
    lane_nodes,
    channel_of,
    queued,
    occupies,
    follower_ptr,
    follower,
    missing,
    free,
    needs_on,
    needs,
    place,
    group_ptr,
    group,
    left,
    back_to,
    back,
):
    """Starts of all nodes (NaN: never) and how many have ended."""
    n, n_lanes, n_channels = len(seconds), len(lane_ptr) - 1, len(queued)
    start = np.full(n, np.nan)
    missing, free, left = missing.copy(), free.copy(), left.copy()
    turn = lane_ptr[:-1].copy()  # the next node of each lane
    idle = np.ones(n_lanes, dtype=np.bool_)
    claimed = np.zeros(n_lanes, dtype=np.int64)  # ready transfers that a lane has to let go first
    touched = [lane for lane in range(n_lanes)]  # noqa: C416  (numba knows no list(range))
    # Ready nodes of each channel, by the time they became ready, then by number; each has its stretch of ``queue``.
    first = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(queued)))
    head, end_of = first[:-1].copy(), first[:-1].copy()
    queue = np.empty(first[-1], dtype=np.int64)
    ready = np.empty(first[-1])
    serving = np.zeros(n_channels, dtype=np.bool_)
    waiting = 0  # nodes in all queues
    next_place = np.zeros(len(free), dtype=np.int64)
    arrived = [node for node in range(n) if channel_of[node] >= 0 and missing[node] == 0]  # to be queued now
    events = [(0.0, 0)]
    events.pop()
    heads = [(0.0, 0)]
    heads.pop()
    now, ended = 0.0, 0
    while True:
        for node in arrived:
            c = channel_of[node]
            at = end_of[c]
            while at > head[c] and ready[at - 1] == now and queue[at - 1] > node:
                queue[at], ready[at] = queue[at - 1], ready[at - 1]
                at -= 1
            queue[at], ready[at] = node, now
            end_of[c] += 1
            waiting += 1
            for lane in occupies[node]:
                if lane >= 0:
                    claimed[lane] += 1
        arrived.clear()
        if waiting:
            # Heads of the queues, the longest ready first: several may want the same exclusive device.
            for c in range(n_channels):
                if not serving[c] and head[c] < end_of[c]:
                    heapq.heappush(heads, (ready[head[c]], queue[head[c]]))
            while heads:
                node = heapq.heappop(heads)[1]
                if (occupies[node, 0] >= 0 and not idle[occupies[node, 0]]) or (
                    occupies[node, 1] >= 0 and not idle[occupies[node, 1]]
                ):
                    continue
                c = channel_of[node]
                head[c] += 1
                waiting -= 1
                serving[c] = True
                for lane in occupies[node]:
                    if lane >= 0:
                        idle[lane] = False
                        claimed[lane] -= 1
                start[node] = now
                heapq.heappush(events, (now + seconds[node], node))
        while touched:
            lane = touched.pop()
            if not idle[lane] or claimed[lane] or turn[lane] == lane_ptr[lane + 1]:
                continue
            node = lane_nodes[turn[lane]]
            if missing[node]:
                continue
            d = needs_on[node]
            if d >= 0:
                if (place[node] >= 0 and place[node] != next_place[d]) or needs[node] > free[d]:
                    continue
                free[d] -= needs[node]
                if place[node] >= 0:
                    next_place[d] += 1
                    touched.append(2 * d)
                    touched.append(2 * d + 1)
            idle[lane] = False
            turn[lane] += 1
            start[node] = now
            heapq.heappush(events, (now + seconds[node], node))
        if not events:
            return start, ended
        now = events[0][0]
        while events and events[0][0] == now:
            node = heapq.heappop(events)[1]
            ended += 1
            lane = lane_of[node]
            if lane >= 0:
                idle[lane] = True
                touched.append(lane)
            else:
                serving[channel_of[node]] = False
                for occupied in occupies[node]:
                    if occupied >= 0:
                        idle[occupied] = True
                        touched.append(occupied)
            for k in range(follower_ptr[node], follower_ptr[node + 1]):
                after = follower[k]
                missing[after] -= 1
                if missing[after] == 0:
                    if lane_of[after] >= 0:
                        touched.append(lane_of[after])
                    else:
                        arrived.append(after)
            for k in range(group_ptr[node], group_ptr[node + 1]):
                g = group[k]
                left[g] -= 1
                if left[g] == 0:
                    free[back_to[g]] += back[g]
                    touched.append(2 * back_to[g])
                    touched.append(2 * back_to[g] + 1)
