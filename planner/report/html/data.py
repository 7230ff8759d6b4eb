"""The data of the page as columns of numbers. Names are listed once; columns hold their indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.events import Events, Wait, events_of
from planner.events.links import links_of
from planner.events.nodes import Ints
from planner.plan.build import timetable_of
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.report.causes import PREFERRED, Cause, Idle, critical_path, idle_times
from planner.report.memory import DeviceMemory, memory_by_cause

CAUSES = tuple(Cause)
DIGITS = 10
"""Significant digits of an instant: less than a pixel however far one zooms in."""


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

    def idle_seconds(self) -> npt.NDArray[np.float64]:
        """Seconds that each device is idle for each cause (in the order of ``CAUSES``)."""
        table = np.zeros((len(self.events.nodes.devices), len(CAUSES)))
        for idle in self.idle:
            table[idle.device, CAUSES.index(idle.cause)] += idle.end - idle.start
        return table

    def document(self) -> dict[str, Any]:
        """The plan as the page's script reads it."""
        nodes, plan = self.events.nodes, self.plan
        k = nodes.n_tasks
        row = 2 * nodes.device[:k] + nodes.comm[:k]
        order = np.lexsort((nodes.end[:k], nodes.start[:k], row))
        number = np.empty(nodes.n, dtype=np.int64)  # of a node on the page: tasks row by row, then transfers
        number[order] = np.arange(k)
        number[k:] = np.arange(k, nodes.n)
        return {
            "title": self.title,
            "makespan": plan.makespan,
            "bound": plan.lower_bound,
            "microbatches": plan.microbatches,
            "operators": list(nodes.operators),
            "devices": list(nodes.devices),
            "rowPtr": np.searchsorted(row[order], np.arange(2 * len(nodes.devices) + 1)).tolist(),
            "tasks": _columns(self.events, order),
            "transfers": _columns(self.events, np.arange(k, nodes.n)) | _links(self.events, number),
            "waits": _latest_wait(self.events, number),
            "idle": {
                "device": [idle.device for idle in self.idle],
                "cause": [CAUSES.index(idle.cause) for idle in self.idle],
                "start": _rounded([idle.start for idle in self.idle]),
                "end": _rounded([idle.end for idle in self.idle]),
            },
            "path": number[critical_path(self.events)].tolist(),
            "memory": _memory(self.memory) if self.memory else None,
        }


def _columns(events: Events, rows: Ints) -> dict[str, Any]:
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
    return made | {"start": _rounded(nodes.start[rows].tolist()), "end": _rounded(nodes.end[rows].tolist())}


def _links(events: Events, number: Ints) -> dict[str, Any]:
    """For each transfer, the task that produces its data (-1: none) and the tasks that read it."""
    links = links_of(events)
    readers = [reader for _, each in links for reader in each]
    return {
        "maker": [int(number[maker]) if maker >= 0 else -1 for maker, _ in links],
        "readerPtr": np.cumsum([0, *(len(each) for _, each in links)]).tolist(),
        "reader": number[readers].tolist() if readers else [],
    }


def _latest_wait(events: Events, number: Ints) -> dict[str, Any]:
    """For each node, the one that it waits for longest (-1: none), and the kind of wait."""
    nodes = events.nodes
    preference = np.array([PREFERRED[Wait(k)] for k in range(len(Wait))])
    order = np.lexsort((-preference[events.wait], events.ready(), events.after))
    last = np.full(nodes.n, -1, dtype=np.int64)
    last[events.after[order]] = order  # the last one written stays: the latest wait, then the preferred one
    node, kind = np.full(nodes.n, -1, dtype=np.int64), np.zeros(nodes.n, dtype=np.int64)
    some = last >= 0
    node[number[some]] = number[events.before[last[some]]]
    kind[number[some]] = events.wait[last[some]]
    return {"node": node.tolist(), "kind": kind.tolist()}


def _memory(devices: Sequence[DeviceMemory]) -> list[dict[str, Any]]:
    return [
        {
            "cap": device.cap,
            "parameters": device.parameters,
            "stages": list(device.stages),
            "time": _rounded(device.times.tolist()),
            "stage": device.stage.tolist(),
            "change": device.change.tolist(),
        }
        for device in devices
    ]


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
