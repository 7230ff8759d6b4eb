"""How near predictions come: errors of figures, and of the choice that follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Pairs = Sequence[tuple[float, float]]
"""(predicted, measured)."""


@dataclass(frozen=True)
class Errors:
    """``median`` and ``p90`` of abs(predicted / measured - 1), ``bias``: median of predicted / measured - 1."""

    count: int
    median: float
    p90: float
    bias: float


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie, interpolated linearly between two of them."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def errors(pairs: Pairs) -> Errors:
    """The errors of at least one pair."""
    signed = [predicted / measured - 1 for predicted, measured in pairs]
    size = [abs(each) for each in signed]
    return Errors(len(signed), percentile(size, 0.5), percentile(size, 0.9), percentile(signed, 0.5))


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the smallest; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for i in order[start : end + 1]:
            found[i] = (start + end) / 2 + 1
        start = end + 1
    return found


def spearman(pairs: Pairs) -> float:
    """The correlation of ranks, -1 to 1; 0 where all predictions or all measurements are equal."""
    a, b = ranks([predicted for predicted, _ in pairs]), ranks([measured for _, measured in pairs])
    mean = (len(pairs) + 1) / 2
    together = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    apart = math.sqrt(sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b))
    return together / apart if apart else 0.0


def regret(pairs: Pairs, picks: int) -> float:
    """The best measured time among the ``picks`` first by prediction, over the best of all; 1 is perfect.

    Of equal predictions the first pair is picked first.
    """
    chosen = sorted(pairs, key=lambda pair: pair[0])[:picks]
    return min(measured for _, measured in chosen) / min(measured for _, measured in pairs)


def geometric_mean(values: Sequence[float]) -> float:
    """Of values above 0."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


@dataclass(frozen=True)
class Choice:
    """Over groups: regret of the first pick and of the best of three, geometric mean and worst; Spearman's median."""

    groups: int
    first: float
    first_worst: float
    three: float
    three_worst: float
    spearman: float


def choice(groups: Sequence[Pairs]) -> Choice:
    """The choice in each of at least one group."""
    first, three = [regret(group, 1) for group in groups], [regret(group, 3) for group in groups]
    order = percentile([spearman(group) for group in groups], 0.5)
    return Choice(len(groups), geometric_mean(first), max(first), geometric_mean(three), max(three), order)


def fitted_efficiency(pairs: Pairs) -> float:
    """The constant by which to divide predictions so that their bias is 0."""
    return percentile([predicted / measured for predicted, measured in pairs], 0.5)
