"""Edges of the graph of events, collected many at a time."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from planner.events.nodes import Flags, Ints


class Wait(IntEnum):
    """Why one node waits for another."""

    INPUT = 0  # an output of the other, on one device or for a transfer; a step task: the gradients that it is for
    TRANSFER = 1  # data that the other, a transfer, brings
    ORDER = 2  # its turn on a stream or channel
    MEMORY = 3  # memory that the other releases, or its turn to take some
    HELD = 4  # a reason that graph and cluster do not show: the plan starts it just when the other ends


class Edges:
    """Edges ``before -> after``: the second starts no earlier than the first ends (``from_start``: starts)."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints, int, bool]] = []

    def add(self, before: Ints, after: Ints, wait: Wait, *, from_start: bool = False) -> None:
        """An edge from each of ``before`` to that of ``after``; -1 stands for none."""
        known = (before >= 0) & (after >= 0) & (before != after)
        if known.any():
            self._parts.append((before[known], after[known], int(wait), from_start))

    def one(self, before: int, after: int, wait: Wait, *, from_start: bool = False) -> None:
        """A single edge."""
        self.add(np.array([before]), np.array([after]), wait, from_start=from_start)

    def arrays(self) -> tuple[Ints, Ints, Ints, Flags]:
        """``before``, ``after``, the kind of wait and ``from_start``, each edge once."""
        if not self._parts:
            none = np.zeros(0, dtype=np.int64)
            return none, none, none, np.zeros(0, dtype=bool)
        befores, afters, waits, from_starts = zip(*self._parts, strict=True)
        sizes = [len(each) for each in befores]
        columns = [
            np.concatenate(befores),
            np.concatenate(afters),
            np.repeat(waits, sizes),
            np.repeat(from_starts, sizes),
        ]
        table = np.stack(columns, axis=1).astype(np.int64)
        table = table[np.lexsort(table.T[::-1])]  # many times faster than np.unique of rows
        table = table[np.append(True, np.any(table[1:] != table[:-1], axis=1))]
        return table[:, 0], table[:, 1], table[:, 2], table[:, 3].astype(bool)
