"""All arrays of the branching as a table of whole numbers, which is how compiled code gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from planner.machine_code import Entry
from planner.schedule.branching_clauses import Clauses
from planner.schedule.branching_learn import Taste
from planner.schedule.branching_trail import Shop, Trail
from planner.schedule.classes import Ints

TUPLES: tuple[Any, ...] = (Trail, Shop, Clauses, Taste)
PLANES = frozenset({"rows", "work", "pair", "arc"})
"""The arrays of two dimensions."""

FLOATS = frozenset({"activity", "growth"})
"""The arrays that do not hold whole numbers."""

WORDS = 3
"""Numbers for an array: its address and its shape."""


def table_of(trail: Trail, shop: Shop, clauses: Clauses, taste: Taste) -> Ints:
    """The table. It holds as long as the arrays do, which it does not keep."""
    words: list[int] = []
    for arrays in (trail, shop, clauses, taste):
        for name, array in zip(arrays._fields, arrays, strict=True):
            kind = np.float64 if name in FLOATS else np.int64
            if array.dtype != kind or array.ndim != (2 if name in PLANES else 1) or not array.flags.c_contiguous:
                raise TypeError(f"{name} is not laid out as compiled code takes it")
            words += [array.ctypes.data, *array.shape, 0][:WORDS]
    return np.array(words, dtype=np.int64)


def _compile() -> Any:
    from planner.schedule.branching_entry import entry

    return entry()


look = Entry("branching", 4, _compile, sorted(Path(__file__).parent.glob("branching_*.py")))
"""``planner.schedule.branching_learn.look``: (address of the table, assumed, most, budget)."""
