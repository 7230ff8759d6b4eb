"""Bounds are never wrong: against optima known from elsewhere, and against looking at everything."""

from __future__ import annotations

import pytest
from exhaustive import TooLarge, optimum, optimum_of_placement
from solver_problems import chain, checked, config, operator, posed, random_problem, solved, unit_cluster

from planner.bounds import BOUNDS, placement_bound, problem_bound
from planner.bounds.problem import group_bound, latency_bound, load_bound, longest_chain
from planner.common.budget import Control
from planner.placement.layouts import only_placement
from planner.problem import ByDevice, Impossible, NetworkLevel, Placement, Problem, Step, Stream

SAME = 1 + 1e-8
TINY = {"operators": 4, "devices": 2, "microbatches": (1, 1, 2, 3), "copies": (1, 1, 1, 2), "instant": False}


@pytest.mark.parametrize("block", range(10))
def test_against_the_exhaustive_optimum(block: int) -> None:
    """On tiny problems: every bound <= the optimum <= every makespan; "optimal" and "impossible" are true."""
    compared = 0
    for seed in range(12 * block, 12 * block + 12):
        problem = random_problem(seed, **TINY)
        if problem is None:
            continue
        try:
            shortest, placed = optimum(problem)
        except TooLarge:
            continue
        if placed is None:
            with pytest.raises(Impossible):
                solved(problem, 2.0)
            continue
        for bound in BOUNDS:
            value = Step.of(problem).round_up(bound.value(problem, Control()))
            assert value <= shortest * SAME, (seed, bound.name)
        assert placement_bound(problem, Placement(placed)) <= shortest * SAME, (seed, "bound of the placement")
        plan = solved(problem, 2.0)
        assert checked(problem, plan) == [], seed
        assert plan.lower_bound is not None
        assert plan.lower_bound <= shortest * SAME, (seed, "bound of the plan")
        assert plan.makespan * SAME >= shortest, (seed, "better than the best")
        if plan.status == "optimal":
            assert plan.makespan <= shortest * (1 + 2e-6), (seed, "not optimal")
        compared += 1
    assert compared >= 4


@pytest.mark.parametrize("block", range(4))
def test_bound_of_any_placement(block: int) -> None:
    """A placement's bound is at most its own optimum, for placements drawn at random, of one copy and of two."""
    for seed in range(1000 + 12 * block, 1000 + 12 * block + 12):
        problem = random_problem(seed, **TINY)
        if problem is None:
            continue
        allowed = [
            tuple((seed >> i & 1) % problem.n_devices for i in range(problem.n_operators)),
            tuple((seed + i) % problem.n_devices for i in range(problem.n_operators)),
        ]
        allowed = [copy for copy in allowed if problem.allows(copy)]
        if not allowed:
            continue
        placed = tuple(allowed[: problem.copies])
        try:
            shortest = optimum_of_placement(problem, placed)
        except TooLarge:
            continue
        assert placement_bound(problem, Placement(placed)) <= shortest * SAME, seed


@pytest.mark.parametrize(
    ("name", "copies", "shortest"),
    [
        ("dualpipe-8x20", 2, 63.0),
        ("dualpipe-4x8", 2, 25.0),
        ("jobshop-ft06", 1, 55.0),
        ("jobshop-sfjs05", 1, 119.0),
        ("jobshop-mfjs01", 1, 468.0),
    ],
)
def test_known_optima(name: str, copies: int, shortest: float) -> None:
    """No bound exceeds an optimum that is known from elsewhere."""
    problem = config(name, copies=copies)
    assert 0 < problem_bound(problem, Control()) <= shortest


def test_dualpipe_placement_is_bounded_by_its_optimum() -> None:
    """8 stages, 20 microbatches, both directions: a middle device waits 3 s for 60 s of work."""
    problem = config("dualpipe-8x20", copies=2, layout="bidirectional")
    placement = only_placement(problem)
    assert placement is not None
    assert placement_bound(problem, placement) == 63.0


def test_longest_chain_by_hand() -> None:
    """F, F, I, I + the longer of what is left: W of the first operator, with the fastest device of each."""
    cost = ByDevice({"g0": 4.0, "g1": 3.0})
    problem = posed(operator("a", times=(1.0, 2.0, 5.0)), operator("b", "a", times=(cost, 1.0)), devices=2)
    assert longest_chain(problem) == 1 + 3 + 1 + 2 + 5


def test_load_by_hand() -> None:
    """Equal devices share the work; streams are apart."""
    four = chain(4)
    assert load_bound(posed(*four, devices=2, microbatches=5), Control()) == 30.0
    assert load_bound(posed(*four, devices=8, microbatches=5, copies=2), Control()) == 7.5
    comm = operator("c", times=(2.0, 2.0), stream=Stream.COMM)
    assert load_bound(posed(comm, operator("d", times=(2.0, 2.0)), microbatches=3), Control()) == 12.0


def test_one_operator_by_hand() -> None:
    """An operator is not split: the last of four waits for three F; with two copies one of them has 3 of 5.

    Its W may wait: 3 F and 3 I of it, then three I of others and a W.
    """
    assert group_bound(posed(*chain(4), devices=8, microbatches=5)) == 3 + 15
    assert group_bound(posed(*chain(4), devices=8, microbatches=5, copies=2)) == 3 + 6 + 4
    no_weights = chain(4, times=(1.0, 2.0))
    assert group_bound(posed(*no_weights, devices=8, microbatches=5)) == 3 + 15 + 6
    together = chain(2, colocate="x")
    assert group_bound(posed(*together, devices=2, microbatches=5)) == 30.0


def test_load_on_devices_of_two_speeds() -> None:
    """Work 12 a microbatch on a device, 6 on the other: spread so that both end together, 4 a microbatch."""
    cost = ByDevice({"g0": 3.0, "g1": 1.5})
    problem = posed(*(operator(f"o{k}", times=(cost, 0.0)) for k in range(4)), devices=2, microbatches=10)
    assert load_bound(problem, Control()) == pytest.approx(40.0, rel=1e-5)


def test_latency_by_hand() -> None:
    """On two devices the second starts after a stage's F; W may come last, so nothing must follow."""
    problem = posed(*chain(2), devices=2, microbatches=4)
    assert latency_bound(problem) == (2 * 4 * 3 + 1) / 2
    assert Step.of(problem).round_up(latency_bound(problem)) == 13.0


def test_memory_forces_idle_time() -> None:
    """Memory for one activation: the first device waits for its gradient, which the placement's bound knows."""
    cluster = unit_cluster(3, 1.0)
    problem = posed(*chain(3, activation=1.0), devices=cluster, microbatches=4)
    free = posed(*chain(3, activation=1.0), devices=3, microbatches=4)
    placement = Placement(((0, 1, 2),))
    # before its first I, the first device waits 5 s and runs one F; after its last F, 6 s follow with one I and W
    assert placement_bound(problem, placement) == pytest.approx(12 + (5 - 1) + (6 - 2))
    assert placement_bound(free, placement) == pytest.approx(14.0)


def test_a_bound_rises_to_the_step() -> None:
    """All durations multiples of 0.5 s: so is every makespan; rounding does not lift an exact value."""
    step = Step.of(posed(*chain(3, times=(1.5, 2.0, 0.5)), devices=2))
    assert step.seconds == 0.5
    assert step.round_up(3.2) == 3.5
    assert step.round_up(3.5 + 1e-12) == 3.5


def test_transfers_count_for_the_step() -> None:
    """A latency of 0.3 s between devices makes the common step 0.1 s."""
    cluster = unit_cluster(2, level=NetworkLevel(None, 0.3))
    assert Step.of(posed(*chain(2), devices=cluster)).seconds == pytest.approx(0.1)


def with_copies(problem: Problem, copies: int) -> Problem:
    return Problem(problem.graph, problem.cluster, problem.microbatches, copies=copies)


@pytest.mark.parametrize("seed", [5, 8, 21, 35])
def test_more_freedom_never_beats_a_bound_that_allows_it(seed: int) -> None:
    """The bound with 3 copies holds for plans of 1, 2 and 3 copies, found with other seeds."""
    problem = random_problem(seed, operators=5, devices=3)
    assert problem is not None
    bound = problem_bound(with_copies(problem, 3), Control())
    for copies in (1, 2, 3):
        plan = solved(with_copies(problem, copies), 1.0, seed=seed + copies)
        assert bound <= plan.makespan * SAME
        assert plan.placement_lower_bound is not None
        assert plan.lower_bound is not None
        assert plan.lower_bound <= plan.placement_lower_bound <= plan.makespan
