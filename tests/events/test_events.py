"""What tasks and transfers wait for: enough that no delay breaks a rule, no more than the plan itself keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_plans import plan_of, random_plan
from replayed_events import replayed
from solver_problems import chain, checked, operator, posed, unit_cluster

from planner.baselines import baseline_timetable
from planner.events import Wait, events_of
from planner.plan.build import timetable_of
from planner.plan.plan import Plan
from planner.problem import NetworkLevel, Problem
from planner.timetable.timetable import TimedTransfer


def moved(problem: Problem, plan: Plan, starts: np.ndarray) -> Plan:
    """The same plan with other starts, its figures made anew."""
    table = timetable_of(plan, problem)
    nodes = events_of(plan, problem).nodes
    k = nodes.n_tasks
    start = table.start.copy()
    start[nodes.operator[:k], nodes.pass_[:k], nodes.microbatch[:k]] = starts[:k]
    transfers = tuple(
        TimedTransfer(t.operator, t.pass_, t.microbatch, t.source, t.target, begin, begin + t.end - t.start)
        for t, begin in zip(table.transfers, starts[k:].tolist(), strict=True)
    )
    return plan_of(problem, replace(table, start=start, transfers=transfers))


@pytest.mark.parametrize("block", range(4))
def test_random_plans(block: int) -> None:
    """Without delays the plan's own instants; with any delays a valid plan still. From the plan alone, too."""
    ran = tight = 0
    for seed in range(100 * block, 100 * block + 25):
        made = random_plan(seed)
        if made is None:
            continue
        problem, plan = made
        rng = np.random.default_rng(seed)
        for given in (problem, None):
            events = events_of(plan, given)
            assert events.exact is (given is not None)
            assert np.abs(replayed(events, np.zeros(events.nodes.n)) - events.nodes.start).max() <= (
                1e-8 * plan.makespan
            ), seed
            tight += bool((events.wait == Wait.MEMORY).any())
            for _ in range(3):
                delay = rng.exponential(0.3 * plan.makespan / events.nodes.n, events.nodes.n)
                late = moved(problem, plan, replayed(events, delay * (rng.random(events.nodes.n) < 0.5)))
                assert checked(problem, late) == [], (seed, given is None)
        ran += 1
    assert ran > 10 and tight > 5


def test_exact_edges_hold_back_no_more_than_the_rules() -> None:
    """Two stages, a transfer of half a second, memory for two microbatches on the first device."""
    a, b = chain(2, times=(1.0, 1.0), activation=1.0)
    cluster = unit_cluster(2, 2.0, NetworkLevel(None, 0.5))
    problem = posed(a, b, devices=cluster, microbatches=3)
    plan = plan_of(problem, baseline_timetable("1f1b", problem))
    events = events_of(plan, problem)
    names = {node: (t.operator, t.pass_, t.microbatch) for node, t in enumerate(plan.tasks)}
    memory = {
        (names[before], names[after])
        for before, after, wait in zip(events.before.tolist(), events.after.tolist(), events.wait.tolist(), strict=True)
        if wait == Wait.MEMORY
    }
    # The third microbatch takes the place of the first, on the first device only after its I.
    assert memory == {((o, "I", 0), (o, "F", 2)) for o in ("s0", "s1")}
    inputs = (events.wait == Wait.INPUT).sum()
    assert inputs == 3 * (2 + 2)  # F to I of both, and to both transfers what they carry
    assert (events.wait == Wait.TRANSFER).sum() == 3 * 2


def test_a_chain_is_read_off_the_plan_exactly() -> None:
    """Of a chain of operators, with and without transfers that take time, both graphs give the same replays."""
    for level in (None, NetworkLevel(None, 0.25)):
        problem = posed(*chain(6), devices=unit_cluster(3, None, level), microbatches=5)
        plan = plan_of(problem, baseline_timetable("1f1b", problem))
        exact, inferred = events_of(plan, problem), events_of(plan)
        rng = np.random.default_rng(1)
        for _ in range(20):
            delay = rng.exponential(0.5, exact.nodes.n)
            assert replayed(exact, delay) == pytest.approx(replayed(inferred, delay))


def test_fused_blocks_are_held_together() -> None:
    """What DualPipe's fused blocks send leaves at their end: later than rules ask, tied to what ends just then."""
    problem = posed(*chain(8), devices=unit_cluster(4, None, NetworkLevel(None, 0.25)), microbatches=8)
    plan = plan_of(problem, baseline_timetable("dualpipe", problem))
    events = events_of(plan, problem)
    held = events.wait == Wait.HELD
    assert held.sum() > 10
    assert (events.nodes.end[events.before[held]] == events.nodes.start[events.after[held]]).all()
    unfused = events_of(plan_of(problem, baseline_timetable("zb1p", problem)), problem)
    assert (unfused.wait != Wait.HELD).all() and not unfused.hold.any()


def test_a_full_backward_pass_hands_on_at_its_end() -> None:
    """1F1B with free transfers: where the next device waits for a W that ends elsewhere, it is tied to that W."""
    problem = posed(*chain(8), devices=4, microbatches=8)
    plan = plan_of(problem, baseline_timetable("1f1b", problem))
    for given in (problem, None):
        events = events_of(plan, given)
        held = events.wait == Wait.HELD
        assert held.any() and not events.hold.any()
        assert (events.nodes.pass_[events.before[held]] == 2).all()
        assert (events.nodes.device[events.before[held]] != events.nodes.device[events.after[held]]).all()


def test_exclusive_transfers_take_their_turn_on_the_compute_stream() -> None:
    cluster = unit_cluster(2, None, NetworkLevel(None, 0.5), exclusive_transfers=True)
    problem = posed(operator("a"), operator("b", "a"), devices=cluster, microbatches=2)
    plan = plan_of(problem, baseline_timetable("1f1b", problem))
    for given in (problem, None):
        events = events_of(plan, given)
        turns = zip(events.before.tolist(), events.after.tolist(), events.wait.tolist(), strict=True)
        tasks = events.nodes.n_tasks
        assert any(w == Wait.ORDER and (b < tasks) != (a < tasks) for b, a, w in turns)


def test_empty_plan() -> None:
    problem = posed(operator("a"))
    plan = plan_of(problem, baseline_timetable("1f1b", problem))
    events = events_of(replace(plan, tasks=(), transfers=(), makespan=0.0))
    assert events.nodes.n == 0 and len(events.before) == 0
