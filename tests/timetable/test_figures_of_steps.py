"""Figures, memory and period of timetables with step tasks, exchanged gradients and variants, computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from handmade import F, I, cluster, graph, operator, problem, sequential

from planner.problem import Pass, Placement, Variant
from planner.timetable.figures import figures
from planner.timetable.memory import memory_profile, resident_parameters
from planner.timetable.period import period
from planner.timetable.timetable import TimedExchange, Timetable

R, U, G = Pass.R, Pass.U, Pass.G
NONE = np.nan


def variant(
    name: str, times: dict[Pass, Any], parameters: float = 0, activation: float = 0, held: float = 0
) -> Variant:
    return Variant(name, times, parameters, activation, held)


def test_the_update_is_work_and_reductions_are_not() -> None:
    """R 2, U 3 and G 4 after F 1, I 1, W 1: a makespan of 12, of which the compute stream works 6."""
    a = operator("a", f=1, i=1, w=1, step={R: 2.0, U: 3.0, G: 4.0})
    posed = problem(graph(a), cluster(1))
    start = np.array([[[0.0], [1.0], [2.0]]])
    found = figures(posed, Timetable(Placement.single([0]), (0,), start, (), np.array([[[3.0, 5.0, 8.0]]])))
    assert found.makespan == 12.0
    assert (found.devices[0].busy, found.devices[0].bubble, found.devices[0].span_bubble) == (6.0, 6.0, 2.0)
    assert found.bubble_ratio == 0.5


def test_a_device_with_step_tasks_alone_runs_a_task() -> None:
    """A copy that no microbatch uses updates its parameters: its device counts, the third does not."""
    a = operator("a", f=1, i=1, step={U: 2.0})
    posed = problem(graph(a), cluster(3), copies=2)
    start = np.array([[[0.0], [1.0], [NONE]]])
    step = np.array([[[NONE, 2.0, NONE]], [[NONE, 0.0, NONE]]])
    found = figures(posed, Timetable(Placement(((0,), (1,))), (0,), start, (), step))
    assert [device.busy for device in found.devices] == [4.0, 2.0, 0.0]
    assert found.bubble_ratio == pytest.approx(2 / 8)
    assert found.bubble_ratio_all == pytest.approx(6 / 12)


def test_an_exchange_may_end_last() -> None:
    """A gradient that arrives at 7 ends the step where nothing waits for it; nobody works for it."""
    a = operator("a", f=1, i=1, gradient=5)
    posed = problem(graph(a), cluster(2), copies=2)
    start = np.array([[[0.0], [1.0], [NONE]]])
    exchanges = (TimedExchange(0, 0, 0, 1, 2.0, 7.0),)
    found = figures(posed, Timetable(Placement(((0,), (1,))), (0,), start, (), None, exchanges))
    assert found.makespan == 7.0
    assert [device.bubble for device in found.devices] == [5.0, 7.0]


def test_every_copy_has_the_figures_of_its_variant() -> None:
    """Copy 0 at base (F 1, I 1, W 1, 10 bytes), copy 1 recomputes (F 1, I 3, no W, 2 bytes), both on one device."""
    recompute = variant("recompute", {F: 1.0, I: 3.0}, parameters=8, activation=2)
    a = operator("a", w=1, parameters=5, activation=10, held_for_weight_grad=4, variants=(recompute,))
    posed = problem(graph(a, microbatches=2), cluster(1), copies=2)
    placement = posed.in_versions(Placement(((0,), (0,))), ((0,), (1,)))
    start = np.array([[[0.0, 3.0], [1.0, 4.0], [2.0, NONE]]])
    timetable = Timetable(placement, (0, 1), start, ())
    found = figures(posed, timetable)
    assert (found.makespan, found.devices[0].busy) == (7.0, 7.0)
    assert resident_parameters(posed, timetable) == [[8.0]]
    profile = memory_profile(posed, timetable)[0]
    assert profile.times.tolist() == [0, 2, 3, 7]
    assert profile.bytes.tolist() == [18, 12, 10, 8]
    assert period(posed, timetable) == 7 / 2


def test_the_first_allowed_version_is_that_of_a_placement_without_versions() -> None:
    """With ``--variants recompute`` a plain placement is one of recomputed operators."""
    recompute = variant("recompute", {F: 1.0, I: 3.0}, activation=2)
    a = operator("a", w=1, activation=10, held_for_weight_grad=4, variants=(recompute,))
    posed = problem(graph(a), cluster(1), variants=("recompute",))
    found = figures(posed, sequential(posed, [[0]]))
    assert (found.makespan, found.devices[0].peak_memory) == (4.0, 2.0)


def test_the_period_knows_no_step_tasks() -> None:
    a = operator("a", f=1, i=1, step={U: 50.0})
    posed = problem(graph(a, microbatches=2), cluster(1))
    start = np.array([[[0.0, 1.0], [2.0, 3.0], [NONE, NONE]]])
    timetable = Timetable(Placement.single([0]), (0, 0), start, (), np.array([[[NONE, 4.0, NONE]]]))
    assert period(posed, timetable) == 2.0
    assert figures(posed, timetable).makespan == 54.0
