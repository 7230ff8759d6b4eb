"""Windows as a neighbourhood search: what is learnt of the kinds, and schedules that get shorter the same way again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from solver_problems import config, state_of, violations

from planner.common.budget import Control
from planner.placement.layouts import family_placements
from planner.problem import Problem
from planner.scheduling.list_search import ListSearch
from planner.scheduling.orders.precedence import PrecedenceGraph
from planner.search.incumbent import Incumbent
from planner.search.params import LnsParams, SearchParams
from planner.search.steps.lns_windows import Kind, Learnt, kinds, solve_windows

LNS = LnsParams()


def poor(microbatches: int) -> tuple[Problem, ListSearch]:
    """DeepSeek-V3's layers assigned round-robin, scheduled by the known rules only."""
    problem = config("deepseek-v3-units", microbatches=microbatches)
    placement = next(p for p in family_placements(problem) if p.origin == "interleaved x4")
    search = ListSearch.of(problem, placement, 0)
    search.try_known_rules(Control())
    return problem, search


def windowed(microbatches: int, threads: int, seed: int = 0) -> tuple[float, float, Incumbent, Learnt]:
    """Makespans before and after, in seconds, the incumbent, and what was learnt in two sessions."""
    problem, search = poor(microbatches)
    params = replace(SearchParams(), lns=LnsParams(session=5_000))
    state, learnt = replace(state_of(problem, params), seed=seed, threads=threads), Learnt(kinds(params.lns))
    before = search.seconds
    for _ in range(2):
        solve_windows(state, search, learnt)
    return before, search.seconds, state.incumbent, learnt


def test_schedules_get_shorter_the_same_way_again() -> None:
    """A few seconds of windows shorten a schedule; one thread or two, the same seed takes the same way."""
    before, after, incumbent, learnt = windowed(6, threads=1)
    assert after < before * 0.999
    assert incumbent.best is not None
    assert incumbent.best.makespan == pytest.approx(after)
    assert violations(incumbent.problem, incumbent.best.timetable) == []
    assert learnt.gained == pytest.approx(before - after)
    assert sum(kind.paid for kind in learnt.kinds) > 0
    again = windowed(6, threads=2)
    assert (again[1], str(again[3])) == (after, str(learnt))


def test_what_pays_is_drawn() -> None:
    """A kind that has paid is drawn more often than one that has not, which is never given up."""
    rng = np.random.default_rng(0)
    good, bad = kinds(LNS)[:2]
    for k in range(50):
        good.learn(k % 20 == 0, LNS.effort / 2, exhausted=True, pairs=10)
        bad.learn(False, LNS.effort / 2, exhausted=True, pairs=10)
    drawn = [good.drawn(rng) > bad.drawn(rng) for _ in range(2_000)]
    assert 0.8 < np.mean(drawn) < 1
    assert good.paid == 3


def test_sizes_follow_the_effort() -> None:
    """Windows grow while the solver exhausts them at little effort, and shrink where it does not, down to a least."""
    kind = kinds(LNS)[0]
    kind.learn(False, LNS.effort / 2, exhausted=True, pairs=LNS.pairs - 1)
    assert kind.size > LNS.size
    for exhausted, effort, pairs in ((False, 1.0, 1), (True, 2.0 * LNS.effort, 1), (True, 1.0, LNS.pairs)):
        size = kind.size
        kind.learn(False, effort, exhausted, pairs)
        assert kind.size < size
    for _ in range(50):
        kind.learn(False, effort=1.0, exhausted=False, pairs=1)
    assert kind.size == LNS.smallest


@pytest.mark.parametrize("kind", kinds(LNS), ids=lambda kind: kind.name)
def test_windows_lie_within_the_schedule(kind: Kind) -> None:
    """Whatever the kind and the size, the window holds tasks of the schedule, at most so many."""
    _, search = poor(2)
    assert search.best is not None
    graph, rng = PrecedenceGraph.of(search.ordered, search.best), np.random.default_rng(1)
    for size in (LNS.smallest, LNS.size, 10 * graph.n):
        window = kind.choose(graph, rng, size)
        assert 0 <= window.first < window.past <= graph.n
        assert window.past - window.first == min(size, graph.n)
        if window.resources is not None:
            assert max(window.resources) < search.classes.n_resources
