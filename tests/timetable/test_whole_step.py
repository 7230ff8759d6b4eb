"""Exchanges, R, U and G after the microbatches: starts by hand, and every rule on random problems."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from handmade import F, I, cluster, graph, operator, problem, sequential
from step_rules import step_violations

from planner.problem import Mode, Operator, Pass, Placement, Problem, Stream, Variant
from planner.timetable.replay import orders_of, replay
from planner.timetable.timetable import TimedExchange, Timetable
from planner.timetable.whole_step import Job, in_gaps, with_step_tasks

R, U, G = Pass.R, Pass.U, Pass.G


def clipped(*operators: Operator, **more: Any) -> Any:
    return replace(graph(*operators, **more), clip_gradients=True)


def starts(timetable: Timetable, copy: int = 0) -> list[list[float | None]]:
    """Starts of R, U and G, operator by operator."""
    assert timetable.step is not None
    return [[None if np.isnan(x) else float(x) for x in row] for row in timetable.step[copy]]


def placed(posed: Problem, *where: list[int], copy_of: list[int] | None = None) -> Timetable:
    """The whole step after a sequential timetable, checked."""
    found = with_step_tasks(posed, sequential(posed, where, copy_of))
    assert step_violations(posed, found) == []
    return found


def test_nothing_is_added_where_nothing_ends_the_step() -> None:
    posed = problem(graph(operator("a", step={R: 1.0}), mode=Mode.INFERENCE), cluster(1))
    timetable = sequential(posed, [[0]])
    assert with_step_tasks(posed, timetable) is timetable


def test_each_after_the_one_before() -> None:
    """F and I end at 2; R 2, U 3, G 4."""
    posed = problem(graph(operator("a", step={R: 2.0, U: 3.0, G: 4.0})), cluster(1))
    assert starts(placed(posed, [0])) == [[2, 4, 7]]


@pytest.mark.parametrize(
    ("step", "expected"),
    [({U: 3.0, G: 1.0}, [None, 2, 5]), ({R: 3.0, G: 1.0}, [2, None, 5]), ({G: 1.0}, [None, None, 2])],
)
def test_one_that_is_missing_is_skipped(step: dict[Pass, float], expected: list[float | None]) -> None:
    posed = problem(graph(operator("a", step=step)), cluster(1))
    assert starts(placed(posed, [0])) == [expected]


def test_reductions_overlap_what_is_left_of_the_backward() -> None:
    """b's gradient is there at 3, while a's I runs from 3 to 4; U of b waits for the compute stream."""
    step = {R: 1.0, U: 0.5}
    posed = problem(graph(operator("a", step=step), operator("b", "a", step=step)), cluster(1))
    assert starts(placed(posed, [0, 0])) == [[4, 5, None], [3, 4, None]]


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, 4.0), (2.0, 6.0)])
def test_a_step_task_moves_no_microbatch(seconds: float, expected: float) -> None:
    """I: of b 3-4, of x 4-5, of a on the comm stream 5-6. A reduction of 1 fits before that, one of 2 does not."""
    a, b = operator("a", stream=Stream.COMM), operator("b", "x", step={R: seconds})
    posed = problem(graph(a, operator("x", "a"), b), cluster(1))
    assert starts(placed(posed, [0, 0, 0]))[2] == [expected, None, None]


def test_clipping_waits_for_all_reductions() -> None:
    """Two devices: R ends at 5 (b: 3 to 5) and 5 (a: 4 to 5); with a long R of b, a's update waits."""
    a, b = operator("a", step={R: 1.0, U: 1.0}), operator("b", "a", step={R: 4.0, U: 1.0})
    free, strict = (problem(g(a, b), cluster(2)) for g in (graph, clipped))
    assert starts(placed(free, [0, 1])) == [[4, 5, None], [3, 7, None]]
    assert starts(placed(strict, [0, 1])) == [[4, 7, None], [3, 7, None]]


def test_the_longest_rest_first() -> None:
    """Both are reduced after the same instant on one stream; the one with the longer update goes first."""
    a = operator("a", i=0, step={R: 1.0, U: 1.0})
    b = operator("b", "a", i=1, step={R: 1.0, U: 5.0})
    posed = problem(graph(a, b), cluster(1))
    assert starts(placed(posed, [0, 0])) == [[4, 9, None], [3, 4, None]]


def test_updates_in_johnsons_order() -> None:
    """U, G of a: 3, 1; of b: 1, 3, ready together: b first ends at 1 + 3 + 1 = 5 after that, a first at 7."""
    a, b = operator("a", step={R: 1.0, U: 3.0, G: 1.0}), operator("b", "a", step={R: 1.0, U: 1.0, G: 3.0})
    posed = problem(clipped(a, b), cluster(1))
    found = placed(posed, [0, 0])
    assert starts(found) == [[4, 6, 9], [3, 5, 6]]
    assert found.makespan(posed) == 10


def test_copies_exchange_gradients_before_they_are_reduced() -> None:
    """Latency 1, 4 bytes at 2 a second: 3 s. Copy 0 ends at 2, copy 1 at 4: exchanged by 5 and 7."""
    a = operator("a", gradient=4, step={R: 1.0, U: 1.0})
    posed = problem(graph(a, microbatches=2), cluster(2, latency=1.0, bandwidth=2.0), copies=2)
    start = np.array([[[0.0, 2.0], [1.0, 3.0], [np.nan, np.nan]]])
    found = with_step_tasks(posed, Timetable(Placement(((0,), (1,))), (0, 1), start, ()))
    assert step_violations(posed, found) == []
    assert found.exchanges == (TimedExchange(0, 0, 0, 1, 2.0, 5.0), TimedExchange(0, 1, 1, 0, 4.0, 7.0))
    assert starts(found, 0) == [[7, 8, None]]
    assert starts(found, 1) == [[5, 6, None]]
    assert found.makespan(posed) == 9


def test_copies_on_one_device_exchange_nothing_and_both_have_step_tasks() -> None:
    posed = problem(graph(operator("a", gradient=4, step={R: 1.0})), cluster(2, latency=1.0), copies=2)
    found = placed(posed, [0], [0], copy_of=[0])
    assert found.exchanges == ()
    assert (starts(found, 0), starts(found, 1)) == ([[2, None, None]], [[0, None, None]])


def test_an_exchange_that_takes_no_time_is_waited_for() -> None:
    """Copy 1 has no microbatch; its R waits for the gradient of copy 0."""
    posed = problem(graph(operator("a", gradient=4, step={R: 1.0})), cluster(2), copies=2)
    found = placed(posed, [0], [1], copy_of=[0])
    assert found.exchanges == ()
    assert starts(found, 1) == [[2, None, None]]


def test_exchanges_without_step_tasks() -> None:
    posed = problem(graph(operator("a", gradient=4)), cluster(2, latency=1.0), copies=2)
    found = placed(posed, [0], [1], copy_of=[0])
    assert found.step is None
    assert found.makespan(posed) == 3


def test_exclusive_devices_exchange_on_their_compute_streams() -> None:
    """The update of b on gpu1 has to wait while a's gradient arrives there."""
    a = operator("a", gradient=4, step={U: 1.0})
    posed = problem(graph(a, microbatches=2), cluster(2, latency=1.0, exclusive=True), copies=2)
    found = placed(posed, [0], [1], copy_of=[0, 1])
    assert step_violations(posed, found) == []


def test_gaps_take_what_fits() -> None:
    """Gaps 0-2, 3-5 and from 9 on: the first job waits for its time, the long one for room."""
    jobs = [Job(1.0, (0.0,), 1.0), Job(0.0, (1.0,), 3.0), Job(2.5, (2.0,), 2.0)]
    assert in_gaps([(0.0, 2.0), (3.0, 5.0), (9.0, np.inf)], jobs, 0.0) == [1.0, 9.0, 3.0]


def test_replays_end_with_step_tasks_and_know_variants() -> None:
    """Copy 1 recomputes (I 3, no W): a replay of the orders gives the same timetable."""
    recompute = Variant("recompute", {F: 1.0, I: 3.0}, 0.0, 0.0, 0.0)
    a = operator("a", w=1, variants=(recompute,), step={R: 2.0, U: 1.0})
    posed = problem(graph(a, microbatches=2), cluster(1), copies=2)
    placement = posed.in_versions(Placement(((0,), (0,))), ((0,), (1,)))
    start = np.array([[[0.0, 3.0], [1.0, 4.0], [2.0, np.nan]]])
    timetable = with_step_tasks(posed, Timetable(placement, (0, 1), start, ()))
    orders = orders_of(timetable, posed)
    assert orders == [[[(0, 0, 0), (0, 1, 0), (0, 2, 0), (0, 0, 1), (0, 1, 1)], []]]
    again = replay(posed, placement, (0, 1), orders)
    assert again is not None
    np.testing.assert_array_equal(again.start, timetable.start)
    assert (starts(again, 0), starts(again, 1)) == ([[3, 7, None]], [[7, 9, None]])


def test_a_replay_under_caps_knows_variants() -> None:
    """10 bytes at base, 4 recomputed; of copies of one device the larger parameters: 14 bytes hold both F."""
    recompute = Variant("recompute", {F: 1.0, I: 1.0}, 1.0, 4.0, 4.0)
    a = operator("a", activation=10, held_for_weight_grad=10, parameters=2, variants=(recompute,))
    posed = problem(graph(a, microbatches=2), cluster(1), copies=2)
    placement = posed.in_versions(Placement(((0,), (0,))), ((0,), (1,)))
    orders = [[[(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)], []]]
    assert replay(posed, placement, (0, 1), orders, caps=[16.0]) is not None
    assert replay(posed, placement, (0, 1), orders, caps=[15.0]) is None


@pytest.mark.parametrize("seed", range(40))
def test_every_rule_on_random_problems(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, devices, copies = int(rng.integers(1, 7)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    operators = []
    for k in range(count):
        step = {p: float(rng.integers(0, 4)) for p in (R, U, G) if rng.random() < 0.7}
        inputs = [f"o{j}" for j in range(k) if rng.random() < 0.5]
        stream = Stream.COMM if rng.random() < 0.3 else Stream.COMPUTE
        weight = float(rng.integers(1, 3)) if rng.random() < 0.5 else None
        gradient = float(rng.integers(0, 4))
        operators.append(operator(f"o{k}", *inputs, w=weight, stream=stream, step=step, gradient=gradient))
    the_graph = replace(graph(*operators, microbatches=4), clip_gradients=bool(rng.random() < 0.5))
    latency = None if rng.random() < 0.3 else float(rng.integers(0, 3))
    posed = problem(the_graph, cluster(devices, latency=latency, bandwidth=2.0, exclusive=seed % 3 == 0), copies=copies)
    where = rng.integers(0, devices, (copies, count)).tolist()
    placed(posed, *where, copy_of=rng.integers(0, copies, 4).tolist())
