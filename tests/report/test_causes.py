"""Idle time by cause, the critical path, memory by cause: by hand and against the figures of random plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from random_plans import plan_of, random_plan
from random_steps import greedy, random_whole_step
from solver_problems import chain, operator, posed, unit_cluster

from planner.baselines import baseline_timetable
from planner.events import Events, events_of
from planner.plan.build import timetable_of
from planner.plan.plan import Plan
from planner.problem import NetworkLevel, Pass, Placement, Problem, Stream
from planner.report.causes import Cause, critical_path, idle_times
from planner.report.memory import STAGES_AT_MOST, memory_by_cause


def published(problem: Problem, name: str = "1f1b") -> Plan:
    return plan_of(problem, baseline_timetable(name, problem))


def causes(plan: Plan, problem: Problem | None) -> dict[tuple[int, Cause], float]:
    found: Counter[tuple[int, Cause]] = Counter()
    for idle in idle_times(events_of(plan, problem), plan.makespan):
        found[idle.device, idle.cause] += idle.end - idle.start
    return dict(found)


def test_one_microbatch_through_two_stages() -> None:
    """F on g0, half a second of transfer, F and I on g1, transfer, I on g0: each waits for the other, then the wire.

    While g0 waits for what g1 has yet to compute, it does not matter to it what g1 waits for.
    """
    cluster = unit_cluster(2, None, NetworkLevel(None, 0.5))
    problem = posed(*chain(2, times=(1.0, 2.0)), devices=cluster)
    expected = {
        (0, Cause.INPUT): 3.5,
        (0, Cause.TRANSFER): 0.5,
        (1, Cause.INPUT): 1.0,
        (1, Cause.TRANSFER): 0.5,
        (1, Cause.NOTHING): 2.5,
    }
    plan = published(problem)
    assert plan.makespan == 7.0
    for given in (problem, None):
        assert causes(plan, given) == pytest.approx(expected), given


def test_waiting_for_the_communication_stream() -> None:
    """An all-to-all of 3 s between two operators of one device, nothing else to do meanwhile."""
    operators = (
        operator("a", times=(1.0,)),
        operator("x", "a", times=(3.0,), stream=Stream.COMM),
        operator("b", "x", times=(1.0,)),
    )
    plan = published(posed(*operators, training=False), "gpipe")
    assert causes(plan, None) == {(0, Cause.COMM): pytest.approx(3.0)}


def test_waiting_for_memory() -> None:
    """Memory for one microbatch: the second waits for the I of the first, though its inputs are there all along."""
    a, b = operator("a", activation=1.0, times=(1.0, 1.0)), operator("b", "a", times=(1.0, 1.0))
    problem = posed(a, b, devices=unit_cluster(2, 1.0), microbatches=2)
    made = baseline_timetable("1f1b", problem)
    start = made.start.copy()
    start[:, 0], start[:, 1] = [[0.0, 4.0], [1.0, 5.0]], [[3.0, 7.0], [2.0, 6.0]]
    plan = plan_of(problem, type(made)(made.placement, made.copy_of, start, ()))
    found = causes(plan, problem)
    assert found[0, Cause.INPUT] == pytest.approx(4.0)  # of the gradients
    assert (0, Cause.MEMORY) not in found  # the first device goes on as soon as the memory is free
    later = made.start.copy()
    later[:, 0], later[:, 1] = [[0.0, 5.0], [1.0, 6.0]], [[3.0, 8.0], [2.0, 7.0]]
    held = plan_of(problem, type(made)(made.placement, made.copy_of, later, ()))
    assert causes(held, problem)[0, Cause.HELD] == pytest.approx(1.0)


def test_memory_that_another_stream_holds() -> None:
    """What a communication operator holds is what the compute stream waits for."""
    x = operator("x", times=(1.0,), activation=2.0, stream=Stream.COMM)
    y = operator("y", "x", times=(3.0,), stream=Stream.COMM)
    z = operator("z", times=(1.0,), activation=1.0)
    problem = posed(x, y, z, devices=unit_cluster(1, 2.0), training=False)
    made = baseline_timetable("gpipe", problem)
    start = np.full_like(made.start, np.nan)
    start[:, 0, 0] = [0.0, 1.0, 4.0]
    plan = plan_of(problem, type(made)(made.placement, made.copy_of, start, ()))
    assert causes(plan, problem) == {(0, Cause.MEMORY): pytest.approx(4.0)}


def test_waiting_at_the_end_of_the_step() -> None:
    """Two devices: g1 ends first, then waits for the reduction of g0, since gradients are clipped, and gathers."""
    step = {Pass.R: 2.0, Pass.U: 1.0, Pass.G: 3.0}
    plain = posed(*(replace(o, step=step) for o in chain(2)), devices=2)
    problem = replace(plain, graph=replace(plain.graph, clip_gradients=True))
    plan = plan_of(problem, greedy(problem, Placement.single((0, 1))))
    # g0: F at 0, I at 3, W until 5, R until 7, U until 8, G until 11; g1: F at 1, I at 2, W until 4 and R until 6.
    assert plan.makespan == 11.0
    expected = {
        (0, Cause.INPUT): 2.0,
        (0, Cause.REDUCE): 2.0,
        (0, Cause.GATHER): 3.0,
        (1, Cause.INPUT): 1.0 + 1.0,  # before F; of U, while the passes before the reduction of g0 run
        (1, Cause.REDUCE): 2.0,
        (1, Cause.GATHER): 3.0,
    }
    for given in (problem, None):
        assert causes(plan, given) == pytest.approx(expected), given
    rows = [*plan.tasks, *plan.step_tasks]
    path = [rows[k] for k in critical_path(events_of(plan, problem))]
    assert "".join(t.pass_ for t in path) == "FFIIWRUG" and path[5].device == "g0"


def test_waiting_for_the_other_copy() -> None:
    """One operator, two copies: the second waits for the first one's gradient, to be computed and on its way."""
    own = replace(operator("a", times=(1.0, 1.0)), step={Pass.U: 1.0}, gradient=1e9)
    problem = posed(own, devices=unit_cluster(2, None, NetworkLevel(1e9)), microbatches=3, copies=2)
    plan = plan_of(problem, greedy(problem, Placement(((0,), (1,)))))
    # g0 has two microbatches and g1 one: gradients arrive there at 4 + 1 s, and on g0 while it still computes.
    for given in (problem, None):
        assert causes(plan, given) == pytest.approx({(1, Cause.EXCHANGE): 3.0, (0, Cause.NOTHING): 1.0}), given


@pytest.mark.parametrize("draw", [random_plan, random_whole_step])
def test_random_plans_add_up(draw: Callable[[int], tuple[Problem, Plan] | None]) -> None:
    """On every device the causes add up to the bubble, without overlap; the path fills the step without a gap."""
    ran = 0
    for seed in range(700, 760):
        made = draw(seed)
        if made is None:
            continue
        problem, plan = made
        for given in (problem, None):
            events = events_of(plan, given)
            idle = idle_times(events, plan.makespan)
            for d, device in enumerate(plan.devices):
                own = [each for each in idle if each.device == d]
                assert sum(each.end - each.start for each in own) == pytest.approx(
                    device.bubble, abs=1e-7 * plan.makespan
                )
                assert all(a.end <= b.start + 1e-9 * plan.makespan for a, b in pairwise(own))
            check_path(plan, critical_path(events), events)
        ran += 1
    assert ran > 25


def check_path(plan: Plan, path: list[int], events: Events) -> None:
    rows = [*plan.tasks, *plan.step_tasks, *plan.transfers, *plan.exchanges]
    close = 1e-8 * plan.makespan
    assert rows[path[-1]].end == plan.makespan
    assert rows[path[0]].start <= close
    for a, b in pairwise(path):
        # The next one starts when this one ends, or, where it is its turn to take memory, when this one starts; or
        # the plan holds it back.
        assert events.hold[b] or min(abs(rows[a].end - rows[b].start), abs(rows[a].start - rows[b].start)) <= close


def test_memory_by_cause_has_the_peaks_of_the_plan() -> None:
    ran = 0
    for seed in range(800, 840):
        made = random_plan(seed)
        if made is None:
            continue
        problem, plan = made
        for held, device in zip(memory_by_cause(problem, timetable_of(plan, problem)), plan.devices, strict=True):
            levels = np.concatenate([[0.0], np.cumsum(held.change)])
            peak = device.peak_memory
            assert held.parameters + levels.max() == pytest.approx(peak, abs=1e-9 * max(peak, 1.0))
            assert levels[-1] == pytest.approx(0.0, abs=1e-9 * max(peak, 1.0))
            assert (np.diff(held.times) >= 0).all() and held.cap == device.memory
            assert len(held.stages) == len(set(held.stage.tolist()))
        ran += 1
    assert ran > 15


def test_many_stages_on_one_device() -> None:
    """More runs of operators than are told apart: the least are one."""
    problem = posed(*chain(40, activation=1.0), devices=2)
    made = baseline_timetable("1f1b", problem)
    device_of = (tuple(k % 2 for k in range(40)),)
    one_by_one = type(made)(type(made.placement)(device_of), made.copy_of, made.start, ())
    first = memory_by_cause(problem, one_by_one)[0]
    assert len(first.stages) == STAGES_AT_MOST + 1 and first.stages[-1] == f"{20 - STAGES_AT_MOST} smaller stages"
    assert first.stages[0].startswith("s")
