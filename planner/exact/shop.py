"""The input of level 2 on one placement: classes in whole ticks, what holds memory, and what follows each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.common.compiled import compiled
from planner.common.ragged import rows
from planner.exact.ticks import in_ticks
from planner.scheduling.classes import Classes, Floats, Hold, Ints


@dataclass(frozen=True)
class Shop:
    """Classes as the search needs them: times in whole ticks; memory only where it can be short.

    ``hold_release[h]``: the classes whose k-th ends all release the k-th activation that class ``hold_class[h]`` took.
    """

    count: Ints
    ticks: Ints
    tail: Ints  # least ticks after the end of a class's last task
    resources: tuple[tuple[int, ...], ...]
    preds: tuple[tuple[int, ...], ...]
    succs: tuple[tuple[int, ...], ...]
    topological: Ints
    n_resources: int
    hold_device: Ints
    hold_class: Ints
    hold_size: Floats
    hold_release: tuple[tuple[int, ...], ...]
    room: Floats  # by device

    @property
    def n_tasks(self) -> int:
        """Tasks and transfers."""
        return int(self.count.sum())


def shop_of(classes: Classes, tick: float) -> Shop:
    """The classes of a placement. Times are whole ticks (seconds each); where they are none they are rounded down.

    So what is proven of it holds for the placement: a schedule of the true times is one of shorter times.
    """
    return shop(
        classes.count,
        in_ticks(classes.seconds, tick),
        classes.resources,
        classes.preds,
        classes.succs,
        np.array(classes.topological, dtype=np.int64),
        classes.n_resources,
        classes.holds,
        classes.available,
    )


def shop(
    count: Ints,
    ticks: Ints,
    resources: Sequence[tuple[int, ...]],
    preds: Sequence[tuple[int, ...]],
    succs: Sequence[tuple[int, ...]],
    topological: Ints,
    n_resources: int,
    holds: Sequence[Hold],
    room: Floats,
) -> Shop:
    """A shop with tails; holds are left out on devices that hold everything at once."""
    total = np.zeros(len(room))
    for hold in holds:
        total[hold.device] += hold.size * count[hold.alloc]
    short = [hold for hold in holds if total[hold.device] > room[hold.device]]
    return Shop(
        count,
        ticks,
        _tails(ticks, *rows(resources), *rows(succs), topological, n_resources),
        tuple(resources),
        tuple(preds),
        tuple(succs),
        topological,
        n_resources,
        np.array([hold.device for hold in short], dtype=np.int64),
        np.array([hold.alloc for hold in short], dtype=np.int64),
        np.array([hold.size for hold in short], dtype=np.float64),
        tuple(hold.releases for hold in short),
        np.ascontiguousarray(room, dtype=np.float64),
    )


@compiled(nogil=True)
def _tails(ticks, res_ptr, res, succ_ptr, succ, topological, n_resources):  # type: ignore[no-untyped-def]
    """Least ticks after the end of a task: what follows it in its microbatch, as a chain and on every stream.

    On a stream: the least lag until the first of the followers there can start, the work of all that can start no
    sooner, and the least tail after them.
    """
    n = len(ticks)
    tail = np.zeros(n, dtype=np.int64)
    lag = np.full((n, n), -1, dtype=np.int64)  # least ticks from the end of a to the start of b; -1: b does not follow
    here = np.zeros(n, dtype=np.int64)
    latest = np.full(n_resources, -1, dtype=np.int64)  # by resource: the last entry of ``res`` of a follower, and
    before = np.zeros(len(res), dtype=np.int64)  # by entry: the one before it
    owner = np.zeros(len(res), dtype=np.int64)
    touched = np.zeros(n_resources, dtype=np.int64)
    for x in range(n - 1, -1, -1):
        a = topological[x]
        for y in range(succ_ptr[a], succ_ptr[a + 1]):
            b = succ[y]
            lag[a, b] = max(lag[a, b], 0)
            for c in range(n):
                if lag[b, c] >= 0:
                    lag[a, c] = max(lag[a, c], lag[b, c] + ticks[b])
        least = np.int64(0)
        n_touched = 0
        for b in range(n):
            if lag[a, b] < 0:
                continue
            least = max(least, lag[a, b] + ticks[b] + tail[b])
            for y in range(res_ptr[b], res_ptr[b + 1]):
                if latest[res[y]] < 0:
                    touched[n_touched] = res[y]
                    n_touched += 1
                owner[y], before[y] = b, latest[res[y]]
                latest[res[y]] = y
        for t in range(n_touched):
            found = 0
            y = latest[touched[t]]
            latest[touched[t]] = -1
            while y >= 0:
                here[found] = owner[y]
                found += 1
                y = before[y]
            for y in range(found if found > 1 else 0):
                for z in range(found):
                    first, after, work = lag[a, here[y]], tail[here[z]], np.int64(0)
                    for w in range(found):
                        if lag[a, here[w]] >= first and tail[here[w]] >= after:
                            work += ticks[here[w]]
                    if work > 0:
                        least = max(least, first + work + after)
        tail[a] = least
    return tail
