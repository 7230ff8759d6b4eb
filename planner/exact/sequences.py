"""Level 2 on one placement, completely: every sequence of starts that could be shorter than the best schedule known.

Some shortest schedule results from taking tasks and transfers in the order of their starts, each as early as its
inputs, its streams and channels, memory and the start before it allow (a precedence tree, as Patterson et al. 1990 for
projects with scarce resources). This is a depth-first search over such sequences of *classes*: microbatches of one copy
are alike, so the k-th start of a class is its k-th microbatch, and few states are different. Pruned are

* states that another state with the same counts, explored before, reaches no later in every respect (the ends of the
  last tasks of all classes tell all: streams, inputs, and what memory is still held);
* states from which some stream, channel or chain cannot end in time;
* starts after an idle time that another task, which takes no memory, could have filled for nothing (Giffler and
  Thompson's active schedules); and a task that takes no memory, with nothing else for its streams, starts at once.

Everything is in whole ticks, so a completed search is a proof without tolerances. It knows all rules of a plan: both
streams, channels, exclusive transfers, memory in two steps, inference lifetimes, several copies with given counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.common.compiled import compiled
from planner.common.ragged import rows
from planner.exact.shop import Shop
from planner.exact.ticks import NEVER
from planner.scheduling.classes import Floats
from planner.scheduling.containers import BARE

FINISHED, CUT_OFF = 0, 1


@dataclass(frozen=True)
class Answer:
    """The shortest schedule found below the limit that was asked for, and whether there is none shorter than it.

    ``makespan`` in ticks, ``NEVER`` where none was found; ``start`` shaped (classes, largest count) in ticks.
    ``bound``: no schedule is shorter than this (ticks), at least the root's.
    """

    makespan: int
    start: Floats | None
    proven: bool
    bound: int
    nodes: int


def shortest(
    shop: Shop,
    below: int,
    nodes: int,
    kept: int = 1 << 16,
    any_will_do: bool = False,
    stop: npt.NDArray[np.bool_] | None = None,
) -> Answer:
    """Search for a schedule of less than ``below`` ticks, looking at ``nodes`` states at most and keeping some.

    ``kept``: states that are kept to be compared with later ones. ``any_will_do``: end with the first schedule found.
    ``stop``: a flag that another thread may set to end the search.
    """
    n, most = len(shop.count), int(shop.count.max())
    start = np.zeros((n, most), dtype=np.int64)
    best = np.zeros((n, most), dtype=np.int64)
    by_class: list[list[int]] = [[] for _ in range(n)]
    by_device: list[list[int]] = [[] for _ in range(len(shop.room))]
    for h, a in enumerate(shop.hold_class.tolist()):
        by_class[a].append(h)
        by_device[int(shop.hold_device[h])].append(h)
    on: list[list[int]] = [[] for _ in range(shop.n_resources)]
    for a in np.argsort(-shop.tail, kind="stable").tolist():
        for r in shop.resources[a]:
            on[r].append(a)
    depth = shop.n_tasks + 1
    status, makespan, seen, bound = _search(
        shop.count,
        shop.ticks,
        shop.tail,
        *rows(shop.resources),
        *rows(shop.preds),
        *rows(shop.succs),
        *rows(on),
        shop.topological,
        shop.hold_device,
        shop.hold_class,
        shop.hold_size,
        *rows(shop.hold_release),
        *rows(by_class),
        *rows(by_device),
        shop.room,
        np.int64(below),
        np.int64(below - 1 if any_will_do else 0),
        nodes,
        np.zeros(1, dtype=np.bool_) if stop is None else stop,
        depth,
        np.full(1 << (kept - 1).bit_length(), -1, dtype=np.int64),
        np.zeros((kept, n), dtype=np.int16),
        np.zeros((kept, n + 1), dtype=np.int64),
        np.full(kept, -1, dtype=np.int64),
        start,
        best,
    )
    found = makespan < below
    proven = status == FINISHED and not (found and any_will_do)
    return Answer(
        int(makespan) if found else NEVER,
        best.astype(float) if found else None,
        proven,
        int(min(makespan, below)) if proven else int(bound),
        int(seen),
    )


@compiled(**BARE)
def _memory_from(  # type: ignore[no-untyped-def]
    b, at, n_started, last_end, hold_device, hold_class, hold_size, rel_ptr, rel, class_ptr, class_hold, dev_ptr,
    dev_hold, room,
):  # fmt: skip
    """The first instant from ``at`` on at which class b's activation fits; -1 where nothing that runs would make room.

    Nothing else starts in between, so what is held only falls.
    """
    if class_ptr[b] == class_ptr[b + 1]:
        return at
    d = hold_device[class_hold[class_ptr[b]]]
    size = 0.0
    for x in range(class_ptr[b], class_ptr[b + 1]):
        size += hold_size[class_hold[x]]
    while True:
        used = size
        later = NEVER
        for x in range(dev_ptr[d], dev_ptr[d + 1]):
            h = dev_hold[x]
            freed = n_started[hold_class[h]]
            for y in range(rel_ptr[h], rel_ptr[h + 1]):
                c = rel[y]
                done = n_started[c]
                if done > 0 and last_end[c] > at:
                    done -= 1
                    later = min(later, last_end[c])
                freed = min(freed, done)
            used += hold_size[h] * (n_started[hold_class[h]] - freed)
        if used <= room[d]:
            return at
        if later == NEVER:
            return np.int64(-1)
        at = later


@compiled(**BARE)
def _bound(  # type: ignore[no-untyped-def]
    now, count, ticks, tail, n_started, last_end, free, earliest, res_ptr, res, pred_ptr, pred, on_ptr, on, topological
):  # fmt: skip
    """No completion of this state ends before; fills ``earliest`` with the earliest start of each class's next task."""
    least = now
    for x in range(len(topological)):
        a = topological[x]
        k = n_started[a]
        if k > 0:
            least = max(least, last_end[a] + tail[a])
        if k >= count[a]:
            earliest[a] = NEVER
            continue
        begin = now
        for y in range(res_ptr[a], res_ptr[a + 1]):
            begin = max(begin, free[res[y]])
        for y in range(pred_ptr[a], pred_ptr[a + 1]):
            p = pred[y]
            left = k + 1 + count[p] - count[a] - n_started[p]  # tasks of p to start before the next of a
            if left < 0:
                continue
            begin = max(begin, last_end[p]) if left == 0 else max(begin, earliest[p] + left * ticks[p])
        earliest[a] = begin
        least = max(least, begin + (count[a] - k) * ticks[a] + tail[a])
    for r in range(len(on_ptr) - 1):
        for x in range(on_ptr[r], on_ptr[r + 1]):
            first = earliest[on[x]]
            if first == NEVER:
                continue
            work = np.int64(0)
            for y in range(on_ptr[r], on_ptr[r + 1]):  # by falling tails
                b = on[y]
                if n_started[b] < count[b] and earliest[b] >= first:
                    work += (count[b] - n_started[b]) * ticks[b]
                    least = max(least, first + work + tail[b])
    return least


@compiled(**BARE)
def _is_dominated(now, n_started, last_end, heads, counts, ends, following, used):  # type: ignore[no-untyped-def]
    """Whether an earlier state with the same counts is no later in any respect; else the state is kept, if it fits."""
    n = len(n_started)
    hashed = np.uint64(1469598103934665603)
    for a in range(n):
        hashed = (hashed ^ np.uint64(n_started[a] + 1)) * np.uint64(1099511628211)
        hashed ^= hashed >> np.uint64(29)
    slot = np.int64(hashed & np.uint64(len(heads) - 1))
    entry = heads[slot]
    while entry >= 0:
        if ends[entry, n] <= now:
            same = True
            for a in range(n):
                if counts[entry, a] != n_started[a] or ends[entry, a] > max(now, last_end[a]):
                    same = False
                    break
            if same:
                return True
        entry = following[entry]
    if used[0] < len(counts):
        entry = used[0]
        used[0] += 1
        for a in range(n):
            counts[entry, a] = n_started[a]
            ends[entry, a] = max(now, last_end[a])
        ends[entry, n] = now
        following[entry] = heads[slot]
        heads[slot] = entry
    return False


@compiled(nogil=True)
def _search(  # type: ignore[no-untyped-def]
    count, ticks, tail, res_ptr, res, pred_ptr, pred, succ_ptr, succ, on_ptr, on, topological, hold_device, hold_class,
    hold_size, rel_ptr, rel, class_ptr, class_hold, dev_ptr, dev_hold, room, below, enough, nodes, stop, depth, heads,
    counts, ends, following, start, best,
):  # fmt: skip
    """Depth first. Returns (status, makespan or ``below``, states looked at, bound)."""
    n = len(count)
    total = depth - 1
    n_started = np.zeros(n, dtype=np.int64)
    last_end = np.zeros(n, dtype=np.int64)
    free = np.zeros(len(on_ptr) - 1, dtype=np.int64)
    earliest = np.zeros(n, dtype=np.int64)
    used = np.zeros(1, dtype=np.int64)
    choice = np.zeros((depth, n), dtype=np.int64)  # classes that may start next, and when
    begins = np.zeros((depth, n), dtype=np.int64)

    n_choices = np.zeros(depth, dtype=np.int64)
    at = np.zeros(depth, dtype=np.int64)
    clock = np.zeros(depth + 1, dtype=np.int64)
    end_before = np.zeros(depth, dtype=np.int64)
    free_before = np.zeros((depth, 4), dtype=np.int64)
    makespan = below
    seen = 0
    root = np.int64(0)
    level = 0
    entered = True
    while level >= 0:
        if entered:
            seen += 1
            entered = False
            n_choices[level] = 0
            at[level] = 0
            now = clock[level]
            least = _bound(
                now, count, ticks, tail, n_started, last_end, free, earliest, res_ptr, res, pred_ptr, pred, on_ptr, on,
                topological,
            )  # fmt: skip
            if level == 0:
                root = least
            if level == total:
                if least < makespan:
                    makespan = least
                    best[:, :] = start
                    if makespan <= max(root, enough):
                        return FINISHED, makespan, seen, root
            elif least < makespan and not _is_dominated(now, n_started, last_end, heads, counts, ends, following, used):
                if seen > nodes or stop[0]:
                    return CUT_OFF, makespan, seen, root
                m = 0
                soonest = NEVER
                fills = NEVER  # the first instant by which a task that takes no memory could have run
                for a in range(n):
                    if earliest[a] == NEVER:
                        continue
                    k = n_started[a]
                    eligible = True
                    for y in range(pred_ptr[a], pred_ptr[a + 1]):
                        if n_started[pred[y]] <= k + count[pred[y]] - count[a]:
                            eligible = False
                            break
                    if not eligible:
                        continue
                    begin = _memory_from(
                        a, earliest[a], n_started, last_end, hold_device, hold_class, hold_size, rel_ptr, rel,
                        class_ptr, class_hold, dev_ptr, dev_hold, room,
                    )  # fmt: skip
                    if begin < 0:
                        continue
                    choice[level, m] = a
                    begins[level, m] = begin
                    m += 1
                    soonest = min(soonest, begin)
                    if class_ptr[a] == class_ptr[a + 1]:
                        fills = min(fills, begin + ticks[a])
                # A task that takes no memory and has its streams for itself starts at once, where nothing is sooner.
                only = -1
                for x in range(m):
                    a = choice[level, x]
                    if begins[level, x] != soonest or class_ptr[a] != class_ptr[a + 1]:
                        continue
                    alone = True
                    end = soonest + ticks[a]
                    for y in range(res_ptr[a], res_ptr[a + 1]):
                        for z in range(on_ptr[res[y]], on_ptr[res[y] + 1]):
                            b = on[z]
                            if b != a and earliest[b] < end:
                                alone = False
                                break
                        if not alone:
                            break
                    if alone:
                        only = x
                        break
                if only >= 0:
                    choice[level, 0] = choice[level, only]
                    begins[level, 0] = begins[level, only]
                    m = 1
                else:
                    # Keep those that start before the first idle time that could have been filled; sooner ones first,
                    # of those as soon the ones with more to follow.
                    kept = 0
                    for x in range(m):
                        a = choice[level, x]
                        begin = begins[level, x]
                        if begin >= fills and not (class_ptr[a] == class_ptr[a + 1] and begin + ticks[a] == fills):
                            continue
                        y = kept
                        while y > 0 and (
                            begins[level, y - 1] > begin
                            or (begins[level, y - 1] == begin and tail[choice[level, y - 1]] < tail[a])
                        ):
                            choice[level, y] = choice[level, y - 1]
                            begins[level, y] = begins[level, y - 1]
                            y -= 1
                        choice[level, y] = a
                        begins[level, y] = begin
                        kept += 1
                    m = kept
                n_choices[level] = m
        elif at[level] > 0:  # back from a child: undo it
            a = choice[level, at[level] - 1]
            n_started[a] -= 1
            last_end[a] = end_before[level]
            for y in range(res_ptr[a], res_ptr[a + 1]):
                free[res[y]] = free_before[level, y - res_ptr[a]]
        if at[level] >= n_choices[level]:
            level -= 1
            continue
        a = choice[level, at[level]]
        begin = begins[level, at[level]]
        at[level] += 1
        end_before[level] = last_end[a]
        start[a, n_started[a]] = begin
        n_started[a] += 1
        last_end[a] = begin + ticks[a]
        for y in range(res_ptr[a], res_ptr[a + 1]):
            free_before[level, y - res_ptr[a]] = free[res[y]]
            free[res[y]] = last_end[a]
        level += 1
        clock[level] = begin
        entered = True
    return FINISHED, makespan, seen, root
