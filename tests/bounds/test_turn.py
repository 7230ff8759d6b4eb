"""The bound of the operator at which microbatches turn: by hand, and never above the optimum."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from exhaustive import TooLarge, best_step
from solver_problems import chain, operator, posed, unit_cluster

from planner.bounds.problem import group_bound
from planner.bounds.turn import turn_bound
from planner.common.budget import Control
from planner.problem import Impossible, NetworkLevel, Operator, Pass, Problem, Variant


def two(cap: float | None, lean: bool = False) -> Problem:
    """An operator that holds 1 and one that holds nothing; F and I of 1, three microbatches, one device."""
    first = operator("a", times=(1.0, 1.0), activation=1.0)
    if lean:
        first = replace(first, variants=(Variant("recompute", {Pass.F: 1.0, Pass.I: 3.0}, 0.0, 0.0, 0.0),))
    return posed(first, operator("b", "a", times=(1.0, 1.0)), devices=unit_cluster(1, cap), microbatches=3)


def bound(problem: Problem) -> float:
    return turn_bound(problem, Control())


def test_by_hand() -> None:
    """The turns u lie between 2 and T - 2, one of 1 s after the other, and a is held from 2 s before to 2 s after each.

    In much memory three turns take two of (F and I of b): 8. In room for one, with w = T - 4: two turns at the
    beginning of the window and one at its end hold 2 + 3 + 2 byte-seconds in it, so w is 7 at least. The lean version
    frees 7 byte-seconds for 2 s more: with w = 4 + e, 3 - e are lacking, so e is 2 (3 - e) / 7 at least.
    """
    assert bound(two(3.0)) == pytest.approx(8.0, rel=1e-3)
    assert bound(two(1.0)) == pytest.approx(11.0, rel=1e-3)
    assert best_step(two(1.0))[0] == 12.0
    assert bound(two(1.0, lean=True)) == pytest.approx(8.0 + 2 / 3, rel=1e-3)


def test_where_it_says_nothing() -> None:
    """Without caps, in inference, with copies."""
    assert bound(two(None)) == 0.0
    operators = chain(2, activation=1.0)
    assert bound(posed(*operators, devices=unit_cluster(2, 4.0), training=False)) == 0.0
    assert bound(posed(*operators, devices=unit_cluster(2, 4.0), microbatches=2, copies=2)) == 0.0


@pytest.mark.parametrize("block", range(4))
def test_never_above_the_optimum(block: int) -> None:
    """Of random networks in little memory; it often says more than without memory."""
    compared, more = 0, 0
    for seed in range(30 * block, 30 * block + 30):
        problem = in_little_memory(seed)
        try:
            shortest = best_step(problem)[0] if problem is not None else float("inf")
        except TooLarge:
            continue
        if problem is None or shortest == float("inf"):
            continue
        found = bound(problem)
        assert found <= shortest * (1 + 1e-9), seed
        assert group_bound(problem.relaxed) <= shortest * (1 + 1e-9), seed
        compared += 1
        more += found > group_bound(problem.relaxed) * 1.001
    assert compared >= 10
    assert more >= 2


def in_little_memory(seed: int) -> Problem | None:
    """A random network of up to three operators, some with a leaner version, on one or two devices, some far apart."""
    r = random.Random(f"turn {seed}")
    n, devices = r.choice([1, 2, 2, 3]), r.choice([1, 1, 2])
    microbatches = r.choice([2, 3]) if n == 3 else r.choice([2, 3, 4])
    made: list[Operator] = []
    for i in range(n):
        times = tuple(float(r.randint(1, 3)) for _ in range(r.choice([2, 2, 3])))
        inputs = tuple(f"o{j}" for j in range(i) if j == i - 1 or r.random() < 0.3)
        activation = float(r.choice([1, 2, 3]))
        each = operator(f"o{i}", *inputs, times=times, activation=activation)
        if r.random() < 0.5:
            slower = {Pass.F: times[0], Pass.I: sum(times[1:]) + r.randint(0, 2)}
            lean = Variant("recompute", slower, 0.0, float(r.randint(0, int(activation) - 1)), 0.0)
            each = replace(each, variants=(lean,))
        made.append(each)
    most = max(sum(o.activation for o in made) / devices, *(o.activation for o in made))
    cap, level = float(round(most * r.choice([1, 1, 1.5, 2]))), r.choice([None, NetworkLevel(None, 0.5)])
    try:
        return posed(*made, devices=unit_cluster(devices, cap, level), microbatches=microbatches)
    except Impossible:
        return None
