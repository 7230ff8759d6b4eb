"""Lists of lists as two arrays: list k stands in ``values[pointer[k] : pointer[k + 1]]``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def rows(lists: Sequence[Sequence[int]] | Sequence[Ints]) -> tuple[Ints, Ints]:
    """Pointer and values of lists one after the other."""
    pointer = np.zeros(len(lists) + 1, dtype=np.int64)
    pointer[1:] = np.cumsum([len(row) for row in lists])
    if lists and isinstance(lists[0], np.ndarray):
        return pointer, np.concatenate(lists).astype(np.int64)
    return pointer, np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=int(pointer[-1]))


def compressed(keys: Ints, values: Ints, n: int) -> tuple[Ints, Ints]:
    """Pointer and values of the lists by key, 0 to n - 1, each in the order given."""
    pointer = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=n))]).astype(np.int64)
    narrow = keys.astype(np.uint16) if n <= 1 << 16 else keys  # numpy sorts short integers several times as fast
    return pointer, values[np.argsort(narrow, kind="stable")]
