"""Step tasks, exchanges of gradients and variants in the graph of events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_plans import plan_of
from random_steps import broken, greedy, random_whole_step, two_copies
from replayed_events import replayed
from solver_problems import chain, operator, posed, unit_cluster

from planner.events import Events, Wait, events_of
from planner.plan.build import timetable_of
from planner.plan.plan import Plan, PlannedExchange
from planner.problem import NetworkLevel, Pass, Placement, Problem
from planner.timetable.timetable import Timetable


def moved(problem: Problem, plan: Plan, starts: np.ndarray) -> Timetable:
    """The same plan with other starts."""
    table = timetable_of(plan, problem)
    nodes = events_of(plan, problem).nodes
    start, step = table.start.copy(), None if table.step is None else table.step.copy()
    for node in range(nodes.n_tasks):
        i, p = nodes.operator[node], nodes.pass_[node]
        if not nodes.once[node]:
            start[i, p, nodes.microbatch[node]] = starts[node]
        elif step is not None:
            step[nodes.copy[node], i, p - 3] = starts[node]
    sent = [*table.transfers, *table.exchanges]
    late = [t._replace(start=a, end=a + t.end - t.start) for t, a in zip(sent, starts[nodes.n_tasks :], strict=True)]
    k = len(table.transfers)
    return replace(table, start=start, step=step, transfers=tuple(late[:k]), exchanges=tuple(late[k:]))


@pytest.mark.parametrize("block", range(3))
def test_random_whole_steps(block: int) -> None:
    """Without delays the plan's own instants; with any delays a valid step still. From the plan alone, too."""
    ran = sent = varied = memory = 0
    for seed in range(100 * block, 100 * block + 40):
        made = random_whole_step(seed)
        if made is None:
            continue
        problem, plan = made
        assert broken(problem, timetable_of(plan, problem)) == [], seed
        rng = np.random.default_rng(seed)
        for given in (problem, None):
            events = events_of(plan, given)
            off = np.abs(replayed(events, np.zeros(events.nodes.n)) - events.nodes.start)
            assert off.max() <= 1e-8 * plan.makespan, (seed, given is None)
            memory += bool((events.wait == Wait.MEMORY).any())
            for _ in range(3):
                delay = rng.exponential(0.3 * plan.makespan / events.nodes.n, events.nodes.n)
                table = moved(problem, plan, replayed(events, delay * (rng.random(events.nodes.n) < 0.5)))
                assert broken(problem, table) == [], (seed, given is None)
                late = plan_of(problem, table)
                for device, before in zip(late.devices, plan.devices, strict=True):
                    most = max(before.peak_memory, device.memory or 0.0)
                    assert device.memory is None or device.peak_memory <= most * (1 + 1e-9), seed
        ran += 1
        sent += bool(plan.exchanges)
        varied += any(p.variant != "base" for p in plan.placement)
    assert ran > 15 and sent > 3 and varied > 8 and memory > 5


def test_edges_of_two_copies() -> None:
    """Each copy's R waits for its own passes and the other's gradient, U for all R, G for its U."""
    problem, plan = two_copies()
    assert plan.step_tasks and len(plan.exchanges) == 4
    rows = [*plan.tasks, *plan.step_tasks, *plan.transfers, *plan.exchanges]
    n = len(plan.tasks)
    for given in (problem, None):
        events = events_of(plan, given)
        assert events.nodes.n == len(rows) and (events.nodes.of_step == n + np.arange(len(plan.step_tasks))).all()
        waits = waits_of(events)
        for k, task in enumerate(plan.step_tasks):
            before = [rows[b] for b, w in waits[n + k] if w in (Wait.INPUT, Wait.TRANSFER)]
            own = {(t.pass_, t.copy) for t in before if not isinstance(t, PlannedExchange)}
            if task.pass_ == "G":
                assert own == {("U", task.copy)}
            elif task.pass_ == "U":  # for one reduction on each device, besides its own
                assert ("R", task.copy) in own and {t.pass_ for t in before} == {"R"}
                assert {t.device for t in before} == {"g0", "g1"}
            else:
                passes = {t.pass_ for t in plan.tasks if (t.operator, t.copy) == (task.operator, task.copy)}
                assert own == {(p, task.copy) for p in passes - {"F"}}
                (sent,) = (t for t in before if isinstance(t, PlannedExchange))
                assert (sent.operator, sent.copy, sent.target) == (task.operator, 1 - task.copy, task.device)


def waits_of(events: Events) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for before, after, wait in zip(events.before.tolist(), events.after.tolist(), events.wait.tolist(), strict=True):
        found.setdefault(after, []).append((before, wait))
    return found


def test_missing_step_tasks_are_skipped() -> None:
    """U alone waits for the passes, G without U for them, too; with clip_gradients U still waits for every R."""
    first, second, third = chain(3)
    operators = (
        replace(first, step={Pass.U: 1.0}),
        replace(second, step={Pass.G: 1.0}),
        replace(third, step={Pass.R: 2.0}),
    )
    for clips in (False, True):
        plain = posed(*operators)
        problem = replace(plain, graph=replace(plain.graph, clip_gradients=clips))
        plan = plan_of(problem, greedy(problem, Placement.single((0, 0, 0))))
        waits, rows = waits_of(events_of(plan, problem)), [*plan.tasks, *plan.step_tasks]
        update, gather = (
            len(plan.tasks) + next(k for k, t in enumerate(plan.step_tasks) if t.pass_ == p) for p in "UG"
        )
        data = {rows[b].operator + rows[b].pass_ for b, w in waits[update] if w == Wait.INPUT}
        assert data == {"s0I", "s0W"} | ({"s2R"} if clips else set())
        assert {rows[b].operator + rows[b].pass_ for b, w in waits[gather] if w == Wait.INPUT} == {"s1I", "s1W"}


def test_gradients_over_a_free_network() -> None:
    """An exchange that takes no time is not listed: the passes of the other copy are waited for directly."""
    own = replace(operator("a"), step={Pass.R: 1.0}, gradient=5.0)
    problem = posed(own, devices=2, microbatches=2, copies=2)
    plan = plan_of(problem, greedy(problem, Placement(((0,), (1,)))))
    assert not plan.exchanges
    for given in (problem, None):
        events = events_of(plan, given)
        waits = waits_of(events)
        for k in events.nodes.of_step.tolist():
            data = {plan.tasks[b].copy for b, w in waits[k] if w == Wait.INPUT}
            assert data == {0, 1}
    alone = posed(replace(own, gradient=0.0), devices=2, microbatches=2, copies=2)
    waits = waits_of(events_of(plan, alone))
    assert all(len({plan.tasks[b].copy for b, w in waits[k] if w == Wait.INPUT}) == 1 for k in (6, 7))


def test_an_exchange_takes_its_turn_on_the_channel() -> None:
    """Two operators exchange gradients over one channel each way; on exclusive devices on the compute streams, too."""
    for exclusive in (False, True):
        cluster = unit_cluster(2, None, NetworkLevel(1e9), exclusive_transfers=exclusive)
        operators = [replace(o, gradient=1e9) for o in chain(2)]
        problem = posed(*operators, devices=cluster, microbatches=2, copies=2)
        plan = plan_of(problem, greedy(problem, Placement(((0, 1), (1, 0)))))
        events = events_of(plan, problem)
        sent = set(events.nodes.exchanges.tolist())
        assert len(sent) == 4 and plan.makespan == max(x.end for x in plan.exchanges)
        turns = [
            (b in sent, a in sent)
            for b, a, w in zip(events.before.tolist(), events.after.tolist(), events.wait.tolist(), strict=True)
            if w == Wait.ORDER and (a in sent or b in sent)
        ]
        assert (True, True) in turns
        assert ((False, True) in turns) is exclusive or not exclusive
