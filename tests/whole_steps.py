"""Steps with everything in them: copies in variants of their own, step tasks, and gradients that copies exchange."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from handmade import sequential

from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.timetable.figures import DeviceFigures, Figures
from planner.timetable.timetable import TimedExchange, Timetable

Held = tuple[float, float, float]
"""Start, end and bytes."""


def whole_step(
    posed: Problem,
    device_of: Sequence[Sequence[int]],
    copy_of: Sequence[int] | None = None,
    variant_of: Sequence[tuple[int, ...]] = (),
) -> Timetable:
    """``sequential``, and the end of the step."""
    return with_step_tasks(posed, sequential(posed, device_of, copy_of, variant_of))


def with_step_tasks(posed: Problem, short: Timetable) -> Timetable:
    """The timetable, then all exchanges, all R, all U and all G, each as early as what came before it lets it."""
    device_of = short.placement.device_of
    ends, copies = short.ends(posed), len(device_of)
    free: dict[tuple[object, ...], float] = defaultdict(float)
    for i, p, m in np.argwhere(~np.isnan(short.start)).tolist():
        stream = ("comm" if posed.on_comm[i] else "compute", short.device(i, m))
        free[stream] = max(free[stream], ends[i, p, m])
    for t in short.transfers:
        for used in resources(posed, t.source, t.target):
            free[used] = max(free[used], t.end)
    ready = np.zeros((copies, posed.n_operators))  # for the first step task of each copy
    last = np.zeros((copies, posed.n_operators))  # the ends of I and W
    for k in range(copies):
        own = ends[:, 1:, np.array(short.copy_of) == k]
        if own.size:
            last[k] = ready[k] = np.nanmax(own, axis=(1, 2)) if posed.training else 0.0
    exchanges: list[TimedExchange] = []
    for i in np.flatnonzero(posed.gradient).tolist():
        where = [devices[i] for devices in device_of]
        for k, source in enumerate(where):
            for target in sorted(set(where) - {source}):
                seconds, start = posed.gradient_transfer(i, source, target), last[k, i]
                if seconds > 0:
                    used = resources(posed, source, target)
                    start = max(start, *(free[u] for u in used))
                    free.update(dict.fromkeys(used, start + seconds))
                    exchanges.append(TimedExchange(i, k, source, target, start, start + seconds))
                for j in range(copies):
                    if where[j] == target:
                        ready[j, i] = max(ready[j, i], start + seconds)
    step = np.full((copies, posed.n_operators, 3), np.nan)
    reduced = 0.0
    for s, stream in enumerate(("comm", "compute", "comm")):
        for k, i in np.ndindex(copies, posed.n_operators):
            if posed.has_step[i, s]:
                d = device_of[k][i]
                clipped = reduced if posed.graph.clip_gradients and s == 1 else 0.0
                step[k, i, s] = max(ready[k, i], free[stream, d], clipped)
                ready[k, i] = free[stream, d] = step[k, i, s] + posed.step_duration[i, s, d]
                if s == 0:
                    reduced = max(reduced, ready[k, i])
    return replace(short, step=step if posed.has_step.any() else None, exchanges=tuple(exchanges))


def resources(posed: Problem, source: int, target: int) -> list[tuple[object, ...]]:
    return [("channel", source, target), *(("compute", d) for d in (source, target) if posed.exclusive[d])]


def plan_of_step(posed: Problem, timetable: Timetable) -> Plan:
    """The plan of a timetable of whole steps, with plain sums for figures."""
    return build_plan(
        posed,
        timetable,
        origin="solve",
        status="feasible",
        lower_bound=0.0,
        placement_lower_bound=0.0,
        options={"copies": posed.copies},
        solve_seconds=0.0,
        whole=plain_figures(posed, timetable),
    )


def plain_figures(posed: Problem, timetable: Timetable) -> Figures:
    """The figures of rule 6, one sum after the other."""
    spans = list(_spans(posed, timetable))
    makespan = max([end for *_, end in spans] + [x.end for x in timetable.exchanges])
    rows, used = [], sorted({d for d, *_ in spans})
    for d, device in enumerate(posed.cluster.devices):
        work = [(start, end) for where, on_comm, start, end in spans if where == d and not on_comm]
        busy = math.fsum(end - start for start, end in work)
        span = max(end for _, end in work) - min(start for start, _ in work) if work else 0.0
        peak, at = _peak(resident(posed, timetable, d), list(held(posed, timetable, d)), makespan * 1e-9)
        cap = None if math.isinf(posed.cap[d]) else float(posed.cap[d])
        rows.append(DeviceFigures(device.name, busy, makespan - busy, span - busy, peak, at, cap))

    def ratio(some: list[DeviceFigures], field: str) -> float:
        return sum(getattr(row, field) for row in some) / (len(some) * makespan) if some and makespan else 0.0

    working = [rows[d] for d in used]
    return Figures(
        makespan,
        ratio(working, "bubble"),
        ratio(rows, "bubble"),
        ratio(working, "span_bubble"),
        max(row.peak_memory for row in rows),
        all(row.memory is None or row.peak_memory <= row.memory for row in rows),
        tuple(rows),
    )


def _spans(posed: Problem, timetable: Timetable) -> Iterator[tuple[int, bool, float, float]]:
    """Device, whether on the comm stream, start and end of all tasks and step tasks."""
    ends = timetable.ends(posed)
    for i, p, m in np.argwhere(~np.isnan(timetable.start)).tolist():
        yield timetable.device(i, m), bool(posed.on_comm[i]), float(timetable.start[i, p, m]), float(ends[i, p, m])
    if timetable.step is not None:
        ends = timetable.step_ends(posed)
        for k, i, s in np.argwhere(~np.isnan(timetable.step)).tolist():
            where = timetable.placement.device_of[k][i]
            yield where, s != 1, float(timetable.step[k, i, s]), float(ends[k, i, s])


def resident(posed: Problem, timetable: Timetable, device: int) -> float:
    """The bytes of parameters on a device: of an operator's copies there, the largest."""
    placement = timetable.placement
    most = np.zeros(posed.n_operators)
    for own, where in zip(posed.of_copies(placement), placement.device_of, strict=True):
        most = np.where(np.array(where) == device, np.maximum(most, own.parameters), most)
    return float(most.sum())


def held(posed: Problem, timetable: Timetable, device: int) -> Iterator[Held]:
    """What microbatches hold on a device."""
    ends, own = timetable.ends(posed), posed.of_copies(timetable.placement)
    for i, m in np.ndindex(posed.n_operators, len(timetable.copy_of)):
        if timetable.device(i, m) != device:
            continue
        of, start = own[timetable.copy_of[m]], float(timetable.start[i, 0, m])
        if posed.training:
            yield start, float(ends[i, 1, m]), float(of.activation[i])
            if of.has_pass[i, 2]:
                yield float(ends[i, 1, m]), float(ends[i, 2, m]), float(of.held[i])
        else:
            readers = [ends[j, 0, m] for j in posed.consumers[i] if timetable.device(j, m) == device]
            left = [t.end for t in timetable.transfers if (t.operator, t.microbatch) == (i, m)]
            yield start, float(max([ends[i, 0, m], *readers, *left])), float(of.activation[i])


def _peak(resident: float, some: list[Held], tolerance: float) -> tuple[float, float]:
    peak, at = resident, 0.0
    for instant in sorted({start for start, _, _ in some}):
        now = resident + math.fsum(size for start, end, size in some if start <= instant < end - tolerance)
        if now > peak:
            peak, at = now, instant
    return peak, at
