"""Beam search over horizons: the horizons, idle time by then, sizes of groups, and the schedules."""

from __future__ import annotations

import numpy as np
import pytest
from solver_problems import looped, violations

from planner.common.budget import Control
from planner.scheduling.list.beam import horizons, search_horizons
from planner.scheduling.list.kernel import run
from planner.scheduling.list.microbatch_groups import MicrobatchGroups, random_groups
from planner.scheduling.list.rule_search import Walker
from planner.scheduling.list_search import ListSearch
from planner.scheduling.retime import retime


def walkers(search: ListSearch, count: int) -> list[Walker]:
    """Walkers of one seed."""
    rngs = np.random.default_rng(7).spawn(count)
    return [Walker(search.classes, search.arrays, search.keying, search.scales, rng, goal=0.0) for rng in rngs]


def test_a_path_up_to_a_horizon_is_the_beginning_of_the_whole() -> None:
    """The same starts up to there, none later, and what is idle by then added up task by task."""
    search = looped(20)
    rng = np.random.default_rng(3)
    (walker,) = walkers(search, 1)
    classes = search.classes
    for share in (0.2, 0.5, 0.9):
        rule = random_groups(rng, search.scales)
        whole = run(search.arrays, rule.keys(search.keying, search.scales), rule.look, reserve=rule.reserve)
        walker.horizon = share * whole.makespan
        path = walker.follow(rule)
        assert path is not None
        early = whole.start <= walker.horizon
        assert np.array_equal(path.run.start[early], whole.start[early])
        assert np.isnan(path.run.start[~early]).all()
        worked = 0.0
        for a in range(classes.n):
            if classes.target[a] < 0 and not classes.problem.on_comm[classes.operator[a]]:
                for start in whole.start[a, : int(classes.count[a])]:
                    worked += min(max(0.0, walker.horizon - start), classes.ticks[a])
        assert path.value == pytest.approx(walker.horizon - worked / 8)
        assert walker.best is None  # it is no schedule of the step


def test_horizons_come_after_groups_have_met() -> None:
    """Four groups: after the first and the second have met, after the second and the third, and the end."""
    (walker,) = walkers(looped(40), 1)
    first, second, end = horizons(walker)
    group = 10 * walker.scales.microbatch / walker.classes.tick
    assert second - first == pytest.approx(group)
    assert end == np.inf
    assert len(horizons(walkers(looped(20), 1)[0])) == 2


def test_schedules_of_the_beam_are_valid_and_better_than_the_rule_they_began_with() -> None:
    """And the same whatever the number of threads is."""
    search = looped(40)
    sizes = (10, 9, 10, 11)
    alone = search.try_rule(MicrobatchGroups(1, given=sizes))
    found = []
    for threads in (1, 2):
        team = walkers(search, 2)
        stages = search_horizons(team, sizes, 6e6, alone, Control(time_limit=600.0), threads)
        rules = [rule for paths in stages for path in paths for _, rule in path.since]
        assert {tuple(rule.sizes(40)) for rule in rules if isinstance(rule, MicrobatchGroups)} == {sizes}
        assert all(walker.horizon == np.inf for walker in team)
        found.append(min((walker.best for walker in team if walker.best is not None), key=lambda each: each.makespan))
    assert np.array_equal(found[0].start, found[1].start, equal_nan=True)
    assert found[0].makespan < 0.97 * alone
    seconds = retime(search.classes, found[0].start, found[0].turn)
    assert seconds is not None
    assert violations(search.classes.problem, search.classes.timetable(seconds)) == []


def test_a_longer_search_begins_with_what_a_shorter_one_has_found() -> None:
    """No horizon but the last has a worse schedule than before; the last one is searched again."""
    search, sizes, control = looped(40), (10, 9, 10, 11), Control(time_limit=600.0)
    limit = search.try_rule(MicrobatchGroups(1, given=sizes))
    first = search_horizons(walkers(search, 2), sizes, 4e6, limit, control)
    assert len(first) == len(horizons(walkers(search, 1)[0])) - 1
    again = search_horizons(walkers(search, 1), sizes, 1e4, limit, control, earlier=first)
    alone = search_horizons(walkers(search, 1), sizes, 1e4, limit, control)
    for before, with_it, without in zip(first, again, alone, strict=True):
        assert with_it[0].value <= before[0].value < without[0].value


def test_what_is_idle_for_too_long_is_given_up() -> None:
    """Up to a horizon: neither later than that nor what is just good enough, and nothing else is changed by it."""
    search = looped(20)
    rng = np.random.default_rng(5)
    (walker,) = walkers(search, 1)
    walker.horizon = 1.5 / search.classes.tick
    for _ in range(10):
        rule = random_groups(rng, search.scales)
        path = walker.follow(rule)
        assert path is not None
        same = walker.follow(rule, path.value)
        assert same is not None
        assert np.array_equal(same.run.start, path.run.start, equal_nan=True)
        keys = rule.keys(search.keying, search.scales)
        found = run(search.arrays, keys, rule.look, reserve=True, horizon=walker.horizon, most_idle=0.99 * path.value)
        assert found.makespan == np.inf
        assert walker.follow(rule, 0.99 * path.value) is None
