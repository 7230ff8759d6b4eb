"""Work side by side on threads: compiled code and solvers run without Python's lock.

Parts of unlike length leave threads idle at the end, unless they take turns.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

Turns = Generator[None, None, R]
"""Work that yields between its turns, and returns its result."""

MOST = 8
"""Threads that a search uses at most where nobody says how many."""


def default_threads() -> int:
    """The cores that this process may use, up to ``MOST``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST)


def side_by_side(work: Callable[[T], R], items: Iterable[T], threads: int) -> list[R]:
    """The work done on every item, on at most so many threads; the results in the order of the items."""
    items = list(items)
    if threads < 2 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        return list(pool.map(work, items))


def in_turns(work: Callable[[T], Turns[R]], items: Iterable[T], threads: int) -> list[R]:
    """The same, of work that yields now and then: after each turn of one item comes the item that waits longest.

    So all items are as far at any time, and end together, whatever their turns take.
    """
    waiting = deque(enumerate(map(work, items)))
    results: dict[int, R] = {}

    def run() -> None:
        while waiting:
            try:
                k, part = waiting.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                next(part)
            except StopIteration as end:
                results[k] = end.value
            else:
                waiting.append((k, part))

    side_by_side(lambda _: run(), range(min(threads, len(waiting))), threads)
    return [results[k] for k in range(len(results))]


def finished(part: Turns[R]) -> R:
    """The result of work that takes turns, without a pause."""
    return in_turns(lambda _: part, [None], 1)[0]
