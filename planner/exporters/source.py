"""The problem of a plan: that of its graph and cluster or, without them, one inferred from the plan's own times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from planner.common.messages import shown
from planner.common.tolerance import SAME
from planner.exporters import CannotExport
from planner.exporters.variants import in_variants, microbatches_alone, variants_of
from planner.plan.build import timetable_of
from planner.plan.plan import Plan, PlannedTask
from planner.problem import (
    PASS_ORDER,
    ByDevice,
    Cluster,
    Device,
    DeviceType,
    Graph,
    Impossible,
    Mode,
    NetworkLevel,
    Operator,
    Problem,
    Stream,
)
from planner.problem.graph import BASE
from planner.timetable.replay import orders_of, replay
from planner.timetable.timetable import Timetable

AFTER = (
    "step tasks (R, U, G) and exchanged gradients are left to the framework, which reduces gradients and updates "
    "weights itself; times are those of the microbatches"
)
GIVE_FILES = "give the files that the plan was made from: --graph GRAPH --cluster CLUSTER"


@dataclass(frozen=True)
class PlanSource:
    """A plan with the problem that it solves: its microbatches, without what follows the last of them.

    ``variants``: the variant of every operator, empty where all are ``base``; the problem has no others. Without files
    the problem is inferred: the plan's operators in a chain, without memory. ``timed``: a replay gives the times of the
    problem (the plan alone does not always show how long a transfer takes).
    """

    plan: Plan
    problem: Problem
    timetable: Timetable
    timed: bool
    variants: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def device(self, d: int) -> str:
        """The name of device ``d``."""
        return self.problem.cluster.devices[d].name


def source_of(plan: Plan, problem: Problem | None) -> PlanSource:
    """A plan of one copy with its problem (several copies on the same devices are one), up to its last microbatch.

    ``problem``: that of the plan's files, of which the plan is a valid one; None makes one of the plan alone. Raises
    ``CannotExport`` where operators have copies on different devices or in different variants, and where, without
    files, the order in which operators read each other does not show in the plan.
    """
    if not plan.tasks or not plan.placement:
        raise CannotExport("it holds no tasks")
    if plan.microbatches * len({placed.operator for placed in plan.placement}) > len(plan.tasks):
        raise CannotExport("tasks are missing; planner verify says which")
    single, variants = _one_copy(plan), variants_of(plan)
    if problem is None:
        found = _from_the_plan(single)
    else:
        own = microbatches_alone(problem if not _has_choices(problem) else in_variants(problem, variants))
        over = next((d for d in plan.devices if d.memory is not None and d.peak_memory > d.memory), None)
        notes = () if over is None else (f"the plan itself is over the memory cap of {over.name}",)
        found = PlanSource(single, own, timetable_of(single, own), True, notes=notes)
    left_out = (AFTER,) if plan.step_tasks or plan.exchanges else ()
    return replace(found, variants=variants, notes=(*found.notes, *left_out))


def _has_choices(problem: Problem) -> bool:
    return any(operator.variants for operator in problem.operators)


def _one_copy(plan: Plan) -> Plan:
    """The microbatches of the plan with one copy of everything, all as ``base``: ``variants_of`` has the variants.

    Copies that no microbatch uses do not count.
    """
    devices: dict[str, set[str]] = {}
    for task in plan.tasks:
        devices.setdefault(task.operator, set()).add(task.device)
    for operator, places in devices.items():
        if len(places) > 1:
            raise CannotExport(
                f"operator {shown(operator)} has copies on several devices ({', '.join(sorted(places))}), and there a "
                "stage lives on one rank; solve with --copies 1"
            )
    used = min(task.copy for task in plan.tasks)
    return replace(
        plan,
        makespan=_last_end(plan) if plan.step_tasks or plan.exchanges else plan.makespan,
        placement=tuple(replace(p, copy=0, variant=BASE) for p in plan.placement if p.copy == used),
        tasks=tuple(task._replace(copy=0) for task in plan.tasks),
        transfers=tuple(transfer._replace(copy=0) for transfer in plan.transfers),
        step_tasks=(),
        exchanges=(),
    )


def _last_end(plan: Plan) -> float:
    """When the last microbatch has ended."""
    return max(row.end for row in plan.tasks)


def _from_the_plan(plan: Plan) -> PlanSource:
    """A chain of operators with the durations that the plan shows."""
    try:
        problem = _chain(plan)
        timetable = timetable_of(plan, problem)
    except (KeyError, IndexError, ValueError, Impossible) as error:
        raise CannotExport(f"its tables contradict each other (planner verify says where); {GIVE_FILES}") from error
    if not np.array_equal(
        ~np.isnan(timetable.start), np.broadcast_to(problem.has_pass[:, :, None], timetable.start.shape)
    ):
        raise CannotExport("tasks are missing; planner verify says which")
    _check_chain(plan, problem, timetable)
    again = replay(problem, timetable.placement, timetable.copy_of, orders_of(timetable, problem))
    timed = again is not None and math.isclose(again.makespan(problem), plan.makespan, rel_tol=SAME)
    note = f"operators were taken for a chain in the order in which they run; where they are not, {GIVE_FILES}"
    return PlanSource(plan, problem, timetable, timed, notes=(note,))


def _chain(plan: Plan) -> Problem:
    """The operators in the order of the first microbatch's forwards, each reading the one before."""
    number = {placed.operator: k for k, placed in enumerate(plan.placement)}
    first = {t.operator: t for t in plan.tasks if t.pass_ == "F" and t.microbatch == 0}
    if set(first) != set(number):
        raise CannotExport("tasks or rows of the placement are missing; planner verify says which")
    names = sorted(first, key=lambda name: (first[name].start, first[name].end, number[name]))
    passes: dict[str, dict[str, PlannedTask]] = {}
    for task in plan.tasks:
        passes.setdefault(task.operator, {}).setdefault(task.pass_, task)
    sent = {(t.operator, t.pass_): t.end - t.start for t in plan.transfers}
    operators = tuple(
        Operator(
            name,
            {p: ByDevice({t.device: t.end - t.start}) for p in PASS_ORDER if (t := passes[name].get(p.value))},
            () if k == 0 else (names[k - 1],),
            Stream(passes[name]["F"].stream),
            output=sent.get((name, "F"), 0.0),
        )
        for k, name in enumerate(names)
    )
    kind = DeviceType("device")
    cluster = Cluster(
        plan.cluster.name,
        tuple(Device(d.name, d.name, kind) for d in plan.devices),
        {kind.name: kind},
        within_node=NetworkLevel(1.0),  # outputs are counted in seconds
    )
    training = any(task.pass_ != "F" for task in plan.tasks)
    mode = Mode.TRAINING if training else Mode.INFERENCE
    return Problem(Graph(plan.graph.name, mode, plan.microbatches, operators), cluster, plan.microbatches)


def _check_chain(plan: Plan, problem: Problem, timetable: Timetable) -> None:
    """Every microbatch passes the chain forth and back, one operator after the other."""
    slack, start, end = SAME * max(plan.makespan, 0.0), timetable.start, timetable.ends(problem)
    for before, after in pairwise(range(problem.n_operators)):
        forth = (start[after, 0] >= end[before, 0] - slack).all()
        back = not problem.training or (start[before, 1] >= end[after, 1] - slack).all()
        if not (forth and back):
            a, b = problem.operators[before].name, problem.operators[after].name
            raise CannotExport(f"it does not show how {shown(a)} and {shown(b)} read each other; {GIVE_FILES}")
