"""Chrome trace JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Each device is a process, with a thread for each stream and for each channel that leaves the device. Flow arrows lead
from the task that makes an output over its transfer to those that read it. Format: "Trace Event Format" (Google, 2016).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from planner.events import Events, events_of
from planner.events.links import links_of
from planner.exporters import CannotExport, Exported, NoOptions
from planner.plan.build import timetable_of
from planner.plan.plan import Plan, PlannedExchange, PlannedStepTask, PlannedTask, PlannedTransfer
from planner.problem import Problem
from planner.timetable.memory import memory_profile

COMPUTE, COMM, CHANNEL = 1, 2, 10
"""Thread numbers; channels to the devices of the plan follow from ``CHANNEL`` on."""
NANOSECONDS = 1e9
LAST = 2**63 / NANOSECONDS
"""Seconds; viewers keep instants in 64-bit integers of nanoseconds."""

Event = dict[str, Any]
_Task = PlannedTask | PlannedStepTask
_Sent = PlannedTransfer | PlannedExchange


class Trace:
    """The exporter."""

    name = "trace"
    help = "Chrome trace JSON, for Perfetto and chrome://tracing."
    options = NoOptions

    def export(self, plan: Plan, problem: Problem | None, options: NoOptions) -> Exported:
        """The trace; a note where there are no counters of memory."""
        without = "without counters of memory: --graph and --cluster give them"
        return Exported(trace_json(plan, problem), notes=() if problem is not None else (without,))


def trace_json(plan: Plan, problem: Problem | None) -> str:
    """The trace as text, an event a line. Counters of memory only with the problem that the plan is valid for.

    Raises ``CannotExport`` where instants are beyond what viewers read.
    """
    made = _Trace(plan, events_of(plan, problem))
    last = max(plan.makespan, plan.lower_bound or 0.0, float(made.events.nodes.end.max(initial=0.0)))
    if last >= LAST:
        raise CannotExport(f"it lasts {last:.3g} s, and a trace ends at {LAST:.3g} s (292 years, in nanoseconds)")
    rows = [*made.names(), *made.slices(), *made.flows(), *_marks(plan)]
    if problem is not None:
        rows += _memory(plan, problem)
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    other = json.dumps(_about(plan), allow_nan=False)
    return f'{{"displayTimeUnit": "ms", "otherData": {other}, "traceEvents": [\n{lines}\n]}}\n'


class _Trace:
    """Processes and threads by number, and the events on them."""

    def __init__(self, plan: Plan, events: Events) -> None:
        self.plan = plan
        self.events = events
        self.pid = {name: k + 1 for k, name in enumerate(events.nodes.devices)}
        self.tasks: list[_Task] = [*plan.tasks, *plan.step_tasks]
        self.transfers: list[_Sent] = [*plan.transfers, *plan.exchanges]

    def names(self) -> Iterator[Event]:
        """Names of processes and threads, and the order in which they are shown."""
        comm = {task.device for task in self.tasks if task.stream == "comm"}
        channels = dict.fromkeys((transfer.source, transfer.target) for transfer in self.transfers)
        for name, pid in self.pid.items():
            yield from _named("process", pid, 0, name, pid)
            yield from _named("thread", pid, COMPUTE, "compute", COMPUTE)
            if name in comm:
                yield from _named("thread", pid, COMM, "comm", COMM)
        for source, target in sorted(channels, key=lambda pair: (self.pid[pair[0]], self.pid[pair[1]])):
            tid = self._channel(target)
            yield from _named("thread", self.pid[source], tid, f"to {target}", tid)

    def _channel(self, target: str) -> int:
        return CHANNEL + self.pid[target]

    def slices(self) -> Iterator[Event]:
        """A complete event for each task and transfer."""
        for task in self.tasks:
            tid = COMM if task.stream == "comm" else COMPUTE
            microbatch = task.microbatch if isinstance(task, PlannedTask) else ""
            name = f"{task.pass_}{microbatch} {task.operator}"
            yield _slice(task, self.pid[task.device], tid, name, task.pass_)
        for sent in self.transfers:
            name, kind = f"weight gradient of {sent.operator}, copy {sent.copy}", "exchange"
            if isinstance(sent, PlannedTransfer):
                what = "output" if sent.pass_ == "F" else "gradient"
                name, kind = f"{what} of {sent.operator}, {sent.microbatch}", "transfer"
            yield _slice(sent, self.pid[sent.source], self._channel(sent.target), name, kind)

    def flows(self) -> Iterator[Event]:
        """From the middle of each producing task over that of the transfer to the start of each reader.

        The instants lie inside the slices that the arrows join; slices of no length have no arrows.
        """
        number = 0
        for transfer, (maker, readers) in zip(self.transfers, links_of(self.events), strict=True):
            there = (self.pid[transfer.source], self._channel(transfer.target))
            if maker >= 0 and self._long(self.tasks[maker]) and self._long(transfer):
                number += 1
                yield _flow("s", number, *self._place(maker), _middle(self.tasks[maker]))
                yield _flow("f", number, *there, _middle(transfer))
            for reader in readers:
                if self._long(transfer) and self._long(self.tasks[reader]):
                    number += 1
                    yield _flow("s", number, *there, _middle(transfer))
                    yield _flow("f", number, *self._place(reader), _middle(self.tasks[reader]))

    def _place(self, task: int) -> tuple[int, int]:
        planned = self.tasks[task]
        return self.pid[planned.device], COMM if planned.stream == "comm" else COMPUTE

    @staticmethod
    def _long(what: _Task | _Sent) -> bool:
        return _nanoseconds(what.end) - _nanoseconds(what.start) >= 2


def _named(what: str, pid: int, tid: int, name: str, place: int) -> Iterator[Event]:
    yield {"ph": "M", "name": f"{what}_name", "pid": pid, "tid": tid, "args": {"name": name}}
    yield {"ph": "M", "name": f"{what}_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": place}}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * NANOSECONDS)


def _microseconds(nanoseconds: int) -> float:
    """The unit of traces. Neighbours that touch in the plan touch here, since both ends are rounded alike."""
    return nanoseconds / 1000


def _slice(what: _Task | _Sent, pid: int, tid: int, name: str, category: str) -> Event:
    start, end = _nanoseconds(what.start), _nanoseconds(what.end)
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": pid,
        "tid": tid,
        "ts": _microseconds(start),
        "dur": _microseconds(end - start),
        "args": {
            "operator": what.operator,
            "pass": "R" if isinstance(what, PlannedExchange) else what.pass_,
            "microbatch": what.microbatch if isinstance(what, PlannedTask | PlannedTransfer) else None,
            "copy": what.copy,
            "start_s": what.start,
            "seconds": what.end - what.start,
        },
    }


def _middle(what: _Task | _Sent) -> float:
    return _microseconds((_nanoseconds(what.start) + _nanoseconds(what.end)) // 2)


def _flow(phase: str, number: int, pid: int, tid: int, at: float) -> Event:
    flow: Event = {"ph": phase, "id": number, "name": "data", "cat": "data", "pid": pid, "tid": tid, "ts": at}
    return flow | ({"bp": "e"} if phase == "f" else {})


def _marks(plan: Plan) -> Iterator[Event]:
    """Marks at the makespan and at the lower bound."""
    marks = {"makespan": plan.makespan, "lower bound": plan.lower_bound}
    for name, at in marks.items():
        if at is not None:
            yield {"ph": "i", "s": "g", "name": name, "pid": 1, "tid": 1, "ts": _microseconds(_nanoseconds(at))}


def _memory(plan: Plan, problem: Problem) -> Iterator[Event]:
    """A counter of bytes for each device, in the order of its processes."""
    for k, profile in enumerate(memory_profile(problem, timetable_of(plan, problem))):
        for at, held in zip(profile.times.tolist(), profile.bytes.tolist(), strict=True):
            ts = _microseconds(_nanoseconds(at))
            yield {"ph": "C", "name": "memory", "pid": k + 1, "tid": 0, "ts": ts, "args": {"bytes": held}}


def _about(plan: Plan) -> Event:
    return {
        "planner_version": plan.planner_version,
        "origin": plan.origin,
        "graph": plan.graph.name,
        "cluster": plan.cluster.name,
        "microbatches": plan.microbatches,
        "status": plan.status,
        "makespan_s": plan.makespan,
        "lower_bound_s": plan.lower_bound,
        "bubble_ratio": plan.bubble_ratio,
    }
