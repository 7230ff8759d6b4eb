"""How much work fits in memory before the first gradient on a device, and after its last forward pass.

This is a fractional knapsack: an item is work (seconds) and the bytes that are held for it, once for each microbatch.
If the operators follow one another, an operator's pass runs only for microbatches whose earlier operators hold their
memory. Such items are merged, so that an operator without memory of its own still costs some.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.problem import Problem

Floats = npt.NDArray[np.float64]

Item = tuple[float, float]
"""Seconds of work of a microbatch, and the bytes that it needs."""


def forward_items(problem: Problem, members: Sequence[int], device: int) -> list[Item]:
    """What may run of some operators' forward passes, of one copy on one device, while nothing is released."""
    items = [(float(problem.duration[i, 0, device]), float(problem.activation[i])) for i in members]
    return _merged(items) if in_line(problem, members) else items


def gradient_items(problem: Problem, members: Sequence[int], device: int) -> list[Item]:
    """What may run of some operators' gradients, of one copy on one device, after the last of their forward passes.

    An operator's input gradient is outstanding only where those of all earlier operators are, with their memory.
    """
    first: list[Item] = []  # with the input gradients
    alone: list[Item] = []  # weight gradients after their input gradients
    for i in members:
        back, weight = (float(problem.duration[i, p, device]) for p in (1, 2))
        weight = weight if problem.has_pass[i, 2] else 0.0
        size, held = float(problem.activation[i]), float(problem.held[i])
        if weight > 0 and weight * size >= (back + weight) * held:  # worth more for its memory
            alone.append((weight, held))
            first.append((back, size - held))
        else:
            first.append((back + weight, size))
    return alone + (_merged(first) if in_line(problem, members) else first)


def in_line(problem: Problem, members: Sequence[int]) -> bool:
    """Whether each of some operators, in topological order, needs the one before it, directly or through others."""
    place = {i: k for k, i in enumerate(problem.topological)}
    for before, i in pairwise(members):
        seen, stack = {i}, [i]
        while stack and before not in seen:
            for j in problem.inputs[stack.pop()]:
                if j not in seen and place[j] >= place[before]:
                    seen.add(j)
                    stack.append(j)
        if before not in seen:
            return False
    return True


def _merged(items: Sequence[Item]) -> list[Item]:
    """Items each of which needs the one before it, as items that a knapsack takes in that order anyway."""
    merged: list[Item] = []
    for item in items:
        seconds, size = item
        while merged and seconds * merged[-1][1] > merged[-1][0] * size:  # worth more than what it needs
            before = merged.pop()
            seconds, size = seconds + before[0], size + before[1]
        merged.append((seconds, size))
    return merged


def idle(
    first: Floats, last: float | Floats, before: Floats, after: Floats, others: float | Floats, apart: npt.NDArray[Any]
) -> Floats:
    """Idle seconds of a stream at the beginning and the end of a step.

    ``first``, ``last``: nothing runs so long at either end. ``before``, ``after``: some operators leave so much time
    free at either end, in which only ``others`` seconds of other work can run. Both ends count where they are
    ``apart``.
    """
    begin, end = np.maximum(first, before - others), np.maximum(last, after - others)
    both = np.maximum(begin + end, before + after - others)
    return np.asarray(np.where(apart, both, np.maximum(begin + last, first + end)))
