"""Placements that no family holds."""

from __future__ import annotations

import pytest
from solver_problems import chain, config, posed, state_of, unit_cluster

from planner.common.budget import Control
from planner.placement.layouts import family_placement
from planner.problem import Placement, Problem
from planner.scheduling.list_search import ListSearch
from planner.search.steps.placements import proposals, second_copies


def test_second_copies_half_of_the_devices_away() -> None:
    """Of the operators of the last round, and of all; the first copy stays where it is."""
    problem = posed(*chain(8), devices=4, copies=2, microbatches=4)
    looped = Placement.single((0, 1, 2, 3, 0, 1, 2, 3), "looped")
    some, every = second_copies(problem, looped)
    assert some.device_of == (looped.device_of[0], (0, 1, 2, 3, 2, 3, 0, 1))
    assert every.device_of == (looped.device_of[0], (2, 3, 0, 1, 2, 3, 0, 1))
    assert list(second_copies(problem, Placement.single((0,) * 8))) == []


@pytest.mark.parametrize("other", [{"copies": 1}, {"copies": 2, "layout": "linear"}])
def test_no_second_copies_where_they_are_not_allowed(other: dict[str, object]) -> None:
    """One copy only, or a layout that is named."""
    problem = posed(*chain(4), devices=2, microbatches=4, **other)
    assert list(second_copies(problem, Placement.single((0, 0, 1, 1)))) == []


def test_second_copies_shorten_a_pipeline() -> None:
    """Eight stages on eight devices, one copy: 67. A second copy four devices away: 63, which is the optimum."""
    posed_as = config("dualpipe-8x20")
    problem = Problem(posed_as.graph, posed_as.cluster, posed_as.microbatches, copies=2)
    linear = family_placement(problem, "linear", range(8), 1)
    assert linear is not None
    (both,) = second_copies(problem, linear)
    found = []
    for placement in (linear, both):
        search = ListSearch.of(problem, placement, 0)
        search.try_known_rules(Control())
        found.append(search.seconds)
    assert found == [pytest.approx(67), pytest.approx(63)]


def test_refined_groups_are_noted() -> None:
    """More operators than the assignment MIP carries: the notes say what was merged and what was refined."""
    problem = posed(*chain(60), devices=unit_cluster(2, 1e9), microbatches=2)
    state = state_of(problem)
    found = list(proposals(state))
    assert len(found) >= 3
    assert all(problem.allows(p.device_of[0]) for p in found)
    assert state.notes[0].startswith("level 1 merged 60 operators into 40 groups")
    assert "refined groups at device boundaries" in state.notes[1]
