"""Sizes of the microbatch groups of a step: many in short searches, the best of them in ever longer ones.

Memory limits how many microbatches two groups that meet may have (docs/scheduling.md). It does not say which sizes are
best if the number of microbatches is no multiple of that. So sizes compete: first those of the best rules, then those
that differ from the best by one microbatch, then ever fewer of them in ever longer searches (as in successive halving,
Karnin, Koren and Somekh 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np

from planner.scheduling.list.microbatch_groups import MicrobatchGroups
from planner.scheduling.list.rule_search import Graded
from planner.scheduling.params import SHIPPED, GroupSizeParams

Sizes = tuple[int, ...]
"""Microbatches of each group."""


def best_sizes(graded: Sequence[Graded], microbatches: int, count: int = SHIPPED.group_sizes.known) -> list[Sizes]:
    """Group sizes of the best rules: ``count`` different ones, fewer if there are no more."""
    best: dict[Sizes, None] = {}
    for value, rule in sorted(graded, key=itemgetter(0)):
        if isinstance(rule, MicrobatchGroups) and value < np.inf and len(best) < count:
            best.setdefault(tuple(rule.sizes(microbatches)))
    return list(best)


def neighbouring(sizes: Sizes, largest: int) -> list[Sizes]:
    """Sizes with one microbatch moved to another group, none above ``largest``; the most promising first.

    A group is in memory together with the groups that it meets: two, or one at either end of the step. The fewer
    microbatches meet, the better.
    """
    found: set[Sizes] = set()
    for out in range(len(sizes)):
        for into in range(len(sizes)):
            some = list(sizes)
            some[out] -= 1
            some[into] += 1
            if out != into and some[out] > 0 and some[into] <= largest:
                found.add(tuple(some))
    meetings = [1, *[2] * (len(sizes) - 2), 1]
    return sorted(found, key=lambda some: (sum(m * n * n for m, n in zip(meetings, some, strict=True)), some))


def compete(
    known: Sequence[Sizes],
    largest: int,
    search: Callable[[Sequence[Sizes], float], list[float]],
    params: GroupSizeParams = SHIPPED.group_sizes,
) -> None:
    """Let sizes compete: ``search`` plays so many tasks for each of some sizes; it returns the best makespans."""
    values = dict(zip(known, search(known, params.tried), strict=True))
    near = [sizes for sizes in neighbouring(min(known, key=values.__getitem__), largest) if sizes not in values]
    near = near[: params.near]
    if near:  # groups of the largest size have none
        values.update(zip(near, search(near, params.tried), strict=True))
    for count, played in params.rounds:
        left = sorted(values, key=values.__getitem__)[:count]
        values = dict(zip(left, search(left, played), strict=True))
