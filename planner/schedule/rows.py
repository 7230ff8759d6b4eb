"""Lists of lists as two arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.schedule.classes import Ints


def rows(lists: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Compressed rows: list k stands in ``flat[pointer[k] : pointer[k + 1]]``; gives (pointer, flat)."""
    pointer = np.zeros(len(lists) + 1, dtype=np.int64)
    pointer[1:] = np.cumsum([len(row) for row in lists])
    return pointer, np.array([x for row in lists for x in row], dtype=np.int64)
