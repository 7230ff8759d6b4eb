"""Changes of devices and versions under the best schedule: none loses, and plans stay valid."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from solver_problems import config, random_placement, random_search, state_of, violations

from planner.problem import Placement, Problem
from planner.scheduling.classes import build_classes
from planner.scheduling.list_search import ListSearch
from planner.search import SearchState
from planner.search.steps import change_placement
from planner.search.steps.change_placement import ChangePlacement, _kept, _rescheduled


def begun(problem: Problem, threads: int = 1) -> SearchState:
    """The state after known rules on one device each in turn."""
    state = state_of(problem)
    state.threads = threads
    n = problem.n_operators
    state.try_placement(Placement((tuple(k * problem.n_devices // n for k in range(n)),)))
    return state


@pytest.mark.parametrize("name", ["multimodal-choose", "mixed-cluster"])
def test_no_change_loses_and_plans_are_valid(name: str) -> None:
    """On two threads the same is found as on one; some change pays."""
    found = []
    for threads in (1, 2):
        state = begun(config(name, microbatches=4), threads)
        state.params = replace(state.params, change=replace(state.params.change, changes=40, rounds=0))
        first = state.ranked[0].seconds
        step, shortest = ChangePlacement(), [first]
        assert step.supports(state)
        for _ in range(2):
            step.run(state)
            shortest.append(state.ranked[0].seconds)
        assert shortest == sorted(shortest, reverse=True)
        assert shortest[-1] < first
        best = state.incumbent.best
        assert best is not None
        assert violations(state.problem, best.timetable) == []
        assert state.incumbent.control.spent > 0
        found.append((shortest, state.ranked[0].full.placement))
    assert found[0] == found[1]


def test_versions_change_where_the_layout_is_fixed() -> None:
    """Operators stay where they are; without alternatives there is nothing to change."""
    state = begun(config("multimodal-choose", microbatches=4, layout="linear"))
    state.params = replace(state.params, change=replace(state.params.change, changes=40, rounds=0))
    before = state.ranked[0].full.placement
    assert ChangePlacement().supports(state)
    ChangePlacement().run(state)
    assert {search.full.placement.device_of for search in state.searches} == {before.device_of}
    assert not ChangePlacement().supports(begun(config("mixed-cluster", microbatches=4, layout="linear")))


def test_every_task_of_another_placement_gets_a_start() -> None:
    """And those of the same placement keep theirs: what is new follows the pass that it belongs to."""
    compared = 0
    for seed in range(40):
        search = random_search(seed)
        if search is None or search.mirrored is not None:
            continue
        search.try_known_rules(state_of(search.full.problem).incumbent.control)
        if search.best is None:
            continue
        full = search.full
        start = search.best.start * search.classes.tick
        assert np.array_equal(_kept(full, start, full), start, equal_nan=True)
        placement = random_placement(full.problem, seed + 100)
        if placement.copies != full.placement.copies:
            continue
        other = build_classes(full.problem, placement, counts=full.counts)
        found = _kept(full, start, other)
        listed = np.arange(found.shape[1]) < other.count[:, None]
        assert not np.isnan(found[listed]).any()
        compared += 1
    assert compared > 5


def test_a_changed_placement_has_the_root_of_the_one_before() -> None:
    """So a rival is one that began elsewhere."""
    state = begun(config("mixed-cluster", microbatches=4))
    (first,) = state.ranked
    (device_of,) = first.full.placement.device_of
    second = ListSearch.of(state.problem, Placement(((1, *device_of[1:]),)), 0)
    second.try_known_rules(state.incumbent.control)
    state.add(second, first)
    assert state.rivals(100.0) == state.ranked[:1]
    state.roots.clear()
    assert set(map(id, state.rivals(100.0))) == {id(first), id(second)}
    assert state.rivals(0.5) == state.ranked[:1]
    assert state.rivals(100.0, 1) == state.ranked[:1]


def test_the_rival_that_promises_most_is_changed() -> None:
    """The best one where nothing is known; where its last round gained nothing, one that has not had a round."""
    state = begun(config("mixed-cluster", microbatches=4))
    (first,) = state.ranked
    (device_of,) = first.full.placement.device_of
    state.try_placement(Placement((tuple(reversed(device_of)),)))
    best, other = state.ranked
    roots = {state.root(best), state.root(other)}
    change = replace(state.params.change, changes=4, rounds=0, rival=100.0, expected=1.0, racing=0)
    state.params = replace(state.params, change=change)
    step = ChangePlacement()
    step.run(state)
    gains = state.learnt[step.name]
    assert set(gains) < roots
    step.run(state)
    assert set(gains) == roots
    assert all(gain >= 0.0 for gain in gains.values())


def test_schedules_race_the_first_time() -> None:
    """A round from each of both, and one from the better half; none is longer than where it began."""
    state = begun(config("mixed-cluster", microbatches=4))
    (first,) = state.ranked
    (device_of,) = first.full.placement.device_of
    state.try_placement(Placement((tuple(reversed(device_of)),)))
    began = {state.root(search): search.seconds for search in state.ranked}
    change = replace(state.params.change, changes=8, rounds=0, race=100.0, racing=2)
    state.params = replace(state.params, change=change)
    step = ChangePlacement()
    step.run(state)
    assert set(state.learnt[step.name]) == set(began)
    assert state.rounds[step.name] == 3
    for search in state.searches:
        assert search.seconds <= began[state.root(search)] * (1 + 1e-9)
    step.run(state)
    assert state.rounds[step.name] == 4
    state.params = replace(state.params, change=replace(change, raced=state.tasks))
    state.learnt.clear()
    step.run(state)
    assert state.rounds[step.name] == 5  # too many tasks for two: no race


def test_a_longer_schedule_is_accepted_on_the_way_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a high temperature changes go on from longer ones, without one never; the shortest of all comes out."""
    went_on_from: list[float] = []

    def noted(state: SearchState, current: ListSearch, placement: Placement) -> ListSearch | None:
        went_on_from.append(current.seconds)
        return _rescheduled(state, current, placement)

    monkeypatch.setattr(change_placement, "_rescheduled", noted)
    for hot in (0.0, 0.1):
        went_on_from.clear()
        state = begun(config("multimodal-choose", microbatches=4))
        change = replace(state.params.change, changes=200, rounds=0, racing=0, hot=hot, worse=2.0)
        state.params = replace(state.params, change=change)
        ChangePlacement().run(state)
        best = state.incumbent.best
        assert best is not None
        assert violations(state.problem, best.timetable) == []
        assert best.makespan <= min(went_on_from) * (1 + 1e-9)
        assert state.ranked[0].seconds == pytest.approx(best.makespan)
        shorter = all(after <= before * (1 + 1e-9) for before, after in pairwise(went_on_from))
        assert shorter == (hot == 0.0)
