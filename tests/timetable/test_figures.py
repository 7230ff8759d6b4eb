"""Figures and memory of small timetables, each computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from handmade import cluster, graph, operator, problem, sequential

from planner.problem import Mode, Placement, Stream
from planner.timetable.figures import figures
from planner.timetable.memory import memory_profile
from planner.timetable.timetable import TimedTransfer, Timetable


def test_two_stages_two_microbatches() -> None:
    """F 1, I 2, W 1 on two devices, microbatch after microbatch; the first device waits for the second."""
    a = operator("a", f=1, i=2, w=1)
    b = operator("b", "a", f=1, i=2, w=1)
    posed = problem(graph(a, b, microbatches=2), cluster(3))
    found = figures(posed, sequential(posed, [[0, 1]]))
    # gpu0: F0 0-1, I0 4-6, W0 6-7, F1 7-8, I1 11-13, W1 13-14
    # gpu1: F0 1-2, I0 2-4, W0 4-5, F1 8-9, I1 9-11, W1 11-12
    assert found.makespan == 14.0
    gpu0, gpu1, gpu2 = found.devices
    assert (gpu0.busy, gpu0.bubble, gpu0.span_bubble) == (8.0, 6.0, 6.0)
    assert (gpu1.busy, gpu1.bubble, gpu1.span_bubble) == (8.0, 6.0, 3.0)
    assert (gpu2.busy, gpu2.bubble, gpu2.span_bubble) == (0.0, 14.0, 0.0)
    assert found.bubble_ratio == pytest.approx(12 / 28)
    assert found.bubble_ratio_all == pytest.approx(26 / 42)
    assert found.span_bubble_ratio == pytest.approx(9 / 28)


def test_communication_stream_is_not_work() -> None:
    """A device that runs communication alone has no span, but takes part in the ratio."""
    a = operator("a", f=1, i=1)
    b = operator("b", "a", f=2, i=2, stream=Stream.COMM)
    posed = problem(graph(a, b), cluster(2))
    found = figures(posed, sequential(posed, [[0, 1]]))
    assert found.makespan == 6.0
    assert (found.devices[1].busy, found.devices[1].bubble, found.devices[1].span_bubble) == (0.0, 6.0, 0.0)
    assert found.bubble_ratio == pytest.approx((4 + 6) / 12)


def test_memory_in_two_steps() -> None:
    """Activation until I ends, the held part until W ends, parameters all along."""
    a = operator("a", f=1, i=1, w=1, parameters=100, activation=10, held_for_weight_grad=4)
    posed = problem(graph(a, microbatches=2), cluster(1))
    start = np.array([[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]])  # F0 F1 I0 I1 W0 W1
    profile = memory_profile(posed, Timetable(Placement.single([0]), (0, 0), start, ()))[0]
    assert profile.times.tolist() == [0, 1, 3, 4, 5, 6]
    assert profile.bytes.tolist() == [110, 120, 114, 108, 104, 100]
    assert (profile.peak, profile.peak_at) == (120.0, 1.0)


def test_nothing_is_held_after_input_grad_without_weight_grad() -> None:
    """``held_for_weight_grad`` means nothing where there is no W."""
    a = operator("a", activation=10, held_for_weight_grad=10)
    posed = problem(graph(a), cluster(1))
    profile = memory_profile(posed, sequential(posed, [[0]]))[0]
    assert profile.bytes.tolist() == [10, 0]


@pytest.mark.parametrize("late", [0.0, 1e-12, -1e-12])
def test_release_before_start_at_the_same_instant(late: float) -> None:
    """A second microbatch that starts where the first ends does not add up with it, rounding or not."""
    a = operator("a", activation=10)
    posed = problem(graph(a, microbatches=2), cluster(1))
    start = np.array([[[0.0, 2.0 + late], [1.0, 3.0 + late], [np.nan, np.nan]]])
    profile = memory_profile(posed, Timetable(Placement.single([0]), (0, 0), start, ()))[0]
    assert (profile.peak, profile.peak_at) == (10.0, 0.0)


def test_a_real_overlap_counts() -> None:
    """A release more than 1e-9 of the makespan after a start is no release at the same instant."""
    a = operator("a", activation=10)
    posed = problem(graph(a, microbatches=2), cluster(1))
    start = np.array([[[0.0, 2.0 - 1e-6], [1.0, 3.0], [np.nan, np.nan]]])
    profile = memory_profile(posed, Timetable(Placement.single([0]), (0, 0), start, ()))[0]
    assert (profile.peak, profile.peak_at) == (20.0, 2.0 - 1e-6)


def test_copies_on_one_device_share_parameters() -> None:
    """Two copies of one operator on one device count its parameters once; elsewhere each counts."""
    a = operator("a", parameters=5)
    b = operator("b", "a", parameters=7)
    posed = problem(graph(a, b, microbatches=2), cluster(2), copies=2)
    found = figures(posed, sequential(posed, [[0, 0], [0, 1]], [0, 1]))
    assert [d.peak_memory for d in found.devices] == [12.0, 7.0]
    assert [d.peak_memory_at for d in found.devices] == [0.0, 0.0]


def test_inference_holds_until_the_last_reader_on_the_device() -> None:
    """a is read by b (same device) and c (same device, last); c, a sink, holds to the end of its own F."""
    a = operator("a", activation=8)
    b = operator("b", "a", activation=4)
    c = operator("c", "a", "b", activation=2)
    posed = problem(graph(a, b, c, mode=Mode.INFERENCE), cluster(1))
    profile = memory_profile(posed, sequential(posed, [[0, 0, 0]]))[0]
    assert profile.times.tolist() == [0, 1, 2, 3]
    assert profile.bytes.tolist() == [8, 12, 14, 0]


def test_inference_holds_until_the_last_transfer_has_left() -> None:
    """The reader elsewhere does not matter, the transfer to it does; a free one leaves when F ends."""
    a = operator("a", activation=8, output=6)
    b = operator("b", "a", f=5, activation=4)
    sent = problem(graph(a, b, mode=Mode.INFERENCE), cluster(2, latency=1.0, bandwidth=3.0))
    timetable = sequential(sent, [[0, 1]])
    assert timetable.transfers == (TimedTransfer(0, 0, 0, 0, 1, 1.0, 4.0),)
    assert memory_profile(sent, timetable)[0].times.tolist() == [0, 4]
    free = problem(graph(a, b, mode=Mode.INFERENCE), cluster(2))
    assert memory_profile(free, sequential(free, [[0, 1]]))[0].times.tolist() == [0, 1]


def test_peak_of_fractions_is_summed_exactly() -> None:
    """The peak is the exact sum of what is held, not one that drifted over many starts and ends."""
    a = operator("a", f=0.1, i=0.1, activation=0.1, parameters=1e10)
    posed = problem(graph(a, microbatches=500), cluster(1))
    found = figures(posed, sequential(posed, [[0]]))
    assert found.devices[0].peak_memory == 1e10 + 0.1
    assert found.devices[0].busy == pytest.approx(100.0, rel=1e-15)


def test_caps() -> None:
    """The flag overrides the cluster's cap, and ``fits`` follows it."""
    a = operator("a", parameters=5)
    within = figures(p := problem(graph(a), cluster(1, memory=5)), sequential(p, [[0]]))
    assert (within.devices[0].memory, within.fits) == (5.0, True)
    beyond = figures(p := problem(graph(a), cluster(1, memory=5), memory_cap=4), sequential(p, [[0]]))
    assert (beyond.devices[0].memory, beyond.fits) == (4.0, False)
    without = figures(p := problem(graph(a), cluster(1)), sequential(p, [[0]]))
    assert without.devices[0].memory is None


def test_a_step_of_no_length() -> None:
    """All passes take no time: ratios are 0, not a division by 0."""
    posed = problem(graph(operator("a", f=0, i=0)), cluster(2))
    found = figures(posed, sequential(posed, [[0]]))
    assert (found.makespan, found.bubble_ratio, found.bubble_ratio_all) == (0.0, 0.0, 0.0)
