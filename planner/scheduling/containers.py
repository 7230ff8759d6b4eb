"""Containers for compiled code, in arrays of the caller: the ends of running tasks as a heap, sets of small numbers.

Numba's own heaps are lists, which count references. So do functions that take arrays, unless compiled with ``BARE``. In
a loop of a few instructions a task, counting references costs as much as the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from planner.common.compiled import compiled

BARE: dict[str, Any] = {"nogil": True, "_nrt": False, "error_model": "numpy"}
"""Options of numba: no reference counts, which took half of the time, and no exceptions."""

NONE, ONE, ALL = np.uint64(0), np.uint64(1), np.uint64(2**64 - 1)

# Sets of numbers below n are n // 64 + 1 words of 64 bits.


@compiled(**BARE)
def add(bits, x):  # type: ignore[no-untyped-def]
    """Put x into the set."""
    bits[x >> 6] |= ONE << np.uint64(x & 63)


@compiled(**BARE)
def discard(bits, x):  # type: ignore[no-untyped-def]
    """Take x out of the set, if it is in it."""
    bits[x >> 6] &= ~(ONE << np.uint64(x & 63))


@compiled(**BARE)
def least(bits, begin):  # type: ignore[no-untyped-def]
    """The least number of the set from ``begin`` on; -1 if there is none."""
    word = begin >> 6
    left = bits[word] & (ALL << np.uint64(begin & 63))
    while left == NONE:
        word += 1
        if word == len(bits):
            return -1
        left = bits[word]
    return 64 * word + trailing_zeros(left)  # type: ignore[call-arg]


# As ``heapq``: what is at k is not later than what is at 2 k + 1 and at 2 k + 2 (Williams, "Heapsort", 1964).


@compiled(**BARE)
def push(ends, runs, size, end, a):  # type: ignore[no-untyped-def]
    """Add class a, which ends at ``end``, to a heap of ``size``; the new size."""
    k = size
    while k > 0:
        up = (k - 1) // 2
        if ends[up] < end or (ends[up] == end and runs[up] < a):
            break
        ends[k], runs[k] = ends[up], runs[up]
        k = up
    ends[k], runs[k] = end, a
    return size + 1


@compiled(**BARE)
def pop(ends, runs, size):  # type: ignore[no-untyped-def]
    """Remove what ends first, ``ends[0]`` and ``runs[0]``, from a heap of ``size``; the new size."""
    size -= 1
    end, a = ends[size], runs[size]
    k = 0
    while 2 * k + 1 < size:
        down = 2 * k + 1
        other = down + 1
        if other < size and (ends[other] < ends[down] or (ends[other] == ends[down] and runs[other] < runs[down])):
            down = other
        if end < ends[down] or (end == ends[down] and a < runs[down]):
            break
        ends[k], runs[k] = ends[down], runs[down]
        k = down
    ends[k], runs[k] = end, a
    return size
