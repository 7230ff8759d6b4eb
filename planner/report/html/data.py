"""The data of the page as columns of numbers. Names are listed once; columns hold their indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from planner.events import Events, Wait, events_of
from planner.events.links import links_of
from planner.events.nodes import Floats, Ints
from planner.plan.build import timetable_of
from planner.plan.plan import Plan
from planner.problem import BASE, Problem
from planner.report.causes import PREFERRED, Cause, Idle, critical_path, idle_times
from planner.report.html.kept import TASKS_AT_MOST, LeftOut, left_out
from planner.report.html.packed import differences, intervals, ticks, ticks_per_second
from planner.report.html.phases import phases_of
from planner.report.memory import DeviceMemory, memory_by_cause
from planner.report.variants import has_variants

CAUSES = tuple(Cause)
ALWAYS = CAUSES.index(Cause.NOTHING) + 1
"""So many causes are listed on every page, the others where a stream waits for them."""


class PlanDrawing:
    """A plan and the data that are drawn. ``problem``: one that the plan is valid for, if known."""

    def __init__(self, plan: Plan, title: str, problem: Problem | None) -> None:
        self.plan = plan
        self.title = title
        self.problem = problem
        self.events = events_of(plan, problem)
        self.idle: list[Idle] = idle_times(self.events, plan.makespan)
        # None: not known. An empty list: no device holds any memory.
        self.memory: list[DeviceMemory] | None = None
        if problem is not None:
            held = memory_by_cause(problem, timetable_of(plan, problem))
            self.memory = held if any(d.parameters > 0 or len(d.change) for d in held) else []

    def causes(self) -> int:
        """How many causes, in the order of ``CAUSES``, the page has to know."""
        return max([ALWAYS, *(1 + CAUSES.index(idle.cause) for idle in self.idle)])

    def idle_seconds(self) -> npt.NDArray[np.float64]:
        """Seconds that each device is idle for each cause (in the order of ``CAUSES``)."""
        table = np.zeros((len(self.events.nodes.devices), len(CAUSES)))
        for idle in self.idle:
            table[idle.device, CAUSES.index(idle.cause)] += idle.end - idle.start
        return table

    def document(self, tasks_at_most: int = TASKS_AT_MOST) -> dict[str, Any]:
        """The plan as the page's script reads it."""
        nodes, plan = self.events.nodes, self.plan
        phases = phases_of(plan, nodes)
        gone = left_out(nodes, phases, tasks_at_most)
        kept = np.ones(nodes.n, dtype=bool) if gone is None else gone.keeps(nodes.start, nodes.end)
        rows, transfers = np.flatnonzero(kept[: nodes.n_tasks]), nodes.n_tasks + np.flatnonzero(kept[nodes.n_tasks :])
        if len(nodes.exchanges):  # which the plan lists last
            transfers = transfers[np.argsort(nodes.start[transfers], kind="stable")]
        row = 2 * nodes.device[rows] + nodes.comm[rows]
        order = np.lexsort((nodes.end[rows], nodes.start[rows], row))
        listed = np.concatenate([rows[order], transfers])  # the page's nodes: tasks row by row, then transfers
        number = np.full(nodes.n + 1, -1, dtype=np.int64)  # of a node on the page; -1 (the last one, too): not there
        number[listed] = np.arange(len(listed))
        path = number[critical_path(self.events)]
        scale = ticks_per_second(plan.makespan)
        return {
            "title": self.title,
            "makespan": plan.makespan,
            "bound": plan.lower_bound,
            "microbatches": plan.microbatches,
            "phases": None if phases is None else phases.document(),
            "leftOut": None if gone is None else gone._asdict(),
            "operators": list(nodes.operators),
            "devices": list(nodes.devices),
            "scale": scale,
            "rowPtr": np.searchsorted(row[order], np.arange(2 * len(nodes.devices) + 1)).tolist(),
            "tasks": _columns(self.events, rows[order], scale),
            "transfers": _columns(self.events, transfers, scale) | _links(self.events, number, transfers),
            "waits": _latest_wait(self.events, number, listed),
            "idle": _idle(self.idle, gone, scale),
            "path": differences(path[path >= 0]),
            "memory": _memory(self.memory, gone, scale) if self.memory else None,
            **({"variants": self._variants()} if has_variants(plan) else {}),
        }

    def _variants(self) -> list[tuple[int, int, str]]:
        """Copy, operator and variant of all that are not at base."""
        number = {name: k for k, name in enumerate(self.events.nodes.operators)}
        return [(p.copy, number[p.operator], p.variant) for p in self.plan.placement if p.variant != BASE]


def _columns(events: Events, rows: Ints, scale: float) -> dict[str, Any]:
    nodes = events.nodes
    whole = {
        "operator": nodes.operator,
        "pass": nodes.pass_,
        "microbatch": nodes.microbatch,
        "copy": nodes.copy,
        "device": nodes.device,
        "target": nodes.target,
    }
    made: dict[str, Any] = {name: column[rows].tolist() for name, column in whole.items()}
    if len(rows) and rows.max() < nodes.n_tasks:
        del made["target"], made["device"]  # tasks are listed row by row
    return made | intervals(nodes.start[rows], nodes.end[rows], scale)


def _links(events: Events, number: Ints, transfers: Ints) -> dict[str, Any]:
    """For each transfer, the task that produces its data (-1: none on the page) and the tasks that read it."""
    links = links_of(events)
    shown = [links[t] for t in (transfers - events.nodes.n_tasks).tolist()]
    readers = [[n for n in number[list(each)].tolist() if n >= 0] for _, each in shown]
    return {
        "maker": number[[maker for maker, _ in shown]].tolist() if shown else [],
        "readers": [len(each) for each in readers],
        "reader": [n for each in readers for n in each],
    }


def _latest_wait(events: Events, number: Ints, listed: Ints) -> dict[str, Any]:
    """For each node, how far before it stands the one that it waits for longest (0: none), and the kind of wait."""
    nodes = events.nodes
    preference = np.array([PREFERRED[Wait(k)] for k in range(len(Wait))])
    order = np.lexsort((-preference[events.wait], events.ready(), events.after))
    last = np.full(nodes.n, -1, dtype=np.int64)
    last[events.after[order]] = order  # the last one written stays: the latest wait, then the preferred one
    edge = last[listed]
    some = edge >= 0
    before, kind = np.full(len(listed), -1, dtype=np.int64), np.zeros(len(listed), dtype=np.int64)
    before[some] = number[events.before[edge[some]]]
    kind[some] = events.wait[edge[some]]
    return {"back": np.where(before < 0, 0, np.arange(len(listed)) - before).tolist(), "kind": kind.tolist()}


def _idle(idle: list[Idle], gone: LeftOut | None, scale: float) -> dict[str, Any]:
    start, end = np.array([each.start for each in idle]), np.array([each.end for each in idle])
    kept = np.flatnonzero(gone.keeps(start, end)) if gone is not None else np.arange(len(idle))
    shown = [idle[k] for k in kept.tolist()]
    return {
        "device": differences([each.device for each in shown]),
        "cause": [CAUSES.index(each.cause) for each in shown],
        **intervals(start[kept], end[kept], scale),
    }


def _memory(devices: list[DeviceMemory], gone: LeftOut | None, scale: float) -> list[dict[str, Any]]:
    made = []
    for device in devices:
        time, stage, change = device.times, device.stage, device.change
        if gone is not None:
            time, stage, change = _without(gone, time, stage, change, len(device.stages))
        sizes, size = np.unique(change, return_inverse=True)
        made.append(
            {
                "cap": device.cap,
                "parameters": device.parameters,
                "peak": device.parameters + sum(device.at_peak()[1]),
                "stages": list(device.stages),
                "time": differences(ticks(time, scale)),
                "stage": stage.tolist(),
                "sizes": sizes.tolist(),
                "size": size.tolist(),
            }
        )
    return made


def _without(gone: LeftOut, time: Floats, stage: Ints, change: Floats, stages: int) -> tuple[Floats, Ints, Floats]:
    """The changes outside of what is left out; at its end, those in it as one a stage."""
    low, high = np.searchsorted(time, [gone.start, gone.end])
    sums = np.bincount(stage[low:high], weights=change[low:high], minlength=stages)
    releases_first = np.argsort(sums, kind="stable")
    return (
        np.concatenate([time[:low], np.full(stages, gone.end), time[high:]]),
        np.concatenate([stage[:low], releases_first, stage[high:]]),
        np.concatenate([change[:low], sums[releases_first], change[high:]]),
    )
