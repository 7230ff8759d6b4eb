"""Bounds for one placement, over all orders and all splits of the microbatches between its copies.

For every stream and channel: the earliest start of anything on it, its whole work, the least that must follow the
last thing on it. On the compute stream of a training step also the idle time that memory forces (see
``_on_compute``). And the longest chain of one microbatch. The bound is the least over all splits of the microbatches
between the copies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from planner.bounds.memory import forward_items, gradient_items, idle
from planner.problem import Placement, Problem
from planner.scheduling.classes import Classes, Floats, Ints, build_classes

Item = tuple[float, float, int]
"""Seconds of work of a microbatch, the bytes that it needs, and its copy."""

SPLITS_AT_MOST = 5_000


def placement_bound(problem: Problem, placement: Placement) -> float:
    """Seconds that no schedule on this placement can beat; 0 where there are too many splits to look at."""
    copies = placement.copies
    if math.comb(problem.microbatches + copies - 1, copies - 1) > SPLITS_AT_MOST:
        return 0.0
    splits = np.array(list(_splits(problem.microbatches, copies)), dtype=float)
    if copies == 1 or not problem.ends_with_step_tasks:
        classes = build_classes(problem, placement, counts=(1,) * copies)
        return float(_Work(classes, splits).bound().min())
    # Step tasks wait for the microbatches of other copies, too: splits that use the same copies go together.
    bounds = []
    used = splits > 0
    for some in np.unique(used, axis=0):
        classes = build_classes(problem, placement, counts=tuple(map(int, some)))
        bounds.append(_Work(classes, splits[(used == some).all(axis=1)]).bound().min())
    return float(min(bounds))


def _splits(microbatches: int, copies: int) -> Iterator[tuple[int, ...]]:
    """All ways to split the microbatches between the copies."""
    if copies == 1:
        yield (microbatches,)
        return
    for first in range(microbatches + 1):
        for rest in _splits(microbatches - first, copies - 1):
            yield (first, *rest)


@dataclass(frozen=True)
class _Work:
    """Loads, heads and tails of the resources of a placement, for all splits at once.

    ``splits[s, c]``: microbatches of copy c in split s. What follows is shaped as the splits, one bound for each.
    """

    classes: Classes
    splits: Floats

    def bound(self) -> Floats:
        """The bound for each split."""
        classes = self.classes
        everything = list(range(classes.n))
        bound = -self._least(-(classes.head + classes.seconds + classes.tail), everything)  # the longest chain
        for r, here in enumerate(self._members):
            if here:
                bound = np.maximum(bound, self._on_resource(r, here))
        return bound

    def _least(self, values: Floats, of: list[int]) -> Floats:
        """The least value among classes, where they have microbatches; inf where none has."""
        used = self.splits[:, _copies_of(self.classes, of)] > 0
        return np.asarray(np.where(used, values[of][None, :], np.inf).min(axis=1))

    def _load(self, of: list[int]) -> Floats:
        """Seconds of work of classes; of copies without microbatches what comes once does not count."""
        times = self.splits[:, _copies_of(self.classes, of)]
        times = np.where(self.classes.once[of], times > 0, times)
        return np.asarray(times @ self.classes.seconds[of])

    def _on_resource(self, r: int, here: list[int]) -> Floats:
        classes = self.classes
        load = self._load(here)
        first, last = self._least(classes.head, here), self._least(classes.tail, here)
        first, last = (np.where(np.isfinite(x), x, 0.0) for x in (first, last))
        bound = np.asarray(first + load + last)
        if r % 2 or r >= 2 * classes.problem.n_devices or not classes.problem.training:
            return bound
        copies = sorted({int(classes.copy[a]) for a in here})
        for some in [copies] if len(copies) == 1 else [copies, *([c] for c in copies)]:
            bound = np.maximum(bound, self._on_compute(r // 2, here, some, first, load, last))
        return bound

    def _on_compute(
        self, device: int, here: list[int], copies: list[int], first: Floats, load: Floats, last: Floats
    ) -> Floats:
        """The bound of a compute stream with the idle time that memory forces on the operators of some copies.

        Before the first input gradient among them, of them only forward passes run, and nothing is released, so
        that only so many fit. After the last of their forward passes, of them only the gradients of what fits in
        memory then run. Both waits count where not all forward passes can come before the first gradient.
        """
        classes = self.classes
        mine = [a for a in here if classes.target[a] < 0 and not classes.once[a] and int(classes.copy[a]) in copies]
        gradients = [a for a in mine if classes.pass_[a] == 1]
        forwards = [a for a in mine if classes.pass_[a] == 0]
        if not gradients:
            return np.zeros(len(self.splits))
        early, late = [], []
        for copy in copies:
            problem = classes.problem.of_copy(classes.placement, copy)
            hosted = {int(classes.operator[a]) for a in forwards if int(classes.copy[a]) == copy}
            members = [i for i in problem.topological if i in hosted]
            early += [(*item, copy) for item in forward_items(problem, members, device)]
            late += [(*item, copy) for item in gradient_items(problem, members, device)]
        others = self._load([a for a in here if a not in mine])
        room = float(classes.available[device])
        before = self._least(classes.head, gradients) - self._most_work(early, room)
        after = self._least(classes.tail, forwards) - self._most_work(late, room)
        before, after = (np.where(np.isfinite(x), x, -np.inf) for x in (before, after))
        taken = sum((self.splits[:, copy] * size for _, size, copy in early), np.zeros(len(self.splits)))
        # where not all activations fit at once, the last F comes after the first I
        return np.asarray(load + idle(first, last, before, after, others, taken > room))

    def _most_work(self, items: Iterable[Item], room: float) -> Floats:
        """The most seconds of work whose memory fits in ``room``, items divisible (a fractional knapsack)."""
        total = np.zeros(len(self.splits))
        left = np.full(len(self.splits), max(0.0, room))
        for seconds, size, copy in sorted(items, key=lambda item: -item[0] / item[1] if item[1] > 0 else -np.inf):
            count = self.splits[:, copy]
            part = np.minimum(count, left / size) if size > 0 else count
            total += seconds * part
            left -= size * part
        return total

    @property
    def _members(self) -> list[list[int]]:
        members: list[list[int]] = [[] for _ in range(self.classes.n_resources)]
        for a, resources in enumerate(self.classes.resources):
            for r in resources:
                members[r].append(a)
        return members


def _copies_of(classes: Classes, of: list[int]) -> Ints:
    """The copies of some classes."""
    return classes.copy[np.array(of, dtype=np.int64)]
