"""Bounds for one placement, whatever the order and however microbatches are dealt to its copies.

For every stream and channel: the earliest start of anything on it, its whole work, the least that must follow the
last thing on it. On the compute stream of a training step also the idle time that memory forces (see
``_idle_before_first_gradient``). And the longest chain of one microbatch. What is minimised over is the split of
the microbatches between the copies, by looking at every split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.problem import Placement, Problem
from planner.schedule.classes import Classes, Ints, build_classes

Bools = npt.NDArray[np.bool_]
SPLITS_AT_MOST = 5_000


def placement_bound(problem: Problem, placement: Placement) -> float:
    """Seconds that no schedule on this placement can beat; 0 where there are too many splits to look at."""
    classes = build_classes(problem, placement, counts=(1,) * placement.copies)
    work = _Work(classes)
    best = np.inf
    for n, split in enumerate(_splits(problem.microbatches, placement.copies)):
        if n >= SPLITS_AT_MOST:
            return 0.0
        best = min(best, work.bound(np.array(split)))
    return float(best)


def _splits(microbatches: int, copies: int) -> Iterator[tuple[int, ...]]:
    """All ways to deal the microbatches to the copies."""
    if copies == 1:
        yield (microbatches,)
        return
    for first in range(microbatches + 1):
        for rest in _splits(microbatches - first, copies - 1):
            yield (first, *rest)


@dataclass(frozen=True)
class _Work:
    """Loads, heads and tails of the resources of a placement, copy by copy."""

    classes: Classes

    def bound(self, counts: Ints) -> float:
        """The bound for one split: ``counts[c]`` microbatches in copy c."""
        classes = self.classes
        used = counts[classes.copy] > 0
        chain = float((classes.head + classes.seconds + classes.tail)[used].max())
        return max(chain, *(self._on_resource(r, counts, used) for r in range(classes.n_resources)))

    def _on_resource(self, r: int, counts: Ints, used: Bools) -> float:
        classes = self.classes
        here = [a for a in self._members[r] if used[a]]
        if not here:
            return 0.0
        seconds = classes.seconds[here]
        load = float((seconds * counts[classes.copy[here]]).sum())
        first = float(classes.head[here].min())
        if r < 2 * classes.problem.n_devices and r % 2 == 0 and classes.problem.training:
            first = max(first, self._idle_before_first_gradient(r // 2, here, counts))
        return first + load + float(classes.tail[here].min())

    @property
    def _members(self) -> list[list[int]]:
        members: list[list[int]] = [[] for _ in range(self.classes.n_resources)]
        for a, resources in enumerate(self.classes.resources):
            for r in resources:
                members[r].append(a)
        return members

    def _idle_before_first_gradient(self, device: int, here: list[int], counts: Ints) -> float:
        """Idle time of a compute stream that its memory forces.

        Before the first input gradient can start there, the stream has only forward passes (and transfers) to run,
        nothing of the device's activations is released, and only so many fit: take the forward passes that give
        most time for their memory (a fractional knapsack).
        """
        classes = self.classes
        gradients = [a for a in here if classes.target[a] < 0 and classes.pass_[a] == 1]
        if not gradients:
            return 0.0
        turn = float(classes.head[gradients].min())
        room = float(classes.available[device])
        possible = 0.0
        items: list[tuple[float, float]] = []  # (seconds, bytes) of all microbatches of a class
        for a in here:
            if classes.target[a] < 0 and classes.pass_[a] > 0:
                continue
            n = float(counts[classes.copy[a]])
            is_forward = classes.target[a] < 0
            size = float(classes.problem.activation[classes.operator[a]]) if is_forward else 0.0
            if size > 0:
                items.append((float(classes.seconds[a]) * n, size * n))
            else:
                possible += float(classes.seconds[a]) * n
        for seconds, size in sorted(items, key=lambda item: -item[0] / item[1]):
            part = min(1.0, max(0.0, room) / size)
            possible += seconds * part
            room -= size * part
        return max(0.0, turn - possible)
