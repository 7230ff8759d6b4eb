"""The best contiguous stages of a strategy, exactly: one cut for prefill and decode, since weights stay where they are.

Every limit grows with a stage, so stages that are filled greedily, each as far as its limits allow, fit wherever any
stages do. The least limits are sums of neighbouring layers, and are found among these by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from planner.strategies.inference.phases import Layers

SAME = 1e-10
"""Relative: sums that are as close are equal but for rounding."""

Floats = npt.NDArray[np.float64]

HALVINGS = 40
"""Of the interval in which the least memory is looked for."""


@dataclass(frozen=True)
class Stages:
    """A cut. ``ends[s]``: the first layer behind stage s. Seconds of the busiest stage, bytes of the fullest."""

    ends: tuple[int, ...]
    prefill: float
    decode: float
    bytes: float


@dataclass(frozen=True)
class Limits:
    """Of each stage: seconds in prefill and in decode, bytes."""

    prefill: float = math.inf
    decode: float = math.inf
    bytes: float = math.inf


class Cuts:
    """All ways to cut the layers into ``stages`` contiguous stages, none of them empty."""

    def __init__(self, layers: Layers, stages: int) -> None:
        self.layers, self.stages, self.n = layers, stages, len(layers.prefill)
        self.held = [w + c for w, c in zip(layers.weights, layers.caches, strict=True)]

    def within(self, limits: Limits) -> Stages | None:
        """Stages within the limits; None where there are none."""
        if self.stages > self.n:
            return None
        prefill, decode, held = (limit * (1 + SAME) for limit in (limits.prefill, limits.decode, limits.bytes))
        ends, at = [], 0
        for left in reversed(range(self.stages)):  # stages after this one, each of which needs a layer
            a = b = c = most = 0.0
            start = at
            while at < self.n - left:
                a, b, c = a + self.layers.prefill[at], b + self.layers.decode[at], c + self.held[at]
                most = max(most, self.layers.outputs[at])
                if a > prefill or b > decode or c + most > held:
                    break
                at += 1
            if at == start:
                return None
            ends.append(at)
        return self.of(ends) if at == self.n else None

    def of(self, ends: Sequence[int]) -> Stages:
        """The figures of a cut."""
        spans = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        rows = self.layers
        return Stages(
            tuple(ends),
            max(sum(rows.prefill[span]) for span in spans),
            max(sum(rows.decode[span]) for span in spans),
            max(sum(self.held[span]) + max(rows.outputs[span]) for span in spans),
        )

    def best(
        self, cost: Callable[[float, float], float], cap: float, most_decode: float
    ) -> tuple[Stages, float] | None:
        """The stages of least cost, and a lower bound of the cost of all; None where none keep the limits.

        ``cost`` of the busiest stage's seconds in prefill and in decode, which grows with both. ``cap``: bytes of a
        stage. ``most_decode``: seconds of a stage in decode. The bound takes the least of both, reached together or
        not.
        """
        limits = Limits(decode=most_decode, bytes=cap)
        some = self.within(limits)
        if some is None:
            return None
        prefill, decode = _sums(self.layers.prefill), _sums(self.layers.decode)
        decode = decode[decode <= most_decode * (1 + SAME)]
        least_prefill = self._least(prefill, lambda value: Limits(value, most_decode, cap))
        least_decode = self._least(decode, lambda value: Limits(decode=value, bytes=cap))
        bound = cost(least_prefill, least_decode)
        best, chosen = math.inf, limits
        for value in prefill[np.searchsorted(prefill, least_prefill * (1 - SAME)) :]:
            if cost(float(value), least_decode) >= best:
                break
            allowed = float(value)
            reached = self._least(decode, partial(_both, allowed, cap))
            found = cost(allowed, reached)
            if found < best:
                best, chosen = found, Limits(allowed, reached, cap)
            if reached <= least_decode * (1 + SAME):
                break
        return self._leanest(chosen), min(bound, best)

    def _least(self, values: Floats, limits: Callable[[float], Limits]) -> float:
        """The least of the ascending ``values`` whose limits some stages keep; some keep those of the last."""
        low, high = 0, len(values) - 1
        while low < high:
            middle = (low + high) // 2
            if self.within(limits(float(values[middle]))) is None:
                low = middle + 1
            else:
                high = middle
        return float(values[low])

    def _leanest(self, limits: Limits) -> Stages:
        """Of the stages within the limits, those whose fullest holds the least, as nearly as it matters."""
        found = self.within(limits)
        assert found is not None
        low, high = 0.0, found.bytes
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            other = self.within(Limits(limits.prefill, limits.decode, middle))
            if other is None:
                low = middle
            else:
                found, high = other, min(middle, other.bytes)
            if high - low <= SAME * high:
                break
        return found


def _both(prefill: float, cap: float, decode: float) -> Limits:
    return Limits(prefill, decode, cap)


def _sums(rows: Sequence[float]) -> Floats:
    """All sums of neighbours, ascending; those that differ by rounding once, as the larger one."""
    running = np.concatenate([[0.0], np.cumsum(rows)])
    sums = np.sort((running[None, :] - running[:, None])[np.triu_indices(len(running), 1)])
    keep = np.append(sums[1:] > sums[:-1] * (1 + SAME), True)
    return np.asarray(sums[keep], dtype=np.float64)
