"""Both levels, against a search that looks at every placement, split and order."""

from __future__ import annotations

import itertools
import math

import exhaustive
import numpy as np
import pytest
from solver_problems import chain, config, posed, random_problem, solved, unit_cluster

from planner.common.budget import Control
from planner.exact.assignments import Level1
from planner.exact.decomposition import Decomposition, splits
from planner.exact.sequences import shortest
from planner.exact.shop import shop_of
from planner.exact.ticks import NEVER
from planner.placement.layouts import all_cuts
from planner.problem import Placement, Problem, Step
from planner.scheduling.classes import Classes, Floats, build_classes


def tick_of(problem: Problem) -> float:
    """The problem's step, or a small part of all times where it has none."""
    seconds = Step.of(problem).seconds
    longest = float(np.where(np.isfinite(problem.duration), problem.duration, 0.0).sum()) or 1.0
    return longest * 1e3 / 2.0**46 if seconds is None else seconds


def decided(problem: Problem, below: int = 2**60, **more: object) -> Decomposition:
    found = Decomposition(problem, tick_of(problem), below, Step.of(problem).seconds is not None, **more)  # type: ignore[arg-type]
    while found.open:
        found.step(lambda classes, start: None, Control())
    return found


@pytest.mark.parametrize("part", range(4))
def test_the_optimum_of_a_problem(part: int) -> None:
    compared = impossible = 0
    for seed in range(part * 28, (part + 1) * 28):
        problem = random_problem(seed, operators=3, devices=3, microbatches=(1, 2, 3), copies=(1, 1, 2))
        if problem is None:
            continue
        try:
            wanted, _ = exhaustive.optimum(problem)
        except exhaustive.TooLarge:
            continue
        found = decided(problem)
        compared += 1
        if math.isinf(wanted):
            impossible += 1
            assert found.below == 2**60, seed
        else:
            assert found.bound * found.tick == pytest.approx(wanted, rel=1e-9), seed
            assert decided(problem, found.bound).bound == found.bound, "nothing is shorter than the optimum"
            assert decided(problem, found.bound + 1).bound == found.bound, "and the optimum is found from close by"
    assert compared > 20 and impossible < compared


def whole(level1: Level1) -> list[tuple[int, ...]]:
    per_decision = [level1.allowed[x // level1.copies] for x in range(level1.decisions)]
    return list(itertools.product(*per_decision))


@pytest.mark.parametrize("seed", range(60))
def test_bounds_of_partial_placements(seed: int) -> None:
    """No bound, of level 1 or of level 2 on the relaxed problem, is above the best completion."""
    problem = random_problem(seed, operators=3, devices=2, microbatches=(1, 2, 3), copies=(1, 1, 2))
    if problem is None:
        return
    for counts in splits(problem.microbatches, problem.copies):
        level1 = Level1(problem, tick_of(problem), counts)
        if level1.decisions > 5:
            continue
        best: dict[tuple[int, ...], int] = {}
        for where in whole(level1):
            classes = build_classes(problem, Placement(level1.device_of(where)), counts)
            fits = not (classes.available < 0).any()
            found = shortest(shop_of(classes, level1.tick), 2**60, 300_000).makespan if fits else NEVER
            for decisions in range(1, len(where) + 1):
                best[where[:decisions]] = min(best.get(where[:decisions], NEVER), found)
        for where, makespan in best.items():
            assert level1.bound(where) <= makespan, (counts, where)
            relaxed = build_classes(level1.relaxed, level1.relaxed_placement(where), counts)
            if (relaxed.available < 0).any():
                assert makespan >= 2**60
            else:
                assert shortest(shop_of(relaxed, level1.tick), 2**60, 100_000).bound <= makespan, (counts, where)


@pytest.mark.parametrize("seed", range(40))
def test_placements_that_count_as_one_are_equally_good(seed: int) -> None:
    problem = random_problem(seed, operators=3, devices=3, microbatches=(2,), copies=(2,))
    if problem is None:
        return
    level1 = Level1(problem, tick_of(problem), (1, 1))
    optima: dict[tuple[int, ...], int] = {}
    for where in whole(level1)[:200]:
        classes = build_classes(problem, Placement(level1.device_of(where)), (1, 1))
        fits = not (classes.available < 0).any()
        found = shortest(shop_of(classes, level1.tick), 2**60, 300_000).makespan if fits else NEVER
        assert optima.setdefault(level1.canonical(where), found) == found, where


def test_splits() -> None:
    assert list(splits(4, 1)) == [(4,)]
    assert list(splits(4, 2)) == [(4,), (3, 1), (2, 2)]
    assert list(splits(3, 3)) == [(3,), (2, 1), (1, 1, 1)]


def test_only_the_placements_given() -> None:
    """The layout allows one cut of four, and that is longer than the best of all placements."""
    problem = posed(*chain(4), devices=2, microbatches=4)
    linear = posed(*chain(4), devices=2, microbatches=4, layout="linear")
    cuts = list(all_cuts(linear) or ())
    assert decided(linear, placements=cuts).bound > decided(problem).bound
    assert decided(linear, placements=cuts[:1]).bound >= decided(linear, placements=cuts).bound


def test_the_counting_model_decides_what_sequences_leave() -> None:
    """A chain without memory whose classes fill two devices almost evenly: few states differ enough to be pruned."""
    problem = random_problem(2076, operators=9, devices=4, microbatches=(3, 4, 5, 6, 8), copies=(1,), instant=False)
    assert problem is not None
    found = decided(problem, 152)
    assert (found.bound, found.counted > 0) == (152, True)


def test_a_schedule_is_told_with_its_classes() -> None:
    told: list[tuple[Classes, Floats]] = []
    problem = posed(*chain(3), devices=3, microbatches=3)
    found = Decomposition(problem, 1.0, 1_000)
    while found.open:
        found.step(lambda classes, start: told.append((classes, start)), Control())
    classes, start = told[-1]
    assert np.nanmax(start + classes.ticks[:, None]) == found.bound


@pytest.mark.parametrize(
    ("name", "optimum"), [("jobshop-ft06", 55.0), ("jobshop-sfjs05", 119.0), ("jobshop-mfjs01", 468.0)]
)
def test_job_shops_of_the_literature(name: str, optimum: float) -> None:
    assert decided(config(name), 1_000).bound == optimum


@pytest.mark.parametrize(("copies", "optimum"), [(1, 27.0), (2, 25.0)])
def test_a_solve_proves_it(copies: int, optimum: float) -> None:
    """Four stages, eight microbatches: with two copies both directions share the devices."""
    plan = solved(config("dualpipe-4x8", copies=copies))
    assert (plan.status, plan.makespan, plan.lower_bound) == ("optimal", optimum, optimum)


def test_memory_for_one_activation_a_device() -> None:
    """Nothing is left to decide, and that is proven."""
    problem = posed(*chain(4, activation=1.0), devices=unit_cluster(4, memory=1.0), microbatches=5)
    plan = solved(problem)
    assert plan.status == "optimal"
