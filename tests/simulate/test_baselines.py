"""Baselines keep their own rules when times are disturbed: blocks stay whole, gradients are sent late."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from random_plans import plan_of
from solver_problems import chain, config, posed, unit_cluster

from planner.baselines import BASELINES, baseline_timetable
from planner.baselines.registry import baseline_pipeline
from planner.events import Events, Wait, events_of
from planner.plan.plan import Plan
from planner.problem import NetworkLevel, Problem, Stream
from planner.simulate import baseline_events, replayed_makespans


def four_devices(latency: float | None, comm: bool = False) -> Problem:
    """Two operators a stage, unequal passes; ``comm``: every second one communicates."""
    cluster = unit_cluster(4, None, None if latency is None else NetworkLevel(None, latency))
    operators = chain(8, times=(1.0, 1.2, 0.8))
    if comm:
        operators = tuple(replace(o, stream=Stream.COMM) if k % 2 else o for k, o in enumerate(operators))
    return posed(*operators, devices=cluster, microbatches=8)


def published(problem: Problem, name: str) -> tuple[Plan, Events]:
    plan = replace(plan_of(problem, baseline_timetable(name, problem)), origin=f"baseline:{name}")
    return plan, baseline_events(name, plan, problem)


def disturbed(events: Events, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of all nodes with other lengths, edge by edge."""
    seconds = events.seconds * np.random.default_rng(seed).lognormal(0, 0.4, events.nodes.n)
    starts, ends = np.zeros(events.nodes.n), np.zeros(events.nodes.n)
    waits: dict[int, list[int]] = {}
    for k, after in enumerate(events.after.tolist()):
        waits.setdefault(after, []).append(k)
    for node in events.order.tolist():
        ready = [(starts if events.from_start[k] else ends)[events.before[k]] for k in waits.get(node, ())]
        starts[node] = max([0.0, *ready]) + events.hold[node]
        ends[node] = starts[node] + seconds[node]
    assert ends[: events.nodes.n_tasks].max() == pytest.approx(replayed_makespans(events, [seconds[:, None]])[0])
    return starts, ends


@pytest.mark.parametrize("name", BASELINES)
def test_undisturbed_they_are_the_plan(name: str) -> None:
    for problem in (four_devices(None), four_devices(0.3), config("mixed-cluster")):
        plan, events = published(problem, name)
        makespan = replayed_makespans(events, [events.seconds[:, None]])[0]
        assert makespan == pytest.approx(plan.makespan, rel=1e-12)


@pytest.mark.parametrize("name", ["gpipe", "1f1b", "interleaved-1f1b"])
@pytest.mark.parametrize("latency", [None, 0.3])
def test_full_backward_passes_hand_on_at_their_end(name: str, latency: float | None) -> None:
    """No gradient leaves a device before all weight gradients of that stage and microbatch are done."""
    problem = four_devices(latency)
    plan, events = published(problem, name)
    pipeline = baseline_pipeline(name, problem)
    rows = {(t.operator, t.pass_, t.microbatch): k for k, t in enumerate(plan.tasks)}
    checked = 0
    for seed in range(3):
        starts, ends = disturbed(events, seed)
        for stage, above in pairwise(range(len(pipeline.stages))):
            for m in range(problem.microbatches):
                over = max(ends[rows[f"s{i}", "W", m]] for i in pipeline.stages[above])
                last = max(pipeline.stages[stage])
                if plan.tasks[rows[f"s{last}", "I", m]].device != plan.tasks[rows[f"s{last + 1}", "I", m]].device:
                    assert starts[rows[f"s{last}", "I", m]] >= over - 1e-9
                    checked += 1
    assert checked > 50


@pytest.mark.parametrize("name", ["dualpipe", "dualpipev"])
@pytest.mark.parametrize("latency", [None, 0.3])
@pytest.mark.parametrize("comm", [False, True])
def test_blocks_stay_whole(name: str, latency: float | None, comm: bool) -> None:
    """On every device a action starts when the one before has ended, and what it makes leaves after its end."""
    problem = four_devices(latency, comm)
    plan, events = published(problem, name)
    pipeline = baseline_pipeline(name, problem)
    nodes = events.nodes
    number = {(t.operator, t.pass_, t.microbatch): k for k, t in enumerate(plan.tasks)}
    data = (events.wait == Wait.INPUT) & (events.before < nodes.n_tasks)
    data &= (events.after >= nodes.n_tasks) | (nodes.device[events.after] != nodes.device[events.before])
    for seed in range(3):
        starts, ends = disturbed(events, seed)
        end_of_call = np.zeros(nodes.n_tasks)
        for row in pipeline.rows:
            over = 0.0
            for action in row:
                tasks = [
                    number[f"s{i}", "FIW"[p], m]
                    for stage_pass in action.passes
                    for i, p, m in pipeline.tasks(stage_pass)
                ]
                assert min(starts[tasks]) >= over - 1e-9
                over = max(ends[tasks])
                end_of_call[tasks] = over
        assert data.any() and (starts[events.after[data]] >= end_of_call[events.before[data]] - 1e-9).all()


def test_a_plan_with_another_placement_has_no_such_rules() -> None:
    problem = four_devices(None)
    plan = plan_of(problem, baseline_timetable("interleaved-1f1b", problem))
    taken_for, plain = baseline_events("1f1b", plan, problem), events_of(plan, problem)
    assert np.array_equal(taken_for.before, plain.before) and np.array_equal(taken_for.after, plain.after)
