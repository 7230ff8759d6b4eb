"""How large the groups of a step are: many sizes in short searches, the best of them in ever longer ones.

The memory that groups need where they meet says how many microbatches they may have (docs/design.md), but not what is
best where the number of microbatches is no multiple of it. So sizes compete: those of the best rules first, then such
as differ from the best by one microbatch, and then ever fewer of them in ever longer searches (as in successive
halving, Karnin, Koren and Somekh 2013).
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
    """Sizes of the groups of the best rules: so many different ones, fewer if there are no more."""
    best: dict[Sizes, None] = {}
    for value, rule in sorted(graded, key=itemgetter(0)):
        if isinstance(rule, MicrobatchGroups) and value < np.inf and len(best) < count:
            best.setdefault(tuple(rule.sizes(microbatches)))
    return list(best)


def neighbouring(sizes: Sizes, largest: int) -> list[Sizes]:
    """One microbatch in another group, none of which has more than the ``largest``; the most promising first.

    A group is in memory together with the others that it meets, two of them or, at either end of the step, one: the
    fewer microbatches there are where groups meet, the better.
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
    """Let sizes compete: ``search`` plays so many tasks for each of some sizes, and gives the best makespans so far."""
    values = dict(zip(known, search(known, params.tried), strict=True))
    near = [sizes for sizes in neighbouring(min(known, key=values.__getitem__), largest) if sizes not in values]
    near = near[: params.near]
    values.update(zip(near, search(near, params.tried), strict=True))
    for count, played in params.rounds:
        left = sorted(values, key=values.__getitem__)[:count]
        values = dict(zip(left, search(left, played), strict=True))
