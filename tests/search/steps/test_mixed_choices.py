"""Choices of versions by kind, and shares of a kind, on placements that have been scheduled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solver_problems import config, state_of, violations

from planner.placement.layouts import family_placements
from planner.search import SearchState
from planner.search.steps.mixed_choices import MixedChoices


def begun(threads: int = 1, tasks: float = 3e6) -> SearchState:
    """DeepSeek-V3 with 16 microbatches and little memory: all layers at base have been scheduled on one placement."""
    state = state_of(config("deepseek-v3-h800-whole", microbatches=16, memory_cap=60 * 2.0**30))
    state.threads = threads
    mixed = replace(state.params.mixed, tasks=tasks, tuned=((4, 0.02), (2, 0.02)))
    state.params = replace(state.params, mixed=mixed, vary=replace(state.params.vary, evaluations=1000))
    placement = next(p for p in family_placements(state.problem) if p.origin == "interleaved x4")
    state.try_placement(placement)
    return state


def test_a_mix_is_better_than_one_version_for_all() -> None:
    """It is found by the rules of the placement, is valid, and is the same on two threads."""
    found = []
    for threads in (1, 2):
        state = begun(threads)
        before = state.ranked[0].seconds
        assert MixedChoices().supports(state)
        MixedChoices().run(state)
        best = state.incumbent.best
        assert best is not None and best.makespan < 0.97 * before
        assert violations(state.problem, best.timetable) == []
        versions = state.problem.versions_of(state.ranked[0].full.placement, 0)
        assert len({versions[i] for i in state.problem.free}) > 1
        assert {search.full.placement.device_of for search in state.searches} == {
            state.ranked[0].full.placement.device_of
        }
        found.append((best.makespan, versions))
    assert found[0] == found[1]


def test_no_more_is_tried_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not without tasks left, and not what is longer than the best by its bound."""
    state = begun(tasks=0.0)
    MixedChoices().run(state)
    assert len(state.searches) == 1
    state = begun()
    monkeypatch.setattr(type(state.incumbent), "bound_of", lambda self, placement: self.best.makespan * 1.01)
    MixedChoices().run(state)
    assert len(state.searches) == 1
    assert not MixedChoices().supports(state_of(config("multimodal")))
