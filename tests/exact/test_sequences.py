"""Level 2 on one placement, against a search that looks at everything."""

from __future__ import annotations

import exhaustive
import numpy as np
import pytest
from solver_problems import chain, posed, random_placement, random_problem, unit_cluster

from planner.exact.sequences import shortest
from planner.exact.shop import shop_of
from planner.exact.ticks import NEVER
from planner.placement.layouts import family_placement
from planner.problem import Placement, Problem
from planner.scheduling.classes import Classes, build_classes, split_microbatches
from planner.scheduling.retime import retime

NONE = 1e18


def classes_of(problem: Problem, placement: Placement) -> Classes:
    return build_classes(problem, placement, split_microbatches(problem.microbatches, placement.copies))


def by_everything(problem: Problem, placement: Placement) -> float | None:
    """The optimum for the even split; ``NONE`` where there is none, None where that is too much to look at."""
    counts = split_microbatches(problem.microbatches, placement.copies)
    copy_of = tuple(c for c, n in enumerate(counts) for _ in range(n))
    tasks = exhaustive.tasks_of(problem, placement.device_of, copy_of)
    try:
        return exhaustive.Search(problem, placement.device_of, tasks, NONE).run()
    except exhaustive.TooLarge:
        return None


@pytest.mark.parametrize("part", range(4))
def test_the_optimum_of_a_placement(part: int) -> None:
    """Memory in two steps, both streams, channels, exclusive transfers, inference, several copies, any times."""
    compared = impossible = 0
    for seed in range(part * 60, (part + 1) * 60):
        problem = random_problem(seed, operators=4, devices=3, microbatches=(1, 2, 3), copies=(1, 1, 2))
        if problem is None:
            continue
        placement = random_placement(problem, seed)
        wanted = by_everything(problem, placement)
        classes = classes_of(problem, placement)
        if wanted is None or (classes.available < 0).any():
            assert wanted in (None, NONE)
            continue
        answer = shortest(shop_of(classes, classes.tick), NEVER - 1, 1_000_000)
        assert answer.proven, seed
        compared += 1
        if wanted == NONE:
            assert answer.start is None, seed
            impossible += 1
            continue
        assert answer.start is not None, seed
        assert answer.makespan * classes.tick == pytest.approx(wanted, rel=1e-9), seed
        assert answer.bound == answer.makespan
        seconds = retime(classes, answer.start)
        assert seconds is not None, seed
        assert classes.timetable(seconds).makespan(problem) == pytest.approx(wanted, rel=1e-9), seed
    assert compared > 30 and impossible < compared


def pipeline(devices: int, microbatches: int, memory: float | None) -> Classes:
    problem = posed(
        *chain(devices, activation=1.0),
        devices=unit_cluster(devices, memory=memory),
        microbatches=microbatches,
    )
    placement = family_placement(problem, "linear", range(devices), 1)
    assert placement is not None
    return build_classes(problem, placement)


@pytest.mark.parametrize(("memory", "optimum"), [(1.0, 72), (None, 27)])
def test_a_pipeline_of_4_stages_and_8_microbatches(memory: float | None, optimum: int) -> None:
    """One activation a device: only the first stage's W overlaps; without a cap: the busiest device and the ramps."""
    answer = shortest(shop_of(pipeline(4, 8, memory), 1.0), 1_000, 100_000)
    assert (answer.makespan, answer.proven) == (optimum, True)
    assert shortest(shop_of(pipeline(4, 8, memory), 1.0), optimum, 100_000).makespan == NEVER


def test_a_cut_off_search_claims_the_bound_of_its_root_only() -> None:
    shop = shop_of(pipeline(4, 8, 2.0), 1.0)
    optimum = shortest(shop, 1_000, 1_000_000)
    assert optimum.proven
    for nodes in (1, 10, 100):
        answer = shortest(shop, 1_000, nodes)
        assert not answer.proven and answer.bound <= optimum.makespan <= answer.makespan


def test_few_kept_states_and_a_stop_change_no_answer() -> None:
    shop = shop_of(pipeline(3, 5, 2.0), 1.0)
    whole = shortest(shop, 1_000, 1_000_000)
    assert shortest(shop, 1_000, 10_000_000, kept=8).makespan == whole.makespan
    stopped = shortest(shop, 1_000, 1_000_000, stop=np.ones(1, dtype=np.bool_))
    assert not stopped.proven and stopped.bound <= whole.makespan
