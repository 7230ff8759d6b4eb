"""Mirrored copies and local search on orders: every schedule is valid, played orders repeat, known optima are met."""

from __future__ import annotations

import numpy as np
import pytest
from solver_problems import (
    chain,
    checked,
    config,
    listed,
    posed,
    random_placement,
    random_problem,
    solved,
    unit_cluster,
    violations,
)

from planner.baselines import baseline_timetable
from planner.bounds import placement_bound
from planner.common.budget import Control
from planner.placement.layouts import only_placement
from planner.problem import Cluster, Device, DeviceType, NetworkLevel, Placement, Problem
from planner.scheduling.classes import build_classes
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.scheduling.mirror import mirror
from planner.scheduling.orders.anneal import Orders
from planner.scheduling.retime import retime


def bidirectional(problem: Problem) -> Placement:
    placement = only_placement(problem)
    assert placement is not None
    return placement


def makespan(search: ListSearch) -> float:
    """The makespan of the valid timetable that a search has found."""
    assert search.best is not None
    start = retime(search.full, search.whole(search.best.start), search.whole(search.best.turn.astype(float)))
    assert start is not None
    timetable = search.full.timetable(start)
    assert violations(search.full.problem, timetable) == []
    return timetable.makespan(search.full.problem)


def uneven(stages: int, microbatches: int, latency: bool = False) -> Problem:
    """Two copies in opposite directions of a chain with F, I, W = 1, 1.2, 0.8 in DualPipe's memory."""
    operators = chain(stages, times=(1.0, 1.2, 0.8), activation=1.0, parameters=1.0, output=1.0)
    cluster = unit_cluster(stages, stages + 3.0, NetworkLevel(None, 0.1) if latency else None)
    return posed(*operators, devices=cluster, microbatches=microbatches, copies=2, layout="bidirectional")


def test_mirrored_copies() -> None:
    """Mirrored copies pair up classes of equal length on mirrored devices, half of them in use."""
    problem = config("dualpipe-4x8", copies=2, layout="bidirectional")
    classes = build_classes(problem, bidirectional(problem))
    half = mirror(classes)
    assert half is not None
    assert (classes.copy[half.image] == 1).all()
    assert np.array_equal(classes.device[half.image], 3 - classes.device[: len(half.image)])
    assert set(half.classes.device.tolist()) == {0, 1}
    assert half.classes.n_tasks * 2 == classes.n_tasks


@pytest.mark.parametrize(
    ("device_of", "microbatches"),
    [(((0, 1, 2, 3), (1, 2, 3, 0)), 8), (((0, 1, 2, 3),), 8), (((0, 1, 2, 3), (3, 2, 1, 0)), 7)],
    ids=["copies that do not mirror", "one copy", "uneven split"],
)
def test_copies_that_are_not_mirrored(device_of: tuple[tuple[int, ...], ...], microbatches: int) -> None:
    """Only two copies on mirrored devices with equally many microbatches are mirrored."""
    problem = config("dualpipe-4x8", copies=2, microbatches=microbatches)
    assert mirror(build_classes(problem, Placement(device_of))) is None


def test_copies_that_share_a_device_are_not_mirrored() -> None:
    """The middle device of an odd number would have to run two tasks at once."""
    problem = posed(*chain(3), devices=3, microbatches=4, copies=2)
    assert mirror(build_classes(problem, Placement(((0, 1, 2), (2, 1, 0))))) is None


def test_mirrored_starts_restrict_and_expand() -> None:
    """The starts of copy 0 determine those of copies that run alike."""
    problem = uneven(4, 8, latency=True)
    search = ListSearch.of(problem, bidirectional(problem), 0).mirror(0)
    assert search is not None and search.mirrored is not None
    search.try_known_rules(Control())
    assert search.best is not None
    whole = search.whole(search.best.start)
    assert not np.isnan(whole).any()
    assert np.array_equal(search.mirrored.restrict(whole), search.best.start)


@pytest.mark.parametrize("seed", range(60))
def test_annealing_random_problems(seed: int) -> None:
    """Whatever the problem, what annealing keeps is valid, no worse than what it began with, and above the bound."""
    problem = random_problem(seed)
    if problem is None:
        return
    placement = random_placement(problem, seed)
    try:
        search = ListSearch.of(problem, placement, seed)
    except DoesNotFit:
        return
    search.try_known_rules(Control())
    assert search.best is not None
    before = makespan(search)
    search.anneal(1, Control(0.3), 0.0)
    assert placement_bound(problem, placement) * (1 - 1e-9) <= makespan(search) <= before * (1 + 1e-9)


def test_orders_played_back() -> None:
    """Playing the orders of a list schedule starts nothing later than the schedule did."""
    for seed in range(40):
        search = listed(seed)
        if search is None:
            continue
        again = search.orders.play(Orders.of(search.ordered, search.best.start, search.best.turn))
        assert 0 <= again.makespan <= search.best.makespan


def test_orders_that_block_each_other() -> None:
    """W of a microbatch before its own F: nothing can go on."""
    problem = posed(*chain(1), microbatches=1)
    search = ListSearch.of(problem, Placement(((0,),)), 0)
    backwards = Orders.plain(np.array([0, 3, 3]), np.array([2, 1, 0]))
    assert search.orders.play(backwards).makespan == -1


@pytest.mark.parametrize(("stages", "microbatches"), [(4, 12), (6, 12), (8, 16), (8, 24)])
def test_unequal_passes_reach_the_bound(stages: int, microbatches: int) -> None:
    """3 M + P / 2 - 1, which no schedule in opposite directions beats, with passes of 1, 1.2 and 0.8 s."""
    problem = uneven(stages, microbatches)
    placement = bidirectional(problem)
    bound = placement_bound(problem, placement)
    assert bound == pytest.approx(3 * microbatches + stages / 2 - 1)
    search = ListSearch.of(problem, placement, 0).mirror(0)
    assert search is not None
    search.try_known_rules(Control())
    search.anneal(8, Control(), bound)
    assert makespan(search) == pytest.approx(bound)


def test_schedules_follow_baselines() -> None:
    """An order that needs more memory than there is still leads to a schedule that fits."""
    problem = config("dualpipe-8x20", copies=2, layout="bidirectional", memory_cap=8)
    search = ListSearch.of(problem, bidirectional(problem), 0).mirror(0)
    assert search is not None
    search.follow(baseline_timetable("dualpipe", problem))
    assert search.best is not None
    assert makespan(search) > 64


def test_copies_on_unlike_devices_are_not_mirrored() -> None:
    """Transfers that occupy the compute stream at one end of the pipeline and not at the other."""
    exclusive = DeviceType("exclusive", exclusive_transfers=True)
    overlap = DeviceType("overlap")
    devices = tuple(Device(f"g{d}", "g", overlap if d else exclusive) for d in range(4))
    types = {"exclusive": exclusive, "overlap": overlap}
    cluster = Cluster("mixed", devices, types, within_node=NetworkLevel(1e9))
    problem = posed(*chain(4, output=1e8), devices=cluster, microbatches=4, copies=2)
    assert mirror(build_classes(problem, Placement(((0, 1, 2, 3), (3, 2, 1, 0))))) is None
    assert checked(problem, solved(problem, 1.5)) == []


def test_a_mirrored_transfer_occupies_one_stream_once() -> None:
    """Between the two middle devices, whose streams are one when mirrored."""
    cluster = unit_cluster(4, None, NetworkLevel(1e9), exclusive_transfers=True)
    problem = posed(*chain(4, output=1e8), devices=cluster, microbatches=8, copies=2)
    half = mirror(build_classes(problem, Placement(((0, 1, 2, 3), (3, 2, 1, 0)))))
    assert half is not None
    assert all(len(set(resources)) == len(resources) for resources in half.classes.resources)


def test_orders_of_too_many_tasks() -> None:
    """A class that comes more often than it has tasks blocks its stream; nothing is written past the end."""
    problem = posed(*chain(1, times=(1.0,)), microbatches=2, training=False)
    search = ListSearch.of(problem, Placement(((0,),)), 0)
    assert search.orders.play(Orders.plain(np.array([0, 3, 3]), np.array([0, 0, 0]))).makespan == 2.0
