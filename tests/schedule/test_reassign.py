"""Annealing over devices and orders: job shops reach their published optima, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from solver_problems import chain, config, operator, posed, unit_cluster, violations

from planner.control import Control
from planner.problem import ByDevice, NetworkLevel, Placement, Problem
from planner.schedule.reassign import ShopSearch, is_shop
from planner.schedule.retime import retime
from planner.schedule.search import ListSearch


def annealed(problem: Problem, rounds: int, target: float) -> float:
    """The makespan of the valid schedule that some rounds reach from the worst devices."""
    slowest = np.where(problem.runs_on, problem.duration[:, 0, :], -1.0).argmax(axis=1)
    search = ListSearch.of(problem, Placement.single(slowest.tolist()), 0)
    search.try_known_rules(Control())
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        found = ShopSearch.of(search).improve(Control(), target, rng)
        if found is None:
            continue
        placement, orders = found
        before = search.seconds
        search = ListSearch.of(problem, placement, 0)
        search.keep(search.orders.play(orders))
        assert search.seconds < before
    assert search.best is not None
    start = retime(search.full, search.best.start)
    assert start is not None
    timetable = search.full.timetable(start)
    assert violations(problem, timetable) == []
    return timetable.makespan(problem)


@pytest.mark.parametrize(("name", "shortest"), [("jobshop-sfjs05", 119.0), ("jobshop-mfjs01", 468.0)])
def test_published_optima(name: str, shortest: float) -> None:
    """Flexible job shops from a bad start."""
    problem = config(name)
    assert is_shop(problem)
    assert annealed(problem, 4, shortest) == shortest


def test_every_operator_leaves_a_slow_device() -> None:
    """Three independent operators, a second each on three devices and ten on the one they begin on."""
    cost = ByDevice({"g0": 10.0, "g1": 1.0, "g2": 1.0, "g3": 1.0})
    problem = posed(*(operator(f"o{k}", times=(cost,)) for k in range(3)), devices=4, training=False)
    assert annealed(problem, 1, 1.0) == 1.0


def test_what_is_no_shop() -> None:
    """Training, several microbatches, transfers, memory, or no choice of devices."""
    one = chain(2, times=(1.0,))
    assert is_shop(posed(*one, devices=2, training=False))
    assert not is_shop(posed(*chain(2), devices=2))
    assert not is_shop(posed(*one, devices=2, microbatches=2, training=False))
    assert not is_shop(posed(*one, devices=unit_cluster(2, 5.0), training=False))
    slow = unit_cluster(2, None, NetworkLevel(None, 1.0))
    assert not is_shop(posed(*one, devices=slow, training=False))
    assert not is_shop(posed(*one, devices=1, training=False))
