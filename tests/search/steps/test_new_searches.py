"""Steps that begin new searches: restarts on the best placement and its rival, moves that give up, beam searches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solver_problems import chain, looped, operator, posed, state_of, violations

from planner.common.budget import Control
from planner.problem import Placement
from planner.scheduling.list_search import ListSearch
from planner.search import SearchState
from planner.search.steps import move_operators
from planner.search.steps.beam_search import BeamSearch
from planner.search.steps.move_operators import Heat, move_groups
from planner.search.steps.prefixes import Prefixes
from planner.search.steps.restart import Restart

CLOSE = Placement(((0, 1, 2, 0, 1),))
RIVAL = Placement(((0, 1, 2, 2, 1),))


def searched(*placements: Placement) -> SearchState:
    """A chain of five operators on three devices, scheduled by known rules on these placements."""
    problem = posed(*(operator(f"o{k}", times=(1.0, 1.5, 0.5)) for k in range(5)), devices=3, microbatches=4)
    state = state_of(problem)
    for placement in placements:
        state.try_placement(placement)
    return state


def test_a_restart_searches_the_best_placement_and_its_rival_in_turn() -> None:
    """Each with a seed of its own; the rival only where it is nearly as good."""
    state = searched(CLOSE, RIVAL)
    best, other = state.ranked
    for near in (0.9, 10.0):
        state.params = replace(state.params, restart=replace(state.params.restart, rival=near, close=-1.0))
        before = len(state.searches)
        for _ in range(4):
            Restart().run(state)
        places = [search.full.placement.device_of for search in state.searches[before:]]
        expected = {best.full.placement.device_of} | ({other.full.placement.device_of} if near > 2.0 else set())
        assert set(places) == expected
    assert state.rounds["restart"] == 8
    assert state.incumbent.best is not None
    assert violations(state.incumbent.problem, state.incumbent.best.timetable) == []


def test_a_restart_needs_a_schedule_to_begin_with() -> None:
    """Where all rules were given up early there is none, and nothing happens."""
    state = searched(CLOSE)
    for search in state.searches:
        search.best = None
    Restart().run(state)
    assert len(state.searches) == 1
    assert not state.rounds["restart"]


@pytest.mark.parametrize("still", [1, 7])
def test_moves_end_when_so_many_in_a_row_gain_nothing(monkeypatch: pytest.MonkeyPatch, still: int) -> None:
    """And what they began with is kept."""
    state, tried = searched(CLOSE), []
    monkeypatch.setattr(move_operators, "other_devices", lambda *given: tried.append(given))
    (search,) = state.searches
    assert move_groups(state, search, (0, 0), Heat(400, still)) is search
    assert len(tried) == still


def test_moves_are_compared_by_what_justification_makes_of_them() -> None:
    """Then, too, no move loses: everything began on one of two devices."""
    problem = posed(*chain(6), devices=2, microbatches=2)
    search = ListSearch.of(problem, Placement(((0,) * 6,)), 0)
    search.try_known_rules(Control())
    by_rules, justified = (
        move_groups(state_of(problem), search, (0, 0), Heat(400, justified=rounds)).seconds for rounds in (0, 1)
    )
    assert justified <= by_rules < search.seconds


def test_prefixes_are_for_many_tasks() -> None:
    """With few, annealing closes the gaps of a schedule. None gets longer."""
    state = searched(CLOSE)
    assert not Prefixes().supports(state)
    search = looped(20)
    state = state_of(search.classes.problem)
    assert state.has_many_tasks
    assert not Prefixes().supports(state), "nothing has been scheduled"
    search.try_known_rules(Control())
    state.add(search)
    assert Prefixes().supports(state)
    state.params = replace(state.params, prefix=replace(state.params.prefix, evaluations=50))
    before = search.seconds
    Prefixes().run(state)
    assert search.seconds < before
    assert state.incumbent.best is not None
    assert state.incumbent.best.makespan == pytest.approx(search.seconds)


def test_a_beam_search_is_for_several_microbatch_groups() -> None:
    """Two groups meet only once."""
    for microbatches, several in ((20, False), (40, True)):
        search = looped(microbatches)
        state = state_of(search.classes.problem)
        assert not BeamSearch().supports(state), "nothing has been scheduled"
        search.try_known_rules(Control())
        state.add(search)
        assert BeamSearch().supports(state) is several
        state.incumbent.control.time_limit = 0.0
        BeamSearch().run(state)
        assert bool(search.group_sizes) is False, "no time for it"
