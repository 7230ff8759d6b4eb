"""Forward and backward list scheduling: valid schedules, shorter ones, and where it does not apply."""

from __future__ import annotations

import numpy as np
import pytest
from random_steps import with_step
from solver_problems import (
    config,
    random_placement,
    random_problem,
    random_search,
    violations,
)

from planner.common.budget import Control
from planner.common.threads import finished
from planner.placement.layouts import family_placement
from planner.scheduling.list.look import Look
from planner.scheduling.list_search import DoesNotFit, ListSearch


@pytest.mark.parametrize("block", range(4))
def test_schedules_are_valid(block: int) -> None:
    """Of random problems, some with copies, little memory, transfers and step tasks: no rule is broken."""
    found = 0
    for seed in range(25 * block, 25 * block + 25):
        search = random_training(seed)
        if search is None or search.best is None or search.justifier is None:
            continue
        justified = finished(search.justifier.justified(search.best, (Look(0.6), Look(0.3))))
        if justified is None:
            continue
        found += 1
        assert not np.isnan(justified.start[:, 0]).any()
        timetable = search.classes.timetable(justified.start * search.classes.tick)
        assert violations(search.classes.problem, timetable) == [], seed
    assert found >= 8


def random_training(seed: int) -> ListSearch | None:
    """The best schedule by known rules of a random problem, every other one with step tasks; None where none fits."""
    problem = random_problem(seed, training=True)
    if problem is None:
        return None
    if seed % 2:
        problem = with_step(problem, seed)
    try:
        search = ListSearch.of(problem, random_placement(problem, seed), seed)
    except DoesNotFit:
        return None
    search.try_known_rules(Control())
    return search


def test_it_shortens_the_schedules_of_rules() -> None:
    """DeepSeek-V3, one layer a chunk: of the best known rule by 1 % or more in four rounds."""
    problem = config("deepseek-v3-h800")
    placement = family_placement(problem, "interleaved", range(8), 4)
    assert placement is not None
    search = ListSearch.of(problem, placement, 0)
    search.try_known_rules(Control())
    assert search.best is not None
    assert search.justifier is not None
    best = now = search.best
    for _ in range(4):
        found = finished(search.justifier.justified(now, (Look(0.6), Look(0.3))))
        assert found is not None
        best, now = min(best, found, key=lambda run: run.makespan), found
    assert best.makespan < 0.99 * search.best.makespan


def test_where_it_does_not_apply() -> None:
    """Inference in capped memory: an output is held until all who read it have run."""
    found = [search for seed in range(40) if (search := random_search(seed, training=False)) is not None]
    several = [search for search in found if any(len(hold.releases) > 1 for hold in search.ordered.holds)]
    assert several
    capped = [search for search in several if np.isfinite(search.ordered.available).all()]
    assert [search for search in capped if search.justifier is not None] == []


def test_what_follows_in_reverse_is_the_longest_chain() -> None:
    """The tails of the reversed classes are taken from the heads of the classes: they are those of their own chains."""
    compared = 0
    for seed in range(40):
        search = random_training(seed)
        if search is None or search.justifier is None:
            continue
        arrays = search.justifier.backward
        longest = np.zeros(len(arrays.count))
        for _ in arrays.count:
            for a in range(len(longest)):
                after = arrays.succ[arrays.succ_ptr[a] : arrays.succ_ptr[a + 1]]
                longest[a] = max(longest[after] + arrays.ticks[after], default=0.0)
        assert arrays.tail == pytest.approx(longest, rel=1e-9, abs=0.6 * len(longest))  # whole ticks
        compared += 1
    assert compared > 10
