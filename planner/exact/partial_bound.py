"""A bound of partial placements, compiled: chains, streams, all devices together, and memory."""

from __future__ import annotations

import numpy as np

from planner.common.compiled import compiled
from planner.exact.ticks import NEVER
from planner.scheduling.containers import BARE


@compiled(nogil=True)
def partial_bound(  # type: ignore[no-untyped-def]
    where, counts, lasts, steps, activation, held, parameters, topological, group_of, may, transfer, trains, on_comm,
    in_ptr, inputs, out_ptr, outputs, room,
):  # fmt: skip
    """The bound of ``Level1.bound``, in ticks. ``where[c, i]`` is the device of a copy, -1 where it has none yet.

    ``lasts[c, i, p]``, ``steps[c, i, s]``: ticks of passes and step tasks. ``activation``, ``held`` and ``parameters``
    (bytes, by copy and operator) are those of operators that have a device.
    """
    copies, n = where.shape
    never = np.int64(NEVER)
    devices = transfer.shape[1]
    head = np.zeros((copies, n, 3), dtype=np.int64)
    tail = np.zeros((copies, n, 3), dtype=np.int64)
    answer = np.int64(0)
    for c in range(copies):
        for x in range(n):
            i = topological[x]
            begin = np.int64(0)
            for y in range(in_ptr[i], in_ptr[i + 1]):
                j = inputs[y]
                begin = max(begin, head[c, j, 0] + lasts[c, j, 0] + _lag(where, c, j, i, j, transfer))
            head[c, i, 0] = begin
        for x in range(n - 1, -1, -1):
            i = topological[x]
            if trains[i]:
                begin = head[c, i, 0] + lasts[c, i, 0]
                for y in range(out_ptr[i], out_ptr[i + 1]):
                    j = outputs[y]
                    begin = max(begin, head[c, j, 1] + lasts[c, j, 1] + _lag(where, c, j, i, i, transfer))
                head[c, i, 1] = begin
                head[c, i, 2] = begin + lasts[c, i, 1]
        for x in range(n):  # tails: of W step tasks, of I what it feeds, of F what it feeds and its own I
            i = topological[x]
            if trains[i]:
                tail[c, i, 2] = steps[c, i, 0] + steps[c, i, 1] + steps[c, i, 2]
                after = lasts[c, i, 2] + tail[c, i, 2]
                for y in range(in_ptr[i], in_ptr[i + 1]):
                    j = inputs[y]
                    after = max(after, _lag(where, c, i, j, j, transfer) + lasts[c, j, 1] + tail[c, j, 1])
                tail[c, i, 1] = after
        for x in range(n - 1, -1, -1):
            i = topological[x]
            after = lasts[c, i, 1] + tail[c, i, 1] if trains[i] else np.int64(0)
            for y in range(out_ptr[i], out_ptr[i + 1]):
                j = outputs[y]
                after = max(after, _lag(where, c, i, j, i, transfer) + lasts[c, j, 0] + tail[c, j, 0])
            tail[c, i, 0] = after
        for i in range(n):
            for p in range(3):
                if p == 0 or trains[i]:
                    answer = max(answer, head[c, i, p] + counts[c] * lasts[c, i, p] + tail[c, i, p])
    answer = max(answer, _memory_bound(
        where, counts, topological, lasts, head, tail, transfer, trains, out_ptr, outputs, activation, held,
        parameters, room,
    ))  # fmt: skip
    # Streams of devices, and of groups that have none yet: first starts, work and last ends of what must run there.
    n_groups = may.shape[0]
    owners = devices + copies * n_groups
    size = copies * n * 5
    firsts = np.zeros(size, dtype=np.int64)
    works = np.zeros(size, dtype=np.int64)
    afters = np.zeros(size, dtype=np.int64)
    for comm in range(2):
        for owner in range(owners):
            found = 0
            for c in range(copies):
                for i in range(n):
                    mine = where[c, i] if where[c, i] >= 0 else devices + c * n_groups + group_of[i]
                    if mine != owner:
                        continue
                    for p in range(3):
                        if on_comm[i] == comm and lasts[c, i, p] > 0:
                            firsts[found] = head[c, i, p]
                            works[found] = counts[c] * lasts[c, i, p]
                            afters[found] = tail[c, i, p]
                            found += 1
                    ready = head[c, i, 2] + counts[c] * lasts[c, i, 2]
                    ready = max(ready, head[c, i, 1] + counts[c] * lasts[c, i, 1] + lasts[c, i, 2])
                    for s in range(3):  # step tasks: R and G on the comm stream, U on the compute stream
                        if steps[c, i, s] > 0 and (comm == 1) == (s != 1):
                            firsts[found] = ready
                            works[found] = steps[c, i, s]
                            afters[found] = steps[c, i, 1] + steps[c, i, 2] if s == 0 else steps[c, i, 2]
                            if s == 2:
                                afters[found] = 0
                            found += 1
                        ready += steps[c, i, s]
            for x in range(found):
                for y in range(found):
                    work = np.int64(0)
                    for z in range(found):
                        if firsts[z] >= firsts[x] and afters[z] >= afters[y]:
                            work += works[z]
                    if work > 0:
                        answer = max(answer, firsts[x] + work + afters[y])
        # All work of the kind, on all devices that may have any of it.
        total = np.int64(0)
        waits = np.zeros(devices, dtype=np.int64)
        usable = 0
        for d in range(devices):
            first, after = never, never
            for c in range(copies):
                for i in range(n):
                    if on_comm[i] != comm or not (where[c, i] == d or (where[c, i] < 0 and may[group_of[i], d])):
                        continue
                    for p in range(3):
                        if lasts[c, i, p] > 0:
                            first = min(first, head[c, i, p])
                            after = min(after, tail[c, i, p])
            if first < never:
                waits[usable] = first + after
                usable += 1
        for c in range(copies):
            for i in range(n):
                if on_comm[i] == comm:
                    for p in range(3):
                        total += counts[c] * lasts[c, i, p]
        if usable > 0 and total > 0:
            sorted_waits = np.sort(waits[:usable])
            idle = np.int64(0)
            spread = never
            for x in range(usable):
                idle += sorted_waits[x]
                spread = min(spread, -((-(total + idle)) // (x + 1)))
            answer = max(answer, spread)
    return answer


@compiled(nogil=True)
def _memory_bound(  # type: ignore[no-untyped-def]
    where, counts, topological, lasts, head, tail, transfer, trains, out_ptr, outputs, activation, held, parameters,
    room,
):  # fmt: skip
    """Ticks from bytes x ticks: what a device must hold, each for as long as the chain until its release takes.

    Between the first forward there and the last release, a device offers no more than its room at any instant.
    """
    copies, n = where.shape
    never = np.int64(NEVER)
    span = np.zeros((copies, n), dtype=np.int64)  # least ticks from the start of F to the end of I, or of what reads it
    for c in range(copies):
        for x in range(n - 1, -1, -1):
            i = topological[x]
            longest = np.int64(0)
            for y in range(out_ptr[i], out_ptr[i + 1]):
                j = outputs[y]
                there = _lag(where, c, i, j, i, transfer)
                if trains[i]:
                    longest = max(longest, there + span[c, j] + _lag(where, c, j, i, i, transfer))
                elif where[c, i] == where[c, j]:
                    longest = max(longest, lasts[c, j, 0])
                else:
                    longest = max(longest, there)
            span[c, i] = lasts[c, i, 0] + longest + lasts[c, i, 1]
    answer = np.int64(0)
    for d in range(len(room)):
        if not np.isfinite(room[d]):
            continue
        left, energy = room[d], 0.0
        first, after = never, never
        for i in range(n):
            largest = 0.0
            for c in range(copies):
                if where[c, i] != d:
                    continue
                largest = max(largest, parameters[c, i])
                if activation[c, i] > 0:
                    energy += counts[c] * (activation[c, i] * span[c, i] + held[c, i] * lasts[c, i, 2])
                    first = min(first, head[c, i, 0])
                    to_the_end = not trains[i] or held[c, i] * lasts[c, i, 2] > 0
                    after = min(after, np.int64(0) if to_the_end else tail[c, i, 1])
            left -= largest
        if energy > 0 and left > 0:
            answer = max(answer, first + np.int64(energy / left * (1 - 1e-9)) + after)
    return answer


@compiled(**BARE)
def _lag(where, c, source, target, sender, transfer):  # type: ignore[no-untyped-def]
    """Ticks that ``sender``'s output, or its gradient, takes from the device of ``source`` to that of ``target``."""
    d, e = where[c, source], where[c, target]
    if d < 0 or e < 0 or d == e:
        return np.int64(0)
    return transfer[sender, d, e]
