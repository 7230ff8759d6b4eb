"""Containers of compiled code, beside those of Python."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from planner.scheduling.containers import add, discard, least, pop, push


@pytest.mark.parametrize("seed", range(20))
def test_a_heap_gives_what_ends_first(seed: int) -> None:
    """As ``heapq`` with pairs, also where several end at once."""
    rng = np.random.default_rng(seed)
    ends, runs, size = np.zeros(40), np.zeros(40, dtype=np.int64), 0
    heap: list[tuple[float, int]] = []
    for a in range(500):
        if size < len(ends) and (size == 0 or rng.random() < 0.55):
            end = float(rng.integers(10))
            heapq.heappush(heap, (end, a))
            size = push(ends, runs, size, end, a)
        else:
            assert (ends[0], runs[0]) == heapq.heappop(heap)
            size = pop(ends, runs, size)
        assert size == len(heap)
    while heap:
        assert (ends[0], runs[0]) == heapq.heappop(heap)
        size = pop(ends, runs, size)


@pytest.mark.parametrize("most", [1, 63, 64, 65, 200])
def test_a_set_gives_the_least(most: int) -> None:
    """The least from any number on, in words of 64 numbers."""
    rng = np.random.default_rng(most)
    bits, known = np.zeros(most // 64 + 1, dtype=np.uint64), set[int]()
    for _ in range(300):
        x = int(rng.integers(most))
        if rng.random() < 0.3:
            add(bits, x)
            known.add(x)
        else:
            discard(bits, x)
            known.discard(x)
        begin = int(rng.integers(most + 1))
        assert least(bits, begin) == min((y for y in known if y >= begin), default=-1)
