"""The list scheduler's inner loop, compiled: one pass over the events of a step.

Serial schedule generation over classes (see ``classes``): at every event each idle stream or channel starts the
ready class of lowest key that memory admits. Three mechanisms go beyond the textbook:

* *Look-ahead.* A resource stays idle where a class of lower key is known to become ready before ``look_ahead`` times
  the duration of the best candidate has passed. With ``comm_first`` it also sees what follows communication that starts
  at the same instant: a collective of tensor parallelism is short, and the microbatch that waits for it should go on.
* *Admission* (Dijkstra's banker, with the microbatches in order of age as the safe sequence). An activation is
  admitted only if afterwards, on its device, each copy's oldest microbatch that has not yet taken all its memory
  there could still take it, were all older ones to finish and no younger one to release anything. Then the oldest
  unfinished microbatch can always go on, so the scheduler never deadlocks. It needs ``need[c, d]``, the most bytes a
  microbatch of copy c ever holds on d, to fit by itself.
* *Reservation* (``reserve``). Memory is granted in the order of the keys: an activation also waits if too little memory
  would be left for all activations of lower key that have not begun on its device. The oldest microbatch is exempt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from planner.common.compiled import compiled
from planner.scheduling.classes import Floats, Ints
from planner.scheduling.containers import BARE, add, discard, least, pop, push
from planner.scheduling.list.arrays import Arrays
from planner.scheduling.list.look import NO_LOOK, Look


@compiled(**BARE)
def _admitted(  # type: ignore[no-untyped-def]
    a, k, started, released, used, copy, hold_device, hold_size, hold_alloc, alloc_ptr, alloc, devhold_ptr, devhold,
    available, need, copy_count, key, reserve, changes, noted, oldest, younger,
):  # fmt: skip
    """Whether the k-th task of class a may take its memory now: it fits, and admission and reservation allow it.

    ``oldest[c, d]`` and ``younger[c, d]``, the first microbatch that has not taken all its memory and what younger ones
    hold, are counted again only if something on d has changed since they were ``noted``.
    """
    begin, end = alloc_ptr[a], alloc_ptr[a + 1]
    if begin == end:
        return True
    d = hold_device[alloc[begin]]
    size = 0.0
    for x in range(begin, end):
        size += hold_size[alloc[x]]
    if used[d] + size > available[d]:
        return False
    if noted[d] != changes[d]:
        noted[d] = changes[d]
        for c in range(len(copy_count)):
            oldest[c, d] = copy_count[c]  # first microbatch of copy c that has not taken all its memory on d
            younger[c, d] = 0.0
            if need[c, d] <= 0.0:
                continue
            for x in range(devhold_ptr[d], devhold_ptr[d + 1]):
                b = hold_alloc[devhold[x]]
                if copy[b] == c and started[b] < oldest[c, d]:
                    oldest[c, d] = started[b]
            for x in range(devhold_ptr[d], devhold_ptr[d + 1]):
                h = devhold[x]
                first = oldest[c, d] + (1 if copy[hold_alloc[h]] <= c else 0)
                more = started[hold_alloc[h]] - max(first, released[h])
                if more > 0:
                    younger[c, d] += hold_size[h] * more
    first_in_line = True
    for c in range(len(copy_count)):
        if need[c, d] <= 0.0 or oldest[c, d] == copy_count[c]:
            continue
        if k < oldest[c, d] + (1 if copy[a] <= c else 0):
            continue  # not younger: it is that microbatch, or one that finishes before it
        first_in_line = False
        if need[c, d] + younger[c, d] + size > available[d]:
            return False
    if not reserve or first_in_line or available[d] == np.inf:
        return True
    left = available[d] - used[d] - size
    mine = key[a, k]
    for x in range(devhold_ptr[d], devhold_ptr[d + 1]):
        h = devhold[x]
        b = hold_alloc[h]
        for j in range(started[b], copy_count[copy[b]]):
            if key[b, j] >= mine:
                break
            left -= hold_size[h]
            if left < 0.0:
                return False
    return True


@compiled(**BARE)
def _enter(a, res_ptr, res, cand_ptr, near, n_near, place):  # type: ignore[no-untyped-def]
    """Add class a to the candidates of each of its resources."""
    for y in range(res_ptr[a], res_ptr[a + 1]):
        r = res[y]
        place[y] = cand_ptr[r] + n_near[r]
        near[place[y]] = y
        n_near[r] += 1


@compiled(**BARE)
def _leave(a, res_ptr, res, cand_ptr, near, n_near, place):  # type: ignore[no-untyped-def]
    """Undo ``_enter``: the last candidate of each resource takes the free place."""
    for y in range(res_ptr[a], res_ptr[a + 1]):
        r = res[y]
        n_near[r] -= 1
        last = near[cand_ptr[r] + n_near[r]]
        near[place[y]], place[last] = last, place[y]


@compiled(**BARE)
def _look_at(r, busy, dirty, order):  # type: ignore[no-untyped-def]
    """Mark resource r, for which something has changed; a busy one is marked anyway when it becomes idle."""
    if not busy[r]:
        add(dirty, order[r])


@compiled(nogil=True)
def simulate(  # type: ignore[no-untyped-def]
    count, ticks, tail, copy, res_ptr, res, cand_ptr, cand, pred_ptr, pred, succ_ptr, succ, hold_device, hold_size,
    hold_alloc, rel_ptr, rel, relof_ptr, relof, alloc_ptr, alloc, devhold_ptr, devhold, available, need, copy_count,
    computing, pred_more, succ_fewer, key, look_ahead, comm_first, reserve, limit, begun, begun_turn, until, horizon,
    most_idle, start, turn,
):  # fmt: skip
    """Schedule everything; fills ``start`` (ticks) and ``turn`` (its rank among all starts), shaped as ``key``.

    What starts before ``until`` starts when it did in another list schedule (``begun``, and its ``begun_turn``).
    Returns the makespan in ticks, of what starts up to the ``horizon``; inf as soon as it must exceed ``limit``, or
    devices that compute have been idle for more than ``most_idle`` on average; -1 on deadlock, which admission
    excludes where ``need`` fits.
    """
    n = len(count)
    n_resources = len(cand_ptr) - 1
    # The candidates of resource r: classes whose inputs have all begun, so that they are ready or soon will be. They
    # are the first n_near[r] entries of its part of ``near``, each by its entry in ``res``. No other class can be next.
    near = np.zeros(len(cand), dtype=np.int64)
    n_near = np.zeros(n_resources, dtype=np.int64)
    place = np.zeros(len(res), dtype=np.int64)  # of an entry of ``res`` in ``near``
    owner = np.zeros(len(res), dtype=np.int64)
    unbegun = np.zeros(n, dtype=np.int64)  # inputs of the next task of a class that have not begun
    started = np.zeros(n, dtype=np.int64)
    done = np.zeros(n, dtype=np.int64)
    ready = np.zeros(n, dtype=np.bool_)
    running_end = np.zeros(n)
    free_at = np.zeros(n_resources)
    busy = np.zeros(n_resources, dtype=np.bool_)
    # In which resources start what they can: compute before communication of each device, channels last, or the other
    # way round. It is its own inverse: the rank of a resource, and the resource of a rank.
    order = np.arange(n_resources)
    if comm_first:
        order = order[::-1].copy()
    dirty = np.zeros(n_resources // 64 + 1, dtype=np.uint64)  # idle resources (ranks) for which something has changed
    used = np.zeros(len(available))
    released = np.zeros(len(hold_size), dtype=np.int64)
    changes = np.zeros(len(available), dtype=np.int64)  # of what holds memory on a device
    refused = np.full(n, -1)  # the number of changes at which a class was last refused memory
    noted = np.full(len(available), -1)
    oldest = np.zeros(need.shape, dtype=np.int64)
    younger = np.zeros(need.shape)
    left = np.zeros(n_resources)  # ticks of work that has not begun
    ends = np.zeros(n_resources)  # of what is running, and its classes: a heap
    runs = np.zeros(n_resources, dtype=np.int64)
    running = 0
    now = 0.0
    makespan = 0.0
    worked = 0.0  # mean work begun on the devices that compute
    todo = 0
    turns = 0
    # what starts before ``until``, and what has ended before it
    for a in range(n):
        for y in range(res_ptr[a], res_ptr[a + 1]):
            owner[y] = a
        k = 0
        while until > 0.0 and k < count[a] and begun[a, k] < until:
            start[a, k] = begun[a, k]
            turn[a, k] = begun_turn[a, k]
            k += 1
        started[a] = k
        done[a] = k
        turns += k
        worked += k * ticks[a] * computing[a]
        if k > 0:
            end = begun[a, k - 1] + ticks[a]
            if end + tail[a] > limit:
                return np.inf
            makespan = max(makespan, end)
            running_end[a] = end
            if end >= until:
                done[a] = k - 1
                running = push(ends, runs, running, end, a)
                for y in range(res_ptr[a], res_ptr[a + 1]):
                    busy[res[y]] = True
                    free_at[res[y]] = end
        todo += count[a] - done[a]
        for y in range(res_ptr[a], res_ptr[a + 1]):
            left[res[y]] += (count[a] - k) * ticks[a]
    for r in range(n_resources):
        _look_at(r, busy, dirty, order)
    for a in range(n):
        k = started[a]
        ready[a] = k < count[a]
        for y in range(pred_ptr[a], pred_ptr[a + 1]):
            if done[pred[y]] <= k + pred_more[y]:
                ready[a] = False
            unbegun[a] += started[pred[y]] <= k + pred_more[y]
        if k < count[a] and unbegun[a] == 0:
            _enter(a, res_ptr, res, cand_ptr, near, n_near, place)
    for h in range(len(hold_size)):
        for z in range(rel_ptr[h], rel_ptr[h + 1]):
            released[h] = min(released[h], done[rel[z]]) if z > rel_ptr[h] else done[rel[z]]
        used[hold_device[h]] += hold_size[h] * (started[hold_alloc[h]] - released[h])
    again = running == 0  # else the next event comes first
    while todo > 0:
        # start what can start now
        while again:
            again = False
            rank = -1
            while True:
                rank = least(dirty, rank + 1)
                if rank < 0:
                    break
                discard(dirty, rank)
                r = order[rank]
                best = -1
                best_key = np.inf
                for x in range(cand_ptr[r], cand_ptr[r] + n_near[r]):
                    a = owner[near[x]]
                    if not ready[a]:
                        continue
                    mine = key[a, started[a]]
                    if mine > best_key or (mine == best_key and (best < 0 or a > best)):
                        continue
                    free = True
                    for y in range(res_ptr[a], res_ptr[a + 1]):
                        if busy[res[y]]:
                            free = False
                    if not free:
                        continue
                    if alloc_ptr[a] < alloc_ptr[a + 1]:
                        d = hold_device[alloc[alloc_ptr[a]]]
                        if refused[a] == changes[d]:
                            continue
                        if not _admitted(
                            a, started[a], started, released, used, copy, hold_device, hold_size, hold_alloc,
                            alloc_ptr, alloc, devhold_ptr, devhold, available, need, copy_count, key, reserve,
                            changes, noted, oldest, younger,
                        ):  # fmt: skip
                            refused[a] = changes[d]
                            continue
                    best = a
                    best_key = mine
                if best < 0:
                    continue
                if look_ahead > 0.0:
                    waits = now + look_ahead * ticks[best]
                    wait = False
                    for x in range(cand_ptr[r], cand_ptr[r] + n_near[r]):
                        a = owner[near[x]]
                        k = started[a]
                        if a == best or key[a, k] >= best_key:
                            continue
                        soon = now
                        if ready[a]:
                            for y in range(res_ptr[a], res_ptr[a + 1]):
                                if busy[res[y]]:
                                    soon = max(soon, free_at[res[y]])
                            if soon <= now:
                                continue  # it waits for memory
                        else:
                            for y in range(pred_ptr[a], pred_ptr[a + 1]):
                                if done[pred[y]] <= k + pred_more[y]:
                                    soon = max(soon, running_end[pred[y]])
                        if soon < waits and _admitted(
                            a, k, started, released, used, copy, hold_device, hold_size, hold_alloc, alloc_ptr,
                            alloc, devhold_ptr, devhold, available, need, copy_count, key, reserve,
                            changes, noted, oldest, younger,
                        ):  # fmt: skip
                            wait = True
                            break
                    if wait:
                        continue
                k = started[best]
                start[best, k] = now
                turn[best, k] = turns
                turns += 1
                end = now + ticks[best]
                if end + tail[best] > limit or now + left[res[res_ptr[best]]] > limit:
                    return np.inf
                for y in range(res_ptr[best], res_ptr[best + 1]):
                    left[res[y]] -= ticks[best]
                running_end[best] = end
                makespan = max(makespan, end)
                worked += ticks[best] * computing[best]
                started[best] = k + 1
                for y in range(res_ptr[best], res_ptr[best + 1]):
                    busy[res[y]] = True
                    discard(dirty, order[res[y]])
                    free_at[res[y]] = end
                ready[best] = k + 1 < count[best]
                unbegun[best] = 0
                for y in range(pred_ptr[best], pred_ptr[best + 1]):
                    if done[pred[y]] <= k + 1 + pred_more[y]:
                        ready[best] = False
                        unbegun[best] += started[pred[y]] <= k + 1 + pred_more[y]
                if k + 1 >= count[best] or unbegun[best] > 0:
                    _leave(best, res_ptr, res, cand_ptr, near, n_near, place)
                for y in range(succ_ptr[best], succ_ptr[best + 1]):
                    b = succ[y]
                    if started[b] == k - succ_fewer[y] and started[b] < count[b]:
                        unbegun[b] -= 1
                        if unbegun[b] == 0:
                            _enter(b, res_ptr, res, cand_ptr, near, n_near, place)
                if alloc_ptr[best] < alloc_ptr[best + 1]:
                    d = hold_device[alloc[alloc_ptr[best]]]
                    changes[d] += 1
                    for y in range(alloc_ptr[best], alloc_ptr[best + 1]):
                        used[d] += hold_size[alloc[y]]
                    for s in range(2 * d, 2 * d + 2):  # admission may keep less memory free now
                        if not busy[s]:
                            add(dirty, order[s])
                            again = True
                running = push(ends, runs, running, end, best)
        if running == 0:
            return -1.0
        now = ends[0]
        if now > horizon:
            return makespan
        if now - worked > most_idle:
            return np.inf
        again = True
        while running > 0 and ends[0] == now:
            a = runs[0]
            running = pop(ends, runs, running)
            k = done[a]
            done[a] = k + 1
            todo -= 1
            for y in range(res_ptr[a], res_ptr[a + 1]):
                r = res[y]
                busy[r] = False
                add(dirty, order[r])
                for x in range(cand_ptr[r], cand_ptr[r] + n_near[r]):  # they may need several resources
                    b = owner[near[x]]
                    if ready[b] and res_ptr[b + 1] - res_ptr[b] > 1:
                        for z in range(res_ptr[b], res_ptr[b + 1]):
                            _look_at(res[z], busy, dirty, order)
            for y in range(succ_ptr[a], succ_ptr[a + 1]):
                b = succ[y]
                m = started[b]
                if ready[b] or m != k - succ_fewer[y] or m >= count[b]:
                    continue
                ready[b] = True
                for z in range(pred_ptr[b], pred_ptr[b + 1]):
                    if done[pred[z]] <= m + pred_more[z]:
                        ready[b] = False
                        break
                if ready[b]:
                    for z in range(res_ptr[b], res_ptr[b + 1]):
                        _look_at(res[z], busy, dirty, order)
            for y in range(relof_ptr[a], relof_ptr[a + 1]):
                h = relof[y]
                out = done[rel[rel_ptr[h]]]
                for z in range(rel_ptr[h], rel_ptr[h + 1]):
                    out = min(out, done[rel[z]])
                if out > released[h]:
                    d = hold_device[h]
                    used[d] -= hold_size[h] * (out - released[h])
                    released[h] = out
                    changes[d] += 1
                    _look_at(2 * d, busy, dirty, order)
                    _look_at(2 * d + 1, busy, dirty, order)
    return makespan


_simulate: Callable[..., float] = simulate


class Run(NamedTuple):
    """A list schedule: its makespan and starts (ticks), and in which turn each start was decided.

    ``start`` and ``turn`` are shaped as the keys. The makespan is inf where it exceeds the limit, -1 where the
    schedule could not be completed.
    """

    makespan: float
    start: Floats
    turn: Ints


def run(
    arrays: Arrays,
    key: Floats,
    look: Look = NO_LOOK,
    limit: float = np.inf,
    reserve: bool = False,
    begun: Run | None = None,
    until: float = 0.0,
    horizon: float = np.inf,
    most_idle: float = np.inf,
) -> Run:
    """The list schedule for these keys (shaped classes x largest count of microbatches).

    What starts before ``until`` (ticks) starts as in ``begun``, an earlier list schedule of the same arrays that went
    at least as far. What would start after the ``horizon`` (ticks) is left out, and the makespan is that of the rest.
    The schedule is given up once devices that compute are idle for more than ``most_idle`` (ticks, on average).
    """
    start, turn = np.full(key.shape, np.nan), np.zeros(key.shape, dtype=np.int64)
    first = (start, turn, 0.0) if begun is None else (begun.start, begun.turn, until)
    rule = (key, *look, reserve, limit, *first, horizon, most_idle)
    makespan = float(_simulate(*arrays.arguments(), *rule, start, turn))
    return Run(makespan, start, turn)
