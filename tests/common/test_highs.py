"""highs.Model: what it says is proven is so, whatever the limits, threads, starts and stops."""

from __future__ import annotations

import math
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest

from planner.common.budget import Control
from planner.common.highs import Growing, Model


def knapsack(n: int, rows: int, seed: int) -> Model:
    """A knapsack in several dimensions, hard to prove for HiGHS where n is large."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(5, 1000, size=(rows, n))
    model = Model()
    columns = [model.binary(-float(weights[:, k].mean() + rng.integers(0, 500))) for k in range(n)]
    for row in weights:
        model.row(columns, row.tolist(), upper=float(row.sum() // 2))
    return model


def test_small_mip_that_1_14_0_gets_wrong() -> None:
    """min 2x + 3z, x + z >= 4.5, z integer is 9 (x = 4.5); HiGHS 1.14.0 says 15."""
    model = Model()
    x, z = model.variable(cost=2.0), model.variable(cost=3.0, integer=True)
    model.row([x, z], [1.0, 1.0], lower=4.5)
    outcome = model.solve(Control())
    assert outcome.optimal
    assert outcome.objective == pytest.approx(9.0)
    assert outcome.bound == pytest.approx(9.0)
    assert outcome.values == pytest.approx([4.5, 0.0])


@pytest.mark.parametrize("seed", range(8))
def test_random_mips_against_enumeration(seed: int) -> None:
    """Optimum or infeasibility of a random integer program equals what looking at every point says."""
    r = random.Random(seed)
    n = 5
    model = Model()
    cost = [float(r.randint(-5, 5)) for _ in range(n)]
    columns = [model.variable(0.0, 2.0, c, integer=True) for c in cost]
    rows = [([r.randint(-4, 4) for _ in range(n)], r.randint(-4, 6)) for _ in range(5)]
    for values, upper in rows:
        model.row(columns, [float(v) for v in values], upper=float(upper))
    points = [x for x in product(range(3), repeat=n) if all(np.dot(values, x) <= upper for values, upper in rows)]
    outcome = model.solve(Control())
    assert outcome.infeasible is (not points)
    if points:
        best = min(float(np.dot(cost, x)) for x in points)
        assert (outcome.objective, outcome.bound) == pytest.approx((best, best))


def test_a_column_that_occurs_twice_in_a_row_adds_up() -> None:
    """x + x >= 3 is 2 x >= 3."""
    model = Model()
    x = model.variable(cost=1.0)
    model.row([x, x], [1.0, 1.0], lower=3.0)
    assert model.solve(Control()).objective == pytest.approx(1.5)


@pytest.mark.parametrize("integer", [False, True])
def test_infeasible(integer: bool) -> None:
    """No solution, and an infinite bound."""
    model = Model()
    x = model.variable(0.0, 1.0, 1.0, integer)
    model.row([x], [1.0], lower=2.0)
    outcome = model.solve(Control())
    assert outcome.infeasible
    assert outcome.values is None
    assert outcome.bound == float("inf")


def test_a_linear_program_has_its_objective_as_bound() -> None:
    """Without integers the bound is that of the LP."""
    model = Model()
    x = model.variable(cost=1.0)
    model.row([x], [2.0], lower=1.0)
    assert model.solve(Control()).bound == pytest.approx(0.5)


def test_node_limit() -> None:
    """A solve that is cut off by nodes claims no optimum, and its bound does not exceed its solution."""
    outcome = knapsack(60, 8, 1).solve(Control(), nodes=1)
    assert not outcome.optimal
    assert not outcome.infeasible
    assert outcome.bound <= outcome.objective


def test_threads_may_change() -> None:
    """A second model with other threads is solved too (HiGHS solves nothing where its scheduler is not reset)."""
    found = [knapsack(15, 2, 3).solve(Control(), threads=threads) for threads in (1, 2, 1, 2)]
    assert all(outcome.optimal for outcome in found)
    assert len({outcome.objective for outcome in found}) == 1


def test_threads_that_solve_do_not_disturb_each_other() -> None:
    """What another thread solved with other threads does not matter here: HiGHS keeps a scheduler for each."""
    model = knapsack(15, 2, 3)
    assert model.solve(Control(), threads=2).optimal
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: model.solve(Control(), threads=1)).result().optimal
    assert model.solve(Control(), threads=1).optimal


def test_a_start_is_honoured() -> None:
    """A market split, which HiGHS cannot solve at the root: with its solution as start, that comes back."""
    rng = np.random.default_rng(1)
    hidden = rng.integers(0, 2, size=40)
    weights = rng.integers(0, 100, size=(5, 40))
    model = Model()
    columns = [model.binary() for _ in hidden]
    for row in weights:
        model.row(columns, row.tolist(), float(row @ hidden), float(row @ hidden))
    assert model.solve(Control(), nodes=1).values is None
    found = model.solve(Control(), nodes=1, start=hidden.tolist()).values
    assert found is not None
    assert (weights @ np.rint(found) == weights @ hidden).all()


def test_what_is_certified() -> None:
    """Solved twice: the same optimum, the same infeasibility; cut off by nodes, nothing is claimed."""
    once, twice = (knapsack(20, 3, 5).solve(Control(), certify=certify) for certify in (False, True))
    assert (twice.optimal, twice.objective) == (True, once.objective)
    assert twice.bound <= twice.objective + 1e-9
    model = Model()
    columns = [model.binary() for _ in range(3)]
    model.row(columns, [2.0, 2.0, 2.0], 3.0, 3.0)
    assert model.solve(Control(), certify=True).infeasible
    cut = knapsack(60, 8, 1).solve(Control(), nodes=1, certify=True)
    assert (cut.optimal, cut.infeasible, cut.bound) == (False, False, -float("inf"))


def test_no_time_means_no_answer() -> None:
    """A deadline that has passed gives neither a solution nor a claim."""
    outcome = knapsack(10, 2, 5).solve(Control(time_limit=0.0))
    assert (outcome.values, outcome.optimal, outcome.infeasible) == (None, False, False)
    assert outcome.bound == -float("inf")


def test_a_stop_interrupts() -> None:
    """A stop request from another thread ends a long solve within a second or two."""
    control = Control(60.0)
    timer = threading.Timer(0.5, control.stop_requested.set)
    timer.start()
    begin = time.monotonic()
    outcome = knapsack(200, 20, 6).solve(control)
    timer.cancel()
    assert time.monotonic() - begin < 10
    assert control.stop_requested.is_set()
    assert not outcome.optimal
    assert outcome.bound <= outcome.objective


def test_a_growing_model_is_solved_as_if_anew() -> None:
    """Rows are added in turns; those that say nothing are left out at last."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        model = Model()
        columns = [model.variable(0.0, 10.0, cost=float(c)) for c in rng.integers(1, 9, 6)]
        model.row(columns, [1.0] * 6, 3.0)
        growing = Growing(model)
        for _ in range(5):
            for _ in range(3):
                model.row(columns, rng.integers(0, 5, 6).astype(float).tolist(), float(rng.integers(0, 9)))
            found, anew = growing.solve(Control()), model.solve(Control())
            assert found.optimal == anew.optimal
            if anew.optimal:
                assert found.bound == pytest.approx(anew.bound)
        if found.values is None:
            continue
        tight = [k for k in range(1, 16) if model.activity(k, found.values) <= model.row_lower[k] + 1e-9]
        model.keep_rows(tight, 1)
        assert len(model.row_lower) == 1 + len(tight)
        assert model.solve(Control()).bound == pytest.approx(found.bound)


def test_a_growing_model_that_has_no_solution_proves_nothing() -> None:
    model = Model()
    x = model.variable(0.0, 1.0, cost=1.0)
    growing = Growing(model)
    assert growing.solve(Control()).bound == 0.0
    model.row([x], [1.0], 2.0)
    found = growing.solve(Control())
    assert not found.infeasible
    assert found.values is None
    assert found.bound == -math.inf
    assert growing.solve(Control(0.0)).bound == -math.inf
