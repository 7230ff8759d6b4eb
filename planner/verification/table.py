"""The tasks of a plan as columns of numbers, so that a rule is checked for all of them at once.

Only suspicious rows are then checked one by one, for their messages.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.plan.plan import PlannedTask

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

PASSES = ("F", "I", "W")


class TaskTable:
    """A row a task, in the plan's order; -1 stands for what graph and cluster do not have."""

    def __init__(
        self,
        tasks: Sequence[PlannedTask],
        passes: Mapping[str, Sequence[str]],
        devices: Iterable[str],
        microbatches: int,
    ) -> None:
        columns = (list(map(itemgetter(k), tasks)) for k in range(len(PlannedTask._fields)))
        operator, pass_, microbatch, copy, device, stream, start, end = columns
        self.microbatches = sorted(set(microbatch))  # ``microbatch`` holds places in this list
        self.copies = sorted(set(copy))
        self.operator = _numbers(operator, passes)
        known = [(name, p) for name, own in passes.items() for p in own]
        number = {name: i for i, name in enumerate(passes)}
        self.kind = _coded(
            zip(operator, pass_, strict=True), {(n, p): kind(number[n], p) for n, p in known}, len(tasks)
        )
        self.microbatch = _numbers(microbatch, self.microbatches)
        self.copy = _numbers(copy, self.copies)
        self.device = _numbers(device, devices)
        self.on_comm = _coded(stream, {"compute": 0, "comm": 1}, len(tasks))
        self.start: Floats = np.array(start, dtype=np.float64)
        self.end: Floats = np.array(end, dtype=np.float64)
        in_step = np.array([0 <= m < microbatches for m in self.microbatches], dtype=np.bool_)
        self.known: Flags = (self.kind >= 0) & in_step[self.microbatch]

    def timed(self, tolerance: float) -> Flags:
        """Which rows have usable times: finite, from 0 on, the end not before the start."""
        finite = np.isfinite(self.start) & np.isfinite(self.end)
        with np.errstate(invalid="ignore"):
            return finite & (self.start >= -tolerance) & (self.end >= self.start - tolerance)

    def index(self, rows: Flags) -> TaskIndex:
        """Where to find the tasks among these rows, all of which are known."""
        return TaskIndex(self, np.flatnonzero(rows))


class TaskIndex:
    """The first row of every operator, pass and microbatch."""

    def __init__(self, table: TaskTable, rows: Ints) -> None:
        self.most = max(1, len(table.microbatches))
        self.keys, at = np.unique(table.kind[rows] * self.most + table.microbatch[rows], return_index=True)
        self.rows: Ints = rows[at]

    def of(self, operator: int, pass_: str) -> tuple[Ints, Ints]:
        """The microbatches (rising) that have this pass, and its rows."""
        first = kind(operator, pass_) * self.most
        a, b = np.searchsorted(self.keys, (first, first + self.most))
        return self.keys[a:b] - first, self.rows[a:b]

    def at(self, operator: int, pass_: str, microbatch: Ints) -> Ints:
        """The rows of a pass for these microbatches; -1 where it is not there."""
        there, rows = self.of(operator, pass_)
        if not len(there):
            return np.full(len(microbatch), -1)
        place = np.minimum(np.searchsorted(there, microbatch), len(there) - 1)
        return np.where(there[place] == microbatch, rows[place], -1)


def kind(operator: int, pass_: str) -> int:
    """One number for an operator and a pass."""
    return 3 * operator + PASSES.index(pass_)


def _numbers(values: Sequence[Hashable], known: Iterable[Hashable]) -> Ints:
    return _coded(values, {value: k for k, value in enumerate(known)}, len(values))


def _coded(values: Iterable[Hashable], codes: Mapping[Any, int], count: int) -> Ints:
    return np.fromiter(map(codes.get, values, repeat(-1)), dtype=np.int64, count=count)
