"""From a timetable to a plan and back. Plans have names instead of indices; the content alone decides the order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.common.version import __version__
from planner.plan.plan import (
    BaselineFigures,
    Figure,
    PlacedOperator,
    Plan,
    PlannedExchange,
    PlannedStepTask,
    PlannedTask,
    PlannedTransfer,
    PlanRepetition,
    PlanWindow,
    Source,
    Unrestricted,
)
from planner.plan.throughput import throughput_of
from planner.problem.graph import PASS_ORDER, STEP_ORDER, STEP_STREAMS, Stream
from planner.problem.placement import Placement
from planner.problem.problem import Problem
from planner.timetable.figures import Figures, figures
from planner.timetable.memory import INSTANT, MemoryProfile, memory_profile
from planner.timetable.timetable import TimedExchange, TimedTransfer, Timetable

__all__ = ["MemoryProfile", "build_plan", "memory_profile", "timetable_of"]


def build_plan(
    problem: Problem,
    timetable: Timetable,
    *,
    origin: str,
    status: str,
    lower_bound: float | None,
    placement_lower_bound: float | None,
    options: Mapping[str, Any],
    solve_seconds: float,
    baselines: Sequence[BaselineFigures] = (),
    notes: Sequence[str] = (),
    objective: str = "makespan",
    window: PlanWindow | None = None,
    sought: Sequence[Figure] = (),
    repeated: PlanRepetition | None = None,
    whole: Figures | None = None,
    unrestricted: Unrestricted | None = None,
) -> Plan:
    """The plan of a timetable, with its figures and gap. ``sought``: the figures of its objective.

    ``repeated``: a part of the timetable that runs more often, in a step whose figures are those of ``whole``.
    ``unrestricted``: of a plan of a runtime.

    A bound that exceeds the makespan by rounding alone becomes the makespan; one that exceeds it by more stays, so
    that ``verify`` reports it. The bound of the problem holds for every placement, so that the placement's is never
    below it.
    """
    found = figures(problem, timetable) if whole is None else whole
    lower_bound = _without_rounding(lower_bound, found.makespan)
    placement_lower_bound = _without_rounding(placement_lower_bound, found.makespan)
    if lower_bound is not None and placement_lower_bound is not None:
        placement_lower_bound = max(lower_bound, placement_lower_bound)
    microbatches = problem.microbatches + (0 if repeated is None else repeated.more)
    plan = Plan(
        planner_version=__version__,
        origin=origin,
        graph=_graph(problem),
        cluster=Source(problem.cluster.name, problem.cluster.sha256),
        options=dict(options),
        microbatches=microbatches,
        objective=objective,
        status=status,
        makespan=found.makespan,
        lower_bound=lower_bound,
        placement_lower_bound=placement_lower_bound,
        gap=_gap(found.makespan, lower_bound),
        bubble_ratio=found.bubble_ratio,
        bubble_ratio_all=found.bubble_ratio_all,
        solve_seconds=solve_seconds,
        placement=_placement(problem, timetable),
        tasks=_tasks(problem, timetable),
        transfers=_transfers(problem, timetable),
        devices=found.devices,
        baselines=tuple(baselines),
        notes=tuple(notes),
        window=window,
        repeated=repeated,
        step_tasks=_step_tasks(problem, timetable),
        exchanges=_exchanges(problem, timetable),
        unrestricted=unrestricted,
        throughput=throughput_of(problem.graph.made_from, problem.cluster, microbatches, found.makespan),
    )
    return replace(plan, figures=tuple(figure.of(plan) for figure in sought))


def _graph(problem: Problem) -> Source:
    graph = problem.graph
    if graph.made_from is None:
        return Source(graph.name, graph.sha256)
    return Source(graph.name, graph.sha256, graph.mode.value, graph.made_from)


def _gap(makespan: float, lower_bound: float | None) -> float | None:
    if lower_bound is None:
        return None
    return 0.0 if makespan == 0.0 else (makespan - lower_bound) / makespan


def _without_rounding(bound: float | None, makespan: float) -> float | None:
    if bound is not None and makespan < bound <= makespan * (1.0 + INSTANT):
        return makespan
    return bound


def _placement(problem: Problem, timetable: Timetable) -> tuple[PlacedOperator, ...]:
    placement = timetable.placement
    return tuple(
        PlacedOperator(operator.name, k, problem.cluster.devices[d].name, operator.versions[v])
        for k, device_of in enumerate(placement.device_of)
        for operator, d, v in zip(problem.operators, device_of, problem.versions_of(placement, k), strict=True)
    )


def _tasks(problem: Problem, timetable: Timetable) -> tuple[PlannedTask, ...]:
    """All tasks by start, device, stream (compute first), microbatch, operator and pass."""
    operator, pass_, microbatch = np.nonzero(~np.isnan(timetable.start))
    copy = np.array(timetable.copy_of)[microbatch]
    device = np.array(timetable.placement.device_of)[copy, operator]
    # An instant of -1e-17 is 0 (and -0.0 too): the file shows no negative times.
    start = np.maximum(timetable.start[operator, pass_, microbatch], 0.0) + 0.0
    end = start + timetable.seconds(problem)[operator, pass_, microbatch]
    comm = problem.on_comm[operator]
    order = np.lexsort((pass_, operator, microbatch, comm, device, start))
    columns = (
        _names(o.name for o in problem.operators)[operator],
        _names(p.value for p in PASS_ORDER)[pass_],
        microbatch,
        copy,
        _names(d.name for d in problem.cluster.devices)[device],
        _names((Stream.COMPUTE.value, Stream.COMM.value))[comm.astype(int)],
        start,
        end,
    )
    return tuple(map(PlannedTask, *(column[order].tolist() for column in columns)))


def _step_tasks(problem: Problem, timetable: Timetable) -> tuple[PlannedStepTask, ...]:
    """All step tasks by start, device, copy, operator and pass."""
    if timetable.step is None:
        return ()
    copy, operator, which = np.nonzero(~np.isnan(timetable.step))
    device = np.array(timetable.placement.device_of)[copy, operator]
    start = np.maximum(timetable.step[copy, operator, which], 0.0) + 0.0
    end = start + problem.step_duration[operator, which, device]
    order = np.lexsort((which, operator, copy, device, start))
    columns = (
        _names(o.name for o in problem.operators)[operator],
        _names(p.value for p in STEP_ORDER)[which],
        copy,
        _names(d.name for d in problem.cluster.devices)[device],
        _names(STEP_STREAMS[p].value for p in STEP_ORDER)[which],
        start,
        end,
    )
    return tuple(map(PlannedStepTask, *(column[order].tolist() for column in columns)))


def _exchanges(problem: Problem, timetable: Timetable) -> tuple[PlannedExchange, ...]:
    """All exchanges of gradients by start, source, target, copy and operator."""
    devices = [d.name for d in problem.cluster.devices]
    return tuple(
        PlannedExchange(
            problem.operators[x.operator].name,
            int(x.copy),
            devices[x.source],
            devices[x.target],
            max(0.0, float(x.start)) + 0.0,
            float(x.end),
        )
        for x in sorted(timetable.exchanges, key=lambda x: (x.start, x.source, x.target, x.copy, x.operator))
    )


def _names(names: Iterable[str]) -> npt.NDArray[np.object_]:
    return np.array(list(names), dtype=object)


def _transfers(problem: Problem, timetable: Timetable) -> tuple[PlannedTransfer, ...]:
    """All transfers by start, source, target, microbatch, operator and pass."""
    devices = [d.name for d in problem.cluster.devices]
    return tuple(
        PlannedTransfer(
            problem.operators[t.operator].name,
            PASS_ORDER[t.pass_].value,
            int(t.microbatch),
            int(timetable.copy_of[t.microbatch]),
            devices[t.source],
            devices[t.target],
            max(0.0, float(t.start)) + 0.0,
            float(t.end),
        )
        for t in sorted(
            timetable.transfers,
            key=lambda t: (t.start, t.source, t.target, t.microbatch, t.operator, t.pass_),
        )
    )


def timetable_of(plan: Plan, problem: Problem) -> Timetable:
    """The timetable of the tasks that a plan lists; it is valid for the problem of so many microbatches."""
    operator = {o.name: i for i, o in enumerate(problem.operators)}
    device = {d.name: d_ for d_, d in enumerate(problem.cluster.devices)}
    pass_ = {p.value: k for k, p in enumerate(PASS_ORDER)}
    device_of = [[0] * problem.n_operators for _ in range(plan.copies)]
    variant_of = [[0] * problem.n_operators for _ in range(plan.copies)]
    for p in plan.placement:
        i = operator[p.operator]
        device_of[p.copy][i] = device[p.device]
        variant_of[p.copy][i] = problem.operators[i].versions.index(p.variant)
    copy_of = [0] * plan.listed_microbatches
    start = np.full((problem.n_operators, len(pass_), plan.listed_microbatches), np.nan)
    for t in plan.tasks:
        start[operator[t.operator], pass_[t.pass_], t.microbatch] = t.start
        copy_of[t.microbatch] = t.copy
    transfers = tuple(
        TimedTransfer(
            operator[t.operator], pass_[t.pass_], t.microbatch, device[t.source], device[t.target], t.start, t.end
        )
        for t in plan.transfers
    )
    step = None
    if plan.step_tasks:
        which = {p.value: k for k, p in enumerate(STEP_ORDER)}
        step = np.full((plan.copies, problem.n_operators, 3), np.nan)
        for s in plan.step_tasks:
            step[s.copy, operator[s.operator], which[s.pass_]] = s.start
    exchanges = tuple(
        TimedExchange(operator[x.operator], x.copy, device[x.source], device[x.target], x.start, x.end)
        for x in plan.exchanges
    )
    placement = problem.in_versions(Placement(tuple(map(tuple, device_of))), tuple(map(tuple, variant_of)))
    return Timetable(placement, tuple(copy_of), start, transfers, step, exchanges)
