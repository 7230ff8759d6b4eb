"""Work side by side on threads: compiled code and solvers run without Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


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
