"""Schedules re-optimised from prefixes, with their own starts as keys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from solver_problems import looped, random_search, violations

from planner.common.budget import Control
from planner.scheduling.list.own_starts import OwnStarts


def test_keys_are_the_starts_and_others_nearby() -> None:
    """Tasks that there are not come last; what is nearby differs in some starts, and in what is waited for."""
    start = np.array([[0.0, 1.0], [2.0, np.nan]])
    search = looped(1)
    own = OwnStarts(start)
    assert own.keys(search.keying, search.scales).tolist() == [[0.0, 1.0], [2.0, np.inf]]
    rng = np.random.default_rng(1)
    some = [own.nearby(rng, 0.01) for _ in range(50)]
    moved = [np.abs(other.start - start)[~np.isnan(start)] for other in some]
    assert all(np.isnan(other.start[1, 1]) for other in some)
    assert 0.0 < max(map(np.max, moved)) < 0.3
    assert len({other.look for other in some}) == 50


@pytest.mark.parametrize("block", range(4))
def test_schedules_are_valid_and_none_is_longer(block: int) -> None:
    """Of random problems; on two threads the same as on one."""
    found = 0
    for seed in range(20 * block, 20 * block + 20):
        makespans = []
        for threads in (1, 2):
            search = random_search(seed)
            if search is None:
                break
            search.try_known_rules(Control())
            if search.best is None:
                break
            before = search.makespan
            search.from_prefixes(60, Control(), 0.0, threads)
            assert search.makespan <= before
            makespans.append(search.makespan)
            timetable = search.full.timetable(search.whole(search.best.start) * search.classes.tick)
            assert violations(search.full.problem, timetable) == [], seed
        assert len(set(makespans)) <= 1
        found += len(makespans) == 2
    assert found >= 8


def test_they_get_shorter_than_by_known_rules() -> None:
    """DeepSeek-V3's layers in turn on 8 devices, 20 microbatches: by 2 % or more in 400 list schedules."""
    search = looped(20)
    search.try_known_rules(Control())
    before = search.makespan
    search.from_prefixes(400, Control(), 0.0)
    assert search.evaluations >= 400
    assert search.makespan < 0.98 * before


def test_nothing_is_tried_without_effort_or_below_the_goal() -> None:
    """The best schedule stays as it is."""
    search = looped(4)
    search.from_prefixes(100, Control(), 0.0)
    assert search.best is None, "there is nothing to re-optimise"
    search.try_known_rules(Control())
    before = search.best, search.evaluations
    search.from_prefixes(100, Control(), 2 * search.seconds)
    search.from_prefixes(100, replace(Control(), time_limit=0.0), 0.0)
    assert (search.best, search.evaluations) == before
