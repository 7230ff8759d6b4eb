"""A schedule as a graph: its tasks in order of start, what each waits for, and how long the rest takes after it.

With the order of the tasks on every stream and channel and the order in which memory is taken, each task waits for a
few others: its inputs, the task before it on each resource, and the tasks that release the memory that it takes. The
longest path from a task to the end of the step determines when it must have ended.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.common.compiled import compiled
from planner.common.ragged import compressed, rows
from planner.scheduling.classes import Classes, Floats, Ints
from planner.scheduling.list.kernel import Run
from planner.scheduling.orders.anneal import Orders

SLACK = 1e-9
"""Relative tolerance for amounts of memory and lengths of paths."""


@dataclass(frozen=True)
class PrecedenceGraph:
    """The tasks of a schedule, numbered in order of start; times in ticks, memory in bytes."""

    classes: Classes
    run: Run
    class_of: Ints  # of each task
    index: Ints  # among the tasks of its class
    number: Ints  # (classes, largest count): of each task; -1 where there is none

    @staticmethod
    def of(classes: Classes, run: Run) -> PrecedenceGraph:
        """Number the tasks of a complete schedule."""
        shape = run.start.shape
        there = np.arange(shape[1])[None, :] < classes.count[:, None]
        class_of, index = np.nonzero(there)
        order = np.lexsort((run.turn[class_of, index], run.start[class_of, index]))
        class_of, index = class_of[order], index[order]
        number = np.full(shape, -1, dtype=np.int64)
        number[class_of, index] = np.arange(len(order))
        return PrecedenceGraph(classes, run, class_of, index, number)

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.class_of)

    @property
    def makespan(self) -> float:
        """Ticks until all have ended."""
        return self.run.makespan

    @cached_property
    def start(self) -> list[float]:
        """When each task starts."""
        return list(self.run.start[self.class_of, self.index].tolist())

    @cached_property
    def length(self) -> list[float]:
        """How long each task takes."""
        return list(self.classes.ticks[self.class_of].tolist())

    @cached_property
    def end(self) -> list[float]:
        """When each task ends."""
        return [start + length for start, length in zip(self.start, self.length, strict=True)]

    @cached_property
    def resources(self) -> list[tuple[int, ...]]:
        """The streams and channels of each task."""
        return [self.classes.resources[a] for a in self.class_of.tolist()]

    @cached_property
    def rows(self) -> list[list[int]]:
        """The tasks of each resource, in order."""
        found: list[list[int]] = [[] for _ in range(self.classes.n_resources)]
        for x, resources in enumerate(self.resources):
            for r in resources:
                found[r].append(x)
        return found

    @cached_property
    def _precedence(self) -> tuple[Ints, Ints]:
        """All pairs of tasks of which the second waits for the first: its input, or its class's task before it."""
        number, count = self.number, self.classes.count
        first, second = [], []
        for a, preds in enumerate(self.classes.preds):
            own = number[a, : count[a]]
            for b in preds:
                first.append(number[b, count[b] - count[a] : count[b]])
                second.append(own)
            first.append(own[:-1])
            second.append(own[1:])
        return np.concatenate(first), np.concatenate(second)

    @cached_property
    def _inputs(self) -> tuple[Ints, Ints]:
        first, second = self._precedence
        return compressed(second, first, self.n)

    def inputs(self, x: int) -> list[int]:
        """What a task waits for by precedence."""
        return _row(self._inputs, x)

    @cached_property
    def taken(self) -> list[list[tuple[int, float]]]:
        """By device: the tasks that take memory there, in order, and how much each."""
        size: dict[int, tuple[int, float]] = {}
        for hold in self.classes.holds:
            size[hold.alloc] = (hold.device, size.get(hold.alloc, (0, 0.0))[1] + hold.size)
        taken: list[list[tuple[int, float]]] = [[] for _ in range(self.classes.problem.n_devices)]
        for x, a in enumerate(self.class_of.tolist()):
            if a in size:
                taken[size[a][0]].append((x, size[a][1]))
        return taken

    @cached_property
    def given(self) -> list[list[tuple[float, tuple[int, ...], float]]]:
        """By device, in order of time: when memory is released, by the end of which tasks, and how much."""
        given: list[list[tuple[float, tuple[int, ...], float]]] = [[] for _ in range(self.classes.problem.n_devices)]
        for hold in self.classes.holds:
            for tasks in zip(*(self._tasks_of(b) for b in hold.releases), strict=True):
                given[hold.device].append((max(self.end[x] for x in tasks), tasks, hold.size))
        for there in given:
            there.sort()
        return given

    def _tasks_of(self, a: int) -> list[int]:
        return list(self.number[a, : self.classes.count[a]].tolist())

    @cached_property
    def memory(self) -> list[list[int]]:
        """The tasks that each task waits for because their ends release the memory that it takes."""
        found: list[list[int]] = [[] for _ in range(self.n)]
        for d, room in enumerate(self.classes.available.tolist()):
            used, back = 0.0, 0
            for x, size in self.taken[d]:
                used += size
                while used > room * (1 + SLACK) and back < len(self.given[d]):
                    _, tasks, freed = self.given[d][back]
                    found[x].extend(tasks)
                    used -= freed
                    back += 1
        return found

    @cached_property
    def _followers(self) -> tuple[Ints, Ints]:
        """The tasks that wait for each task: by precedence, for memory, or as the next on a resource."""
        first, second = self._precedence
        pointer, givers = rows(self.memory)
        takers = np.repeat(np.arange(self.n), np.diff(pointer))
        turns = [np.array(row, dtype=np.int64) for row in self.rows]
        before = np.concatenate([first, givers, *(row[:-1] for row in turns)])
        after = np.concatenate([second, takers, *(row[1:] for row in turns)])
        return compressed(before, after, self.n)

    def followers(self, x: int) -> list[int]:
        """The tasks that wait for a task."""
        return _row(self._followers, x)

    @cached_property
    def tail(self) -> list[float]:
        """Ticks that must follow the end of each task, as long as all orders stay."""
        tails: Floats = _tails(*self._followers, np.array(self.length))
        return list(tails.tolist())

    @cached_property
    def critical(self) -> Ints:
        """The tasks on the longest paths."""
        ways = np.array(self.end) + np.array(self.tail)
        return np.flatnonzero(ways >= self.makespan * (1 - SLACK))

    def prepare(self) -> None:
        """Compute all cached properties, before several threads use them."""
        _ = self._inputs, self.tail, self.taken, self.given, self.critical

    def reordered(self, windows: Iterable[dict[int, list[int]]]) -> Orders:
        """The orders with some segments replaced; a segment: by resource, tasks that are consecutive there now."""
        found = [list(row) for row in self.rows]
        for segments in windows:
            for r, segment in segments.items():
                at = bisect_left(self.rows[r], min(segment))
                found[r][at : at + len(segment)] = segment
        pointer, tasks = rows(found)
        return Orders.plain(pointer, self.class_of[tasks])


def _row(of: tuple[Ints, Ints], x: int) -> list[int]:
    pointer, values = of
    return list(values[pointer[x] : pointer[x + 1]].tolist())


@compiled()
def _tails(pointer, follower, length):  # type: ignore[no-untyped-def]
    """The longest path after each task; followers of a task have higher numbers."""
    tail = np.zeros(len(length))
    for x in range(len(length) - 1, -1, -1):
        for y in range(pointer[x], pointer[x + 1]):
            tail[x] = max(tail[x], tail[follower[y]] + length[follower[y]])
    return tail
