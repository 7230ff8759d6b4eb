"""Stages of a placement: a chain of segments of the graph, each on one device.

A framework that runs a pipeline knows stages, not operators: stage s + 1 reads the output of stage s. ``runs`` cuts
the graph where the device changes, ``fine_stages`` cuts those runs further where the plan does not run them as one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from planner.problem import Problem
from planner.timetable.timetable import Timetable

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Stages = tuple[tuple[int, ...], ...]
"""The operators of every stage, each stage and the stages themselves in topological order."""

PATIENCE = 32
"""Look-ahead, in operators, beyond the last end of a stage that is run as one."""


def runs(problem: Problem, device_of: Sequence[int]) -> Stages:
    """The longest segments of a topological order that stay on one device.

    The order stays on a device as long as operators of it are ready, then goes to the device of the first ready
    operator in the file's order. What gathers the weights of an operator comes right before it.
    """
    gathers = {i for i in range(problem.n_operators) if _gathers(problem, device_of, i)}
    missing = [len(set(inputs) - gathers) for inputs in problem.inputs]
    ready: dict[int, list[int]] = {}
    for i, count in enumerate(missing):
        if not count and i not in gathers:
            heapq.heappush(ready.setdefault(device_of[i], []), i)
    stages: list[tuple[int, ...]] = []
    while any(ready.values()):
        device = min((heap[0], d) for d, heap in ready.items() if heap)[1]
        stage: list[int] = []
        while ready[device]:
            i = heapq.heappop(ready[device])
            first = gathers.intersection(problem.inputs[i])
            gathers -= first
            stage += [*sorted(first), i]
            for j in problem.consumers[i]:
                missing[j] -= 1
                if not missing[j]:
                    heapq.heappush(ready.setdefault(device_of[j], []), j)
        stages.append(tuple(stage))
    return tuple(stages)


def _gathers(problem: Problem, device_of: Sequence[int], i: int) -> bool:
    """Whether an operator only gets ready what others on its device read: it reads and sends nothing."""
    readers = problem.consumers[i]
    alone = bool(problem.on_comm[i]) and not problem.inputs[i] and not problem.output[i]
    return alone and bool(readers) and all(device_of[j] == device_of[i] for j in readers)


def positions(problem: Problem, timetable: Timetable) -> Ints:
    """The place of every task (operators, 3, microbatches) among all tasks by start; -1 where there is none.

    Tasks of no length at one instant are in the order of ``orders_of``, so that the whole order respects precedence.
    """
    ends = timetable.ends(problem)
    operator, pass_, microbatch = np.nonzero(~np.isnan(timetable.start))
    place = np.empty(problem.n_operators, dtype=np.int64)
    place[list(problem.topological)] = np.arange(problem.n_operators)
    along = np.where(pass_ == 0, place[operator], -place[operator])
    at = (operator, pass_, microbatch)
    order = np.lexsort((microbatch, along, pass_, ends[at], timetable.start[at]))
    found = np.full(timetable.start.shape, -1, dtype=np.int64)
    found[tuple(column[order] for column in at)] = np.arange(len(order))
    return found


def fine_stages(problem: Problem, stages: Stages, on_stream: Ints, full_backwards: bool) -> Stages:
    """The stages, cut where the plan does not run them as one (``on_stream``: see ``on_streams``).

    A stage of the result is run as one: on its device's stream nothing comes between its operators, in any pass of
    any microbatch; with ``full_backwards``, gradients and weight gradients may be mixed where nothing else comes
    between. A stage with both streams keeps its operators on each of them together.
    """
    return tuple(segment for stage in stages for segment in _pieces(problem, stage, on_stream, full_backwards))


def on_streams(problem: Problem, device_of: Sequence[int], position: Ints) -> Ints:
    """The place of every task (operators, 3, microbatches) on its own stream; -1 where there is none."""
    stream = 2 * np.asarray(device_of) + problem.on_comm
    found = np.full(position.shape, -1, dtype=np.int64)
    for one in np.unique(stream):
        own = np.flatnonzero(stream == one)
        table = position[own]
        there = np.flatnonzero(table.ravel() >= 0)
        flat = np.full(table.size, -1, dtype=np.int64)
        flat[there[np.argsort(table.ravel()[there])]] = np.arange(len(there))
        found[own] = flat.reshape(table.shape)
    return found


def mixes_backwards(problem: Problem, stage: Sequence[int], on_stream: Ints) -> Bools:
    """By microbatch: whether the plan mixes the gradients and weight gradients of a stage, with nothing between."""
    span = _Span(on_stream.shape[2])
    for i in stage:
        span.add(int(problem.on_comm[i]), on_stream[i])
    return ~span.halves() & span.mixed()


def _pieces(problem: Problem, stage: Sequence[int], on_stream: Ints, full: bool) -> Iterator[tuple[int, ...]]:
    """Greedy: each segment is the longest that is run as one, from where the last one ended."""
    first = 0
    while first < len(stage):
        last = first
        span = _Span(on_stream.shape[2])
        for k in range(first, len(stage)):
            span.add(int(problem.on_comm[stage[k]]), on_stream[stage[k]])
            if span.forwards().all() and (span.halves() | (span.mixed() & full)).all():
                last = k
            elif k - last > PATIENCE:
                break
        yield tuple(stage[first : last + 1])
        first = last + 1


class _Span:
    """The first and last place of some operators on each stream, by stream, pass and microbatch."""

    def __init__(self, microbatches: int) -> None:
        shape = (2, 3, microbatches)
        self.low = np.full(shape, np.iinfo(np.int64).max)
        self.high = np.full(shape, -1)
        self.count = np.zeros(shape, dtype=np.int64)

    def add(self, stream: int, rank: Ints) -> None:
        """Add an operator with its places (3, microbatches)."""
        self.low[stream] = np.where(rank >= 0, np.minimum(self.low[stream], rank), self.low[stream])
        self.high[stream] = np.maximum(self.high[stream], rank)
        self.count[stream] += rank >= 0

    def forwards(self) -> Bools:
        """By microbatch: nothing else lies between the forwards."""
        return _every(_whole(self.low[:, 0], self.high[:, 0], self.count[:, 0]), 0)

    def halves(self) -> Bools:
        """By microbatch: nothing else lies between the gradients, nor between the weight gradients."""
        return _every(_whole(self.low[:, 1:], self.high[:, 1:], self.count[:, 1:]), (0, 1))

    def mixed(self) -> Bools:
        """By microbatch: nothing else lies between the backward passes."""
        low, high = self.low[:, 1:].min(axis=1), self.high[:, 1:].max(axis=1)
        return _every(_whole(low, high, self.count[:, 1:].sum(axis=1)), 0)


def _whole(low: Ints, high: Ints, count: Ints) -> Bools:
    found: Bools = (count == 0) | (high - low + 1 == count)
    return found


def _every(table: Bools, axes: int | tuple[int, ...]) -> Bools:
    return np.asarray(table.all(axis=axes), dtype=np.bool_)
