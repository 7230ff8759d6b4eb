"""The bound over what devices can host: never above an optimum, and equal to those that the field knows."""

from __future__ import annotations

import random

import pytest
from exhaustive import TooLarge, optimum
from solver_problems import chain, config, operator, posed, two_nodes, unit_cluster

from planner.bounds import placement_bound
from planner.bounds.patterns import pattern_bound
from planner.common.budget import Control
from planner.problem import Impossible, NetworkLevel, Placement, Problem, Step

SAME = 1 + 1e-8


def like_operators(seed: int) -> Problem | None:
    """Operators and devices that are all alike, memory scarce or not, with or without transfers."""
    r = random.Random(seed)
    n, devices, training = r.randint(1, 3), r.randint(1, 3), r.random() < 0.8
    times = tuple(float(r.randint(1, 3)) for _ in range(r.choice([2, 3]) if training else 1))
    activation, parameters = float(r.choice([0, 1, 1, 2])), float(r.choice([0, 1]))
    held = r.choice([1.0, 0.5])
    cap = r.choice([None, 2, 3, 4, 5, 7])
    level = NetworkLevel(None, r.choice([0.5, 1.0])) if r.random() < 0.5 else None
    cluster = unit_cluster(devices, None if cap is None else float(cap), level, exclusive_transfers=r.random() < 0.2)
    if level and r.random() < 0.5:
        cluster = two_nodes(cluster, NetworkLevel(None, 1.5))
    operators = [
        operator(
            f"s{k}",
            *([f"s{k - 1}"] if k and r.random() < 0.9 else []),
            times=times,
            activation=activation,
            parameters=parameters,
            held_for_weight_grad=activation * held,
        )
        for k in range(n)
    ]
    microbatches = r.choice([1, 2, 2, 3, 4])
    try:
        return posed(
            *operators, devices=cluster, microbatches=microbatches, training=training, copies=r.choice([1, 2, 2])
        )
    except Impossible:
        return None


@pytest.mark.parametrize("block", range(5))
def test_never_above_the_optimum(block: int) -> None:
    """On tiny problems of like operators, the bound is at most what looking at everything finds."""
    compared = 0
    for seed in range(12 * block, 12 * block + 12):
        problem = like_operators(seed)
        if problem is None:
            continue
        try:
            shortest, placed = optimum(problem)
        except TooLarge:
            continue
        if placed is None:
            continue
        bound = Step.of(problem).round_up(pattern_bound(problem, Control()))
        assert bound <= shortest * SAME, seed
        assert placement_bound(problem, Placement(placed)) <= shortest * SAME, seed
        compared += 1
    assert compared >= 4


@pytest.mark.parametrize(("stages", "microbatches"), [(4, 8), (4, 12), (6, 12), (8, 16), (8, 20), (8, 24), (16, 32)])
def test_two_copies_of_a_pipeline(stages: int, microbatches: int) -> None:
    """3 M + P / 2 - 1 over every placement with two copies, in DualPipe's memory: plans that take it exist."""
    cluster = unit_cluster(stages, stages + 3.0)
    pipeline = chain(stages, activation=1.0, parameters=1.0)
    problem = posed(*pipeline, devices=cluster, microbatches=microbatches, copies=2)
    bound = Step.of(problem).round_up(pattern_bound(problem, Control()))
    assert bound == 3 * microbatches + stages / 2 - 1


@pytest.mark.parametrize(("activations", "least"), [(9, 63), (8, 63), (7, 64), (6, 65), (5, 67)])
def test_less_memory_takes_longer(activations: int, least: int) -> None:
    """8 x 20 with two copies: plans of 63, 63, 64, 65 and 68 s exist."""
    problem = config("dualpipe-8x20", copies=2, memory_cap=activations + 2)
    assert Step.of(problem).round_up(pattern_bound(problem, Control())) == least


def test_it_does_not_grow_with_the_microbatches() -> None:
    """2,000 microbatches: 1,001 splits between the copies, most of them alike."""
    problem = config("dualpipe-8x20", copies=2, microbatches=2000)
    assert Step.of(problem).round_up(pattern_bound(problem, Control())) == 6003


def test_transfers_delay_the_inner_devices() -> None:
    """Each device hosts at most two operators of a copy: the chain leaves its device at least every other one."""
    cluster = unit_cluster(8, 11.0, NetworkLevel(None, 0.1))
    pipeline = chain(8, times=(1.0, 1.2, 0.8), activation=1.0, parameters=1.0)
    problem = posed(*pipeline, devices=cluster, microbatches=20, copies=2)
    assert pattern_bound(problem, Control()) == pytest.approx(63.1)


def test_where_it_says_nothing() -> None:
    """Operators of unlike work, or three copies."""
    assert pattern_bound(posed(*chain(3), devices=3, copies=3), Control()) == 0.0
    unlike = (*chain(2), operator("t", "s1", times=(2.0, 1.0, 1.0)))
    assert pattern_bound(posed(*unlike, devices=3), Control()) == 0.0


def test_only_the_network_may_tell_devices_apart() -> None:
    """Two nodes: what counts between two devices is the shortest transfer that there is."""
    pipeline = chain(8, times=(1.0, 1.2, 0.8), activation=1.0, parameters=1.0)
    near, far = NetworkLevel(None, 0.1), NetworkLevel(None, 0.4)
    flat = posed(*pipeline, devices=unit_cluster(8, 11.0, near), microbatches=20, copies=2)
    nodes = posed(*pipeline, devices=two_nodes(unit_cluster(8, 11.0, near), far), microbatches=20, copies=2)
    assert len(nodes.device_classes) == 2
    assert pattern_bound(nodes, Control()) == pattern_bound(flat, Control())
    slower = posed(*pipeline, devices=two_nodes(unit_cluster(8, 11.0, far), near), microbatches=20, copies=2)
    assert pattern_bound(slower, Control()) == pattern_bound(flat, Control())
