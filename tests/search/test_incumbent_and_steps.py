"""The parts of the search: what it keeps, when it stops, and what it proves."""

from __future__ import annotations

import numpy as np
import pytest
from solver_problems import chain, config, looped, operator, posed, state_of, violations

from planner.common.budget import Control
from planner.placement.layouts import only_placement
from planner.problem import Placement, Problem
from planner.scheduling.list.rules import RULES
from planner.scheduling.list_search import ListSearch
from planner.scheduling.models.counting import VARIABLES_AT_MOST
from planner.search import Incumbent, SearchParams
from planner.search.steps.counting import count
from planner.search.steps.exact import Exact
from planner.search.steps.vary_rules import longer


def incumbent_of(problem: Problem) -> Incumbent:
    return Incumbent(problem, Control(), 1e-6, lambda _: None)


def listed(incumbent: Incumbent, placement: Placement) -> ListSearch:
    """The best of the known rules on a placement, offered."""
    search = ListSearch.of(incumbent.problem, placement, 0)
    search.try_known_rules(incumbent.control)
    incumbent.offer_search(search, "rules")
    return search


def test_incumbent_keeps_the_shorter_schedule() -> None:
    """A longer schedule changes nothing, a shorter one does."""
    problem = posed(*chain(4), devices=2, microbatches=4)
    incumbent = incumbent_of(problem)
    listed(incumbent, Placement(((0, 0, 0, 0),)))
    assert incumbent.best is not None
    alone = incumbent.best.makespan
    listed(incumbent, Placement(((0, 0, 1, 1),)))
    together = incumbent.best.makespan
    assert together < alone == 48.0
    listed(incumbent, Placement(((0, 0, 0, 0),)))
    assert incumbent.best.makespan == together


def test_an_own_schedule_replaces_a_baseline_as_short() -> None:
    """Of two equal schedules the first is kept, but an own one replaces a baseline."""
    problem = posed(*chain(2), devices=2, microbatches=2)
    incumbent = incumbent_of(problem)
    search = listed(incumbent, Placement(((0, 1),)))
    assert incumbent.best is not None
    timetable = incumbent.best.timetable
    incumbent.best = None
    incumbent.offer(timetable, "published", baseline=True)
    incumbent.offer(timetable, "published later", baseline=True)
    assert incumbent.best.how == "published"
    incumbent.offer_search(search, "own")
    assert incumbent.best.how == "own"
    incumbent.offer_search(search, "own again")
    assert incumbent.best.how == "own"


def test_bounds_rise_to_the_step_and_never_fall() -> None:
    """All times are whole seconds: a bound of 10.2 s is one of 11 s."""
    incumbent = incumbent_of(posed(*chain(2), devices=2))
    incumbent.raise_bound(10.2, "test")
    assert incumbent.bound == 11.0
    incumbent.raise_bound(9.0, "test")
    assert incumbent.bound == 11.0
    assert incumbent.bound_of(Placement(((0, 1),))) == 11.0


def test_cutoff_and_proof() -> None:
    """With steps of a second, only schedules half a second shorter matter; proven where bound and best meet."""
    problem = posed(*chain(2), microbatches=2)
    incumbent = incumbent_of(problem)
    assert incumbent.cutoff == float("inf")
    listed(incumbent, Placement(((0, 0),)))
    assert incumbent.cutoff == pytest.approx(11.5)
    assert not incumbent.proven
    incumbent.raise_bound(12.0, "test")
    assert incumbent.proven
    assert incumbent.met


def test_the_exact_decomposition_proves_small_problems() -> None:
    """The job shop sfjs05 from a poor start: the optimum and its proof."""
    problem = config("jobshop-sfjs05")
    state = state_of(problem, SearchParams())
    incumbent = state.incumbent
    device_of = [int(np.flatnonzero(row)[0]) for row in problem.runs_on]
    listed(incumbent, Placement.single(device_of))
    assert incumbent.best is not None
    assert incumbent.best.makespan > 119
    Exact("first").run(state)
    assert (incumbent.best.makespan, incumbent.bound) == (119.0, 119.0)
    assert violations(problem, incumbent.best.timetable) == []


def test_counting_proves_the_only_placement() -> None:
    """A line of four equal stages with little memory: what counting proves is a bound of the problem."""
    problem = config("dualpipe-4x8", layout="linear", memory_cap=4)
    state = state_of(problem, SearchParams())
    incumbent = state.incumbent
    placement = only_placement(problem)
    assert placement is not None
    search = listed(incumbent, placement)
    count(state, search, VARIABLES_AT_MOST)
    assert incumbent.best is not None
    assert incumbent.best.makespan == incumbent.bound
    assert incumbent.bound > 27
    assert violations(problem, incumbent.best.timetable) == []


def test_counting_proves_nothing_beyond_its_placement() -> None:
    """Where other placements are allowed, a proof for one of them is that placement's only."""
    problem = config("dualpipe-4x8", memory_cap=4)
    state = state_of(problem, SearchParams())
    incumbent = state.incumbent
    placement = Placement(((0, 1, 2, 3),))
    count(state, listed(incumbent, placement), VARIABLES_AT_MOST)
    assert incumbent.bound == 0
    assert incumbent.bound_of(placement) > 27


def test_a_search_repeats() -> None:
    """The same seed, the same schedule; improving never makes it worse, and stops at the target."""
    problem = posed(*(operator(f"o{k}", times=(1.0, 1.5, 0.5)) for k in range(5)), devices=3, microbatches=4)
    placement = Placement(((0, 1, 2, 0, 1),))
    found = []
    for _ in range(2):
        search = ListSearch.of(problem, placement, 7)
        search.try_known_rules(Control())
        before = search.makespan
        search.vary_rules(100, Control(), 0.0)
        assert search.makespan <= before
        assert search.evaluations > len(RULES)
        assert search.best is not None
        found.append(search.best.start)
    assert np.array_equal(found[0], found[1], equal_nan=True)
    search = ListSearch.of(problem, placement, 7)
    search.try_known_rules(Control())
    tried = search.evaluations
    search.vary_rules(100, Control(), search.seconds)
    assert search.evaluations == tried


def test_a_long_search_begins_afresh() -> None:
    """What was varied before is among what a short search goes on from, and not where it is long."""
    problem = posed(*(operator(f"o{k}", times=(1.0, 1.5, 0.5)) for k in range(5)), devices=3, microbatches=4)
    for afresh in (False, True):
        search = ListSearch.of(problem, Placement(((0, 1, 2, 0, 1),)), 7)
        search.pool = [(0.0, RULES[0])]
        search.vary_rules(100, Control(), 0.0, afresh=afresh)
        assert len(search.pool) > 1
        assert (RULES[0] in [rule for _, rule in search.pool]) is not afresh


def test_rules_are_varied_for_longer_where_they_shape_the_whole() -> None:
    """With thousands of tasks; not where annealing does it."""
    whole = looped(20)
    state = state_of(whole.classes.problem)
    assert longer(state, whole) > 5
    assert longer(state, whole) * whole.classes.n_tasks == pytest.approx(state.params.vary.long)
    assert longer(state, looped(200)) == 1.0, "more tasks than that: not longer, but no shorter either"
    few = ListSearch.of(posed(*chain(4), devices=2, microbatches=4), Placement(((0, 0, 1, 1),)), 0)
    assert longer(state, few) == 1.0
