"""Sizes of groups: which are near to others, and how they compete."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from planner.scheduling.list.group_sizes import Sizes, best_sizes, compete, neighbouring
from planner.scheduling.list.microbatch_groups import MicrobatchGroups
from planner.scheduling.list.rules import RULES
from planner.scheduling.params import GroupSizeParams

SIZES = GroupSizeParams()


def test_sizes_may_be_rounded_either_way() -> None:
    """What the others have is 9.75: 10, 9 and 10, or 10, 10 and 9."""
    assert MicrobatchGroups(4, last_more=1).sizes(40) == [10, 10, 9, 11]
    assert MicrobatchGroups(4, last_more=1, rounding=-0.1).sizes(40) == [10, 9, 10, 11]


def test_given_sizes_stay() -> None:
    """Whatever else is varied."""
    first, rng = MicrobatchGroups(1, given=(3, 1, 2)), np.random.default_rng(0)
    rule = first
    for _ in range(50):
        rule = rule.nearby(rng)
        assert rule.sizes(6) == [3, 1, 2]
        assert (rule.groups, rule.first_more, rule.last_more, rule.rounding) == (1, 0, 0, 0.0)
    assert rule != first


def test_sizes_of_the_best_rules() -> None:
    """Best first, one of each size, only of groups, and none that did not end."""
    one, two, other = MicrobatchGroups(4, meeting=0.1), MicrobatchGroups(4, meeting=0.2), MicrobatchGroups(5)
    graded = [(3.0, one), (2.0, two), (1.0, RULES[0]), (2.5, other), (np.inf, MicrobatchGroups(3))]
    assert best_sizes(graded, 40) == [(10, 10, 10, 10), (8, 8, 8, 8, 8)]
    assert best_sizes(graded, 40, 1) == [(10, 10, 10, 10)]


@pytest.mark.parametrize("sizes", [(10, 10, 10, 10), (11, 9, 9, 11), (1, 5), (3,), (2, 1, 1)])
def test_neighbours_differ_by_one_microbatch(sizes: Sizes) -> None:
    """None is empty or too large, and there are all of them."""
    found = neighbouring(sizes, 11)
    assert len(set(found)) == len(found)
    for some in found:
        assert sum(some) == sum(sizes)
        assert 1 <= min(some) <= max(some) <= 11
        assert sum(abs(a - b) for a, b in zip(some, sizes, strict=True)) == 2
    gives, takes = sum(n > 1 for n in sizes), sum(n < 11 for n in sizes)
    both = sum(1 < n < 11 for n in sizes)
    assert len(found) == gives * takes - both


def test_what_meets_others_twice_is_rather_small() -> None:
    """Groups between have two meetings, those at the ends one: the ends are larger in the first neighbours."""
    assert neighbouring((10, 10, 10, 10), 11)[:4] == [
        (10, 9, 10, 11),
        (10, 10, 9, 11),
        (11, 9, 10, 10),
        (11, 10, 9, 10),
    ]


def test_the_best_sizes_are_searched_longest() -> None:
    """First known ones and what is near to the best; then ever fewer for ever longer, by what was found last."""
    asked: list[tuple[list[Sizes], float]] = []
    best = (10, 9, 10, 11)

    def search(some: Sequence[Sizes], played: float) -> list[float]:
        asked.append((list(some), played))
        return [float(sum(abs(a - b) for a, b in zip(sizes, best, strict=True))) for sizes in some]

    known = [(11, 9, 9, 11), (10, 10, 10, 10), (13, 9, 9, 9)]
    compete(known, 11, search)
    assert asked[0] == (known, SIZES.tried)
    assert best in asked[1][0]
    assert asked[1][1] == SIZES.tried
    assert len(asked[1][0]) == SIZES.near
    assert not set(known) & set(asked[1][0])
    assert [(len(some), played) for some, played in asked[2:]] == list(SIZES.rounds)
    assert asked[-1][0] == [best]
    assert len(known) <= SIZES.known


def test_one_size_alone_competes_with_its_neighbours_if_it_has_any() -> None:
    """A single group has none."""
    asked: list[list[Sizes]] = []

    def search(some: Sequence[Sizes], played: float) -> list[float]:
        asked.append(list(some))
        return [1.0] * len(some)

    compete([(4,)], 4, search)
    assert asked == [[(4,)], [(4,)], [(4,)], [(4,)]]  # nobody is asked about no sizes
