"""Waits of a baseline beyond the rules of a plan, for disturbed replays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.baselines import BASELINES, NotApplicable
from planner.baselines.registry import SCHEDULES, baseline_pipeline
from planner.events import Events, events_of
from planner.events.gates import Gates
from planner.events.nodes import Nodes
from planner.plan.plan import Plan
from planner.problem import BASE, Problem


def plan_events(plan: Plan, problem: Problem | None) -> Events:
    """The events of a plan; for that of a baseline, with its own rules where the problem is known."""
    name = plan.origin.removeprefix("baseline:")
    if problem is None or name == plan.origin or name not in BASELINES:
        return events_of(plan, problem)
    try:
        return baseline_events(name, plan, problem)
    except NotApplicable:  # with other flags than those that the plan was made with
        return events_of(plan, problem)


def baseline_events(name: str, plan: Plan, problem: Problem) -> Events:
    """The events of the plan of a baseline, exact, with the baseline's own rules.

    A fused block starts when the one before it on its device has ended, and its outputs leave when it ends; a full
    backward pass sends its gradients when it ends (docs/baselines.md). A plan with another placement than the
    baseline has on this problem is replayed without these rules.
    """
    pipeline = baseline_pipeline(name, _as_replayed(plan, problem))
    device = {d.name: k for k, d in enumerate(problem.cluster.devices)}
    placed = [(problem.graph.index[p.operator], p.copy, device[p.device]) for p in plan.placement]
    if any(pipeline.placement.device_of[k][i] != d for i, k, d in placed if k < pipeline.placement.copies):
        return events_of(plan, problem)

    def gates(nodes: Nodes) -> Gates:
        keys = zip(nodes.operator.tolist(), nodes.pass_.tolist(), nodes.microbatch.tolist(), strict=True)
        node_of = {key: node for node, key in enumerate(keys) if node < nodes.n_tasks}
        made = Gates(*(np.full((nodes.n_tasks, 2), -1, dtype=np.int64) for _ in range(2)))
        for row in pipeline.rows:
            block_before = [-1, -1]
            for action in row:
                stage_passes = [[node_of[task] for task in pipeline.tasks(stage_pass)] for stage_pass in action.passes]
                if SCHEDULES[name].fused:
                    block = [node for stage_pass in stage_passes for node in stage_pass]
                    made.starts[block] = block_before
                    block_before = _last(nodes, block)
                    made.leaves[block] = block_before
                    continue
                for what, stage_pass in zip(action.passes, stage_passes, strict=True):
                    if what.kind == "B":
                        made.leaves[[node for node in stage_pass if nodes.pass_[node] == 1]] = _last(nodes, stage_pass)
        return made

    return events_of(plan, problem, gates)


def _as_replayed(plan: Plan, problem: Problem) -> Problem:
    """The problem in the variants that all copies of the plan have: what the baseline was made for."""
    if not problem.free:
        return problem
    variants = {placed.operator: placed.variant for placed in plan.placement}
    return problem.chosen([o.versions.index(variants.get(o.name, BASE)) for o in problem.operators])


def _last(nodes: Nodes, tasks: Sequence[int]) -> list[int]:
    """Of some tasks the one that ends last on the compute stream, and on the communication stream; -1: none."""
    found = [-1, -1]
    for node in tasks:
        stream = int(nodes.comm[node])
        if found[stream] < 0 or nodes.end[node] >= nodes.end[found[stream]]:
            found[stream] = node
    return found
