"""The oracle of whole steps: its optima are valid plans, and those of small cases are known."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
from exhaustive import best_step, placements, splits
from handmade import cluster, graph, operator, problem
from plan_cases import check
from tiny_steps import SEEDS, tiny_problem, tiny_problems
from whole_steps import plan_of_step, whole_step

from planner.problem import Mode, Pass, Problem
from planner.problem.graph import Variant

R, U, G = Pass.R, Pass.U, Pass.G


@pytest.mark.parametrize("seed", SEEDS)
def test_optima_are_valid_plans(seed: int) -> None:
    """And no step of one microbatch after the other that fits is shorter, however it is placed."""
    posed = tiny_problem(seed)
    assert posed is not None
    shortest, timetable = best_step(posed)
    if timetable is not None:
        plan = plan_of_step(posed, timetable)
        plan = replace(plan, origin="baseline:exhaustive", lower_bound=None, placement_lower_bound=None, gap=None)
        assert check(posed, plan) == []
        assert plan.makespan == pytest.approx(shortest)
    for copies in range(1, posed.copies + 1):
        for placement in list(placements(posed, copies))[::7]:
            for copy_of in splits(posed.microbatches, copies):
                timetable = whole_step(posed, placement.device_of, copy_of, placement.variant_of)
                plan = plan_of_step(posed, timetable)
                violations = {int(v.rule) for v in check(posed, plan)} - {7}
                assert violations <= {5}
                assert violations or plan.makespan >= shortest - 1e-9


def test_the_problems_have_something_of_everything() -> None:
    posed = tiny_problems()
    assert len(posed) == len(SEEDS) == 30
    assert all(p.free and p.ends_with_step_tasks for p in posed)
    assert (
        {p.n_operators for p in posed} == {p.n_devices for p in posed} == {p.microbatches for p in posed} == {1, 2, 3}
    )
    assert {p.copies for p in posed} == {1, 2}
    assert {p.graph.clip_gradients for p in posed} == {True, False}
    assert any(p.variants is not None for p in posed) and any(p.exclusive.any() for p in posed)


def one(microbatches: int = 2, devices: int = 1, copies: int = 1, clip: bool = False, **more: object) -> Problem:
    a = operator("a", f=1, i=1, w=1, **more)
    the_graph = replace(graph(a, microbatches=microbatches), clip_gradients=clip)
    return problem(the_graph, cluster(devices, latency=0.5, bandwidth=2.0), copies=copies)


ALL = {R: 2.0, U: 1.0, G: 0.5}
LEAN = Variant("lean", {Pass.F: 1.0, Pass.I: 2.5}, 4.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("posed", "seconds"),
    [
        (one(), 6.0),
        (one(step=ALL), 9.5),
        (one(step={U: 1.0}), 7.0),
        (one(step={R: 2.0, G: 0.5}), 8.5),
        (one(2, devices=2, copies=2, step=ALL), 6.5),  # nothing to exchange
        (one(2, devices=2, copies=2, step=ALL, gradient=2.0), 8.0),  # 1.5 s to exchange
        (one(2, devices=2, copies=2, step=ALL, gradient=20.0), 9.5),  # rather one device
        (one(4, devices=2, copies=2, gradient=1.0), 7.0),
    ],
)
def test_known_optima(posed: Problem, seconds: float) -> None:
    found, timetable = best_step(posed)
    assert found == seconds
    assert timetable is not None and timetable.makespan(posed) == seconds


def two(clip: bool) -> Problem:
    """a and b have nothing to do with each other; b reduces for long, on the same comm stream."""
    a = operator("a", f=1, i=1, step={R: 1.0, U: 4.0})
    b = operator("b", f=1, i=1, step={R: 5.0, U: 1.0})
    return problem(replace(graph(a, b), clip_gradients=clip), cluster(1))


@pytest.mark.parametrize(("clip", "seconds"), [(False, 10.0), (True, 13.0)])
def test_clipping_holds_updates_back(clip: bool, seconds: float) -> None:
    """With a first, R of b ends at 9 and its U at 10; clipped, b first: both R end at 8, both U at 13."""
    assert best_step(two(clip))[0] == seconds


@pytest.mark.parametrize(("cap", "seconds"), [(20.0, 6.0), (9.0, 6.0), (8.0, 7.0), (4.9, math.inf)])
def test_memory_decides_on_the_variant(cap: float, seconds: float) -> None:
    """Of 5 bytes and 4 a microbatch, or 4 and 1; one microbatch after the other fits in 9, or in 5, takes 6 or 7 s."""
    posed = replace(one(activation=4, held_for_weight_grad=4, parameters=5, variants=(LEAN,)), memory_cap=cap)
    assert best_step(posed)[0] == seconds


@pytest.mark.parametrize(("allowed", "seconds"), [(None, 3.0), (("base", "lean"), 3.0), (("lean",), 3.5)])
def test_only_what_is_allowed(allowed: tuple[str, ...] | None, seconds: float) -> None:
    posed = replace(one(1, variants=(LEAN,)), variants=allowed)
    assert best_step(posed)[0] == seconds


def test_inference_has_no_end() -> None:
    posed = one(step=ALL, gradient=4.0)
    posed = replace(posed, graph=replace(posed.graph, mode=Mode.INFERENCE))
    assert best_step(posed)[0] == 2.0


def test_all_placements() -> None:
    """Of two copies on two devices in two versions each: one of every pair of devices and versions, unordered."""
    posed = one(1, devices=2, copies=2, variants=(LEAN,))
    assert len(list(placements(posed, 1))) == 4
    assert len(list(placements(posed, 2))) == len({tuple(sorted(p)) for p in product(range(4), repeat=2)})
