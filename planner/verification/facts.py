"""Graph, cluster and plan, looked up by name: durations, devices, placement, inputs and readers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import NamedTuple, TypeVar

import numpy as np

from planner.common.messages import brief, shown
from planner.plan.plan import Plan, PlannedTask, PlannedTransfer
from planner.problem.cluster import Cluster, Device, NetworkLevel
from planner.problem.graph import PASS_ORDER, ByDevice, Graph, Mode, Operator, Pass
from planner.verification.rules import Rule
from planner.verification.table import Flags, Floats, TaskIndex, TaskTable

INSTANT = 1e-9  # of the makespan: instants closer than this are one instant
DURATION = 1e-6  # relative: durations closer than this are one duration
ROUNDING = 1e-12  # of the makespan: what the difference of two instants loses as floating-point numbers

FloatsT = TypeVar("FloatsT", float, Floats)

Item = PlannedTask | PlannedTransfer
"""What occupies a stream or a channel for a while."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which a plan breaks a rule; as text ``rule 5 (memory): ...``, on one line."""

    rule: Rule
    message: str

    def __str__(self) -> str:
        # Names come from a file; nothing of them breaks the line.
        return f"rule {self.rule} ({self.rule.title}): {brief(self.message)}"


class Route(NamedTuple):
    """One producer's output goes from its device to another one, where ``readers`` read it."""

    operator: str
    source: str
    target: str
    readers: tuple[str, ...]
    seconds: float  # of the output, source to target
    seconds_back: float  # of its gradient, target to source


class Facts:
    """Graph, cluster and plan by name. Entries of the plan that name nothing known are left out here."""

    def __init__(
        self,
        plan: Plan,
        graph: Graph,
        cluster: Cluster,
        *,
        copies: int,
        memory_cap: float | None,
        microbatches: int,
    ) -> None:
        self.plan = plan
        self.graph = graph
        self.cluster = cluster
        self.copies = copies
        self.memory_cap = memory_cap
        self.microbatches = microbatches
        self.training = graph.mode is Mode.TRAINING
        self.operators: dict[str, Operator] = {o.name: o for o in graph.operators}
        self.devices: dict[str, Device] = {d.name: d for d in cluster.devices}
        self.passes: dict[str, tuple[str, ...]] = {
            o.name: tuple(p.value for p in PASS_ORDER if p in o.times and (self.training or p is Pass.F))
            for o in graph.operators
        }
        self.inputs: dict[str, tuple[str, ...]] = {o.name: tuple(dict.fromkeys(o.inputs)) for o in graph.operators}
        self.consumers: dict[str, tuple[str, ...]] = self._consumers()
        self._seconds: dict[tuple[str, str, str], float] = {}
        self._links: dict[tuple[str, str], NetworkLevel] = {(k.source, k.target): k.level for k in cluster.links}

    def _consumers(self) -> dict[str, tuple[str, ...]]:
        readers: dict[str, list[str]] = {name: [] for name in self.operators}
        for name, inputs in self.inputs.items():
            for read in inputs:
                readers[read].append(name)
        return {name: tuple(found) for name, found in readers.items()}

    # -- durations and caps ---------------------------------------------------------------------------------

    def seconds(self, operator: str, pass_: str, device: str) -> float:
        """Seconds of a pass on a device; inf where the device cannot run it."""
        key = (operator, pass_, device)
        if key not in self._seconds:
            self._seconds[key] = self._pass_seconds(*key)
        return self._seconds[key]

    def _pass_seconds(self, operator: str, pass_: str, device: str) -> float:
        cost = self.operators[operator].times[Pass(pass_)]
        where = self.devices[device]
        if isinstance(cost, ByDevice):
            named = (cost.seconds.get(name) for name in (where.name, where.group, where.type.name))
            return next((float(seconds) for seconds in named if seconds is not None), math.inf)
        if isinstance(cost, int | float):
            return float(cost)
        kind = where.type
        return max(
            _at_rate(cost.flops, None if kind.peak_flops is None else kind.peak_flops * kind.efficiency),
            _at_rate(cost.bytes, kind.memory_bandwidth),
        )

    def transfer_seconds(self, source: str, target: str, size: float) -> float:
        """Seconds that bytes take between two devices: a link of its own first, then the node level."""
        level = self._links.get((source, target))
        if level is None:
            together = self.devices[source].node == self.devices[target].node
            level = self.cluster.within_node if together else self.cluster.between_nodes
        if level is None:
            return 0.0
        return level.latency + (0.0 if level.bandwidth is None else size / level.bandwidth)

    def may_run(self, operator: str, device: str) -> bool:
        """Whether ``devices`` of the operator and its pass times allow the device."""
        allowed = self.operators[operator].devices
        where = self.devices[device]
        if allowed is not None and not {where.name, where.group, where.type.name} & set(allowed):
            return False
        return all(math.isfinite(self.seconds(operator, p, device)) for p in self.passes[operator])

    def cap(self, device: str) -> float | None:
        """The memory cap of a device in bytes; None where there is none."""
        return self.devices[device].memory if self.memory_cap is None else self.memory_cap

    # -- tasks and placement --------------------------------------------------------------------------------

    @cached_property
    def table(self) -> TaskTable:
        """The plan's tasks as columns; numbers of operators, devices and passes are places in the mappings above."""
        return TaskTable(self.plan.tasks, self.passes, self.devices, self.microbatches)

    @cached_property
    def timed_rows(self) -> Flags:
        """Which rows of the table have usable times."""
        return self.table.timed(self.tolerance)

    @cached_property
    def usable_rows(self) -> Flags:
        """Which rows of the table are usable."""
        return self.table.known & (self.table.device >= 0) & self.timed_rows

    @cached_property
    def index(self) -> TaskIndex:
        """Where the usable task of an operator, pass and microbatch stands (the first where there are several)."""
        return self.table.index(self.usable_rows)

    @cached_property
    def place(self) -> dict[tuple[str, int], str]:
        """The device of every operator and copy, by the plan's placement (the first entry counts)."""
        found: dict[tuple[str, int], str] = {}
        for placed in self.plan.placement:
            if placed.operator in self.operators and placed.device in self.devices:
                found.setdefault((placed.operator, placed.copy), placed.device)
        return found

    @cached_property
    def copy_of(self) -> dict[int, int]:
        """The copy that runs each microbatch: the one that most of its tasks name."""
        table, many = self.table, max(1, len(self.table.copies))
        votes = (table.microbatch * many + table.copy)[table.operator >= 0]
        named, count = np.unique(votes, return_counts=True)
        found: dict[int, int] = {}
        for k in np.lexsort((named, -count)).tolist():  # the most votes first, of as many the lower copy
            microbatch, copy = divmod(int(named[k]), many)
            found.setdefault(table.microbatches[microbatch], table.copies[copy])
        return found

    def device(self, operator: str, microbatch: int) -> str | None:
        """The device that runs an operator for a microbatch; None where the plan does not say."""
        copy = self.copy_of.get(microbatch)
        return None if copy is None else self.place.get((operator, copy))

    def timed(self, item: PlannedTask | PlannedTransfer) -> bool:
        """Whether the two instants are usable: finite, from 0 on, the end not before the start."""
        if not (math.isfinite(item.start) and math.isfinite(item.end)):
            return False
        return item.start >= -self.tolerance and item.end >= item.start - self.tolerance

    @cached_property
    def makespan(self) -> float:
        """The last end of a task."""
        ends = self.table.end[np.isfinite(self.table.end)]
        return float(ends.max()) if len(ends) else 0.0

    @property
    def tolerance(self) -> float:
        """Seconds by which two instants may differ and still be one."""
        return INSTANT * max(0.0, self.makespan)

    def same_duration(self, found: float, expected: float) -> bool:
        """Whether two durations agree."""
        return abs(found - expected) <= self.duration_slack(expected)

    def duration_slack(self, expected: FloatsT) -> FloatsT:
        """Seconds by which a duration may differ from the expected one."""
        return DURATION * expected + ROUNDING * max(0.0, self.makespan)

    @cached_property
    def usable(self) -> tuple[PlannedTask, ...]:
        """The tasks that name a known operator, pass, microbatch and device, with usable times."""
        return tuple(compress(self.plan.tasks, self.usable_rows.tolist()))

    @cached_property
    def tasks(self) -> dict[tuple[str, str, int], PlannedTask]:
        """The usable task of an operator, pass and microbatch (the first where there are several)."""
        found: dict[tuple[str, str, int], PlannedTask] = {}
        for task in self.usable:
            found.setdefault((task.operator, task.pass_, task.microbatch), task)
        return found

    @cached_property
    def routes(self) -> dict[int, dict[tuple[str, str], Route]]:
        """By copy: the routes that the placement needs, by producer and the device that reads."""
        copies = {copy for _, copy in self.place}
        return {copy: {(r.operator, r.target): r for r in self._routes(copy)} for copy in sorted(copies)}

    def _routes(self, copy: int) -> Iterator[Route]:
        for name, operator in self.operators.items():
            source = self.place.get((name, copy))
            if source is None:
                continue
            readers: dict[str, list[str]] = {}
            for consumer in self.consumers[name]:
                target = self.place.get((consumer, copy))
                if target is not None and target != source:
                    readers.setdefault(target, []).append(consumer)
            for target, found in readers.items():
                there = self.transfer_seconds(source, target, operator.output)
                back = self.transfer_seconds(target, source, operator.output)
                yield Route(name, source, target, tuple(found), there, back)


def _at_rate(amount: float, rate: float | None) -> float:
    if amount <= 0:
        return 0.0
    return amount / rate if rate else math.inf


def name_task(task: PlannedTask) -> str:
    """A task in words."""
    return f"{task.pass_} of {shown(task.operator)}, microbatch {task.microbatch}, on {task.device} {span(task)}"


def name_transfer(transfer: PlannedTransfer) -> str:
    """A transfer in words."""
    return (
        f"transfer {transfer.pass_} of {shown(transfer.operator)}, microbatch {transfer.microbatch}, "
        f"from {transfer.source} to {transfer.target} {span(transfer)}"
    )


def span(item: PlannedTask | PlannedTransfer) -> str:
    """The two instants in words."""
    return f"({number(item.start)} to {number(item.end)} s)"


def number(value: float) -> str:
    """A number as people read it, precise enough to find it in the file."""
    return f"{value:.12g}"


ItemT = TypeVar("ItemT", PlannedTask, PlannedTransfer, Item)


def overlaps(items: Iterable[ItemT], tolerance: float) -> Iterator[tuple[ItemT, ItemT]]:
    """Pairs that run at the same time: each overlapping item, with the one before it that ends last.

    An item of no length overlaps where it lies inside another, not where it touches its edge.
    """
    last: ItemT | None = None
    for item in sorted(items, key=_by_start):
        if last is None:
            last = item
            continue
        if item.start < last.end - tolerance and last.start < item.end - tolerance:
            yield last, item
        if item.end >= last.end:
            last = item


def _by_start(item: Item) -> tuple[float, float]:
    return (item.start, item.end)


def listing(names: Sequence[str], limit: int = 5) -> str:
    """Some names in words, with a count of the rest."""
    shown = ", ".join(repr(n) for n in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
