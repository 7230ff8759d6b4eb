"""Graph, cluster and plan, looked up by name: durations, devices, placement, inputs and readers."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress
from typing import NamedTuple, TypeVar

import numpy as np

from planner.common.messages import brief, shown
from planner.plan.plan import Plan, PlannedExchange, PlannedStepTask, PlannedTask, PlannedTransfer
from planner.problem.cluster import Cluster, Device, NetworkLevel
from planner.problem.graph import (
    BASE,
    PASS_ORDER,
    STEP_ORDER,
    ByDevice,
    Graph,
    Mode,
    Operator,
    Pass,
    PassTime,
    Variant,
)
from planner.verification.rules import Rule
from planner.verification.table import Flags, Floats, Ints, TaskIndex, TaskTable, kind

INSTANT = 1e-9  # of the makespan: instants closer than this are one instant
DURATION = 1e-6  # relative: durations closer than this are one duration
ROUNDING = 1e-12  # of the makespan: what the difference of two instants loses as floating-point numbers

FloatsT = TypeVar("FloatsT", float, Floats)

Task = PlannedTask | PlannedStepTask
Transfer = PlannedTransfer | PlannedExchange
Item = Task | Transfer
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
        variants: Collection[str] | None = None,
    ) -> None:
        self.plan = plan
        self.graph = graph
        self.cluster = cluster
        self.copies = copies
        self.memory_cap = memory_cap
        self.microbatches = microbatches
        self.variants = variants
        self.training = graph.mode is Mode.TRAINING
        self.operators: dict[str, Operator] = {o.name: o for o in graph.operators}
        self.devices: dict[str, Device] = {d.name: d for d in cluster.devices}
        self.passes_of: dict[str, tuple[tuple[str, ...], ...]] = {  # by version
            o.name: tuple(self._passes(times) for times in (o.times, *(v.times for v in o.variants)))
            for o in graph.operators
        }
        self.passes: dict[str, tuple[str, ...]] = {  # of any version
            name: tuple(p.value for p in PASS_ORDER if any(p.value in own for own in some))
            for name, some in self.passes_of.items()
        }
        self.step_passes: dict[str, tuple[str, ...]] = {
            o.name: tuple(p.value for p in STEP_ORDER if self.training and p in o.step) for o in graph.operators
        }
        self.gradient: dict[str, float] = {o.name: o.gradient if self.training else 0.0 for o in graph.operators}
        self.inputs: dict[str, tuple[str, ...]] = {o.name: tuple(dict.fromkeys(o.inputs)) for o in graph.operators}
        self.consumers: dict[str, tuple[str, ...]] = self._consumers()
        self._seconds: dict[tuple[str, int, str, str], float] = {}
        self._links: dict[tuple[str, str], NetworkLevel] = {(k.source, k.target): k.level for k in cluster.links}

    def _passes(self, times: Collection[Pass]) -> tuple[str, ...]:
        return tuple(p.value for p in PASS_ORDER if p in times and (self.training or p is Pass.F))

    def _consumers(self) -> dict[str, tuple[str, ...]]:
        readers: dict[str, list[str]] = {name: [] for name in self.operators}
        for name, inputs in self.inputs.items():
            for read in inputs:
                readers[read].append(name)
        return {name: tuple(found) for name, found in readers.items()}

    # -- versions: 0 is the operator as it stands, k its k-th variant ---------------------------------------

    def own(self, operator: str, version: int) -> Operator | Variant:
        """The times and sizes of a version of an operator."""
        base = self.operators[operator]
        return base.variants[version - 1] if version else base

    def version(self, operator: str, copy: int) -> int:
        """The version that a copy of an operator is in; 0 where the plan names none that exists."""
        return self._version.get((operator, copy), 0)

    @cached_property
    def _version(self) -> dict[tuple[str, int], int]:
        """The versions that are not 0, by the plan's placement (the first entry counts)."""
        found: dict[tuple[str, int], int] = {}
        for placed in self.plan.placement:
            if placed.operator in self.operators:
                names = self.operators[placed.operator].versions
                number = names.index(placed.variant) if placed.variant in names else 0
                found.setdefault((placed.operator, placed.copy), number)
        return {key: number for key, number in found.items() if number}

    def allowed_versions(self, operator: str) -> tuple[str, ...]:
        """The names of the versions that an operator may be in: base where it has none of those allowed."""
        names = self.operators[operator].versions
        return tuple(name for name in names if self.variants is None or name in self.variants) or (BASE,)

    # -- durations and caps ---------------------------------------------------------------------------------

    def seconds(self, operator: str, pass_: str, device: str, version: int = 0) -> float:
        """Seconds of a pass or step task on a device; inf where the device cannot run it."""
        key = (operator, version, pass_, device)
        if key not in self._seconds:
            times = self.operators[operator].step if pass_ in "RUG" else self.own(operator, version).times
            self._seconds[key] = self._pass_seconds(times[Pass(pass_)], self.devices[device])
        return self._seconds[key]

    @staticmethod
    def _pass_seconds(cost: PassTime, where: Device) -> float:
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

    def may_run(self, operator: str, device: str, version: int) -> bool:
        """Whether ``devices`` of the operator and the times of a version allow the device."""
        allowed = self.operators[operator].devices
        where = self.devices[device]
        if allowed is not None and not {where.name, where.group, where.type.name} & set(allowed):
            return False
        return not self.timeless(operator, device, version)

    def timeless(self, operator: str, device: str, version: int) -> list[str]:
        """The passes and step tasks of a version for which a device has no time."""
        every = (*self.passes_of[operator][version], *self.step_passes[operator])
        return [p for p in every if math.isinf(self.seconds(operator, p, device, version))]

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
        return self.known_rows & (self.table.device >= 0) & self.timed_rows

    @cached_property
    def version_rows(self) -> Ints:
        """The version that the copy of each row is in (0 for unknown operators)."""
        table = self.table
        versions = np.zeros((len(self.operators) + 1, max(1, len(table.copies))), dtype=np.int64)
        number = {name: i for i, name in enumerate(self.operators)}
        for (name, copy), version in self._version.items():
            if copy in table.copies:
                versions[number[name], table.copies.index(copy)] = version
        found: Ints = versions[table.operator, table.copy]
        return found

    @cached_property
    def known_rows(self) -> Flags:
        """Which rows of the table are passes that exist in the version of their copy, of microbatches of the step."""
        most = max(map(len, self.passes_of.values()))
        has = np.zeros((3 * len(self.operators), most), dtype=np.bool_)
        for i, some in enumerate(self.passes_of.values()):
            for version, passes in enumerate(some):
                has[[kind(i, p) for p in passes], version] = True
        return self.table.known & has[self.table.kind, self.version_rows]

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

    def copies_of(self, operator: str) -> tuple[int, ...]:
        """The copies of an operator that the plan places, rising."""
        return self._copies_of.get(operator, ())

    @cached_property
    def _copies_of(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, list[int]] = {}
        for name, copy in sorted(self.place):
            found.setdefault(name, []).append(copy)
        return {name: tuple(copies) for name, copies in found.items()}

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

    @cached_property
    def usable_step(self) -> tuple[PlannedStepTask, ...]:
        """The step tasks that name a known operator, one of its step tasks and a known device, with usable times."""
        return tuple(
            task
            for task in self.plan.step_tasks
            if task.pass_ in self.step_passes.get(task.operator, ()) and task.device in self.devices
            if self.timed(task)
        )

    @cached_property
    def step_tasks(self) -> dict[tuple[str, str, int], PlannedStepTask]:
        """The usable step task of an operator, pass and copy (the first where there are several)."""
        return {(t.operator, t.pass_, t.copy): t for t in reversed(self.usable_step)}

    @cached_property
    def last_gradient(self) -> dict[tuple[str, int], PlannedTask]:
        """The last I or W of each copy of an operator that has step tasks or exchanges gradients."""
        found: dict[tuple[str, int], PlannedTask] = {}
        for i, name in enumerate(self.operators):
            if not self.step_passes[name] and self.gradient[name] <= 0:
                continue
            rows = np.concatenate([self.index.of(i, pass_)[1] for pass_ in ("I", "W")])
            for row in rows[np.argsort(self.table.end[rows], kind="stable")].tolist():
                found[name, self.plan.tasks[row].copy] = self.plan.tasks[row]
        return found

    def timed(self, item: Item) -> bool:
        """Whether the two instants are usable: finite, from 0 on, the end not before the start."""
        if not (math.isfinite(item.start) and math.isfinite(item.end)):
            return False
        return item.start >= -self.tolerance and item.end >= item.start - self.tolerance

    @cached_property
    def makespan(self) -> float:
        """The last end of a task or of an exchange of gradients."""
        step = (item.end for item in chain[Item](self.plan.step_tasks, self.plan.exchanges))
        ends = np.append(self.table.end, np.fromiter(step, dtype=np.float64))
        ends = ends[np.isfinite(ends)]
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


def name_task(task: Task) -> str:
    """A task in words."""
    which = f"copy {task.copy}" if isinstance(task, PlannedStepTask) else f"microbatch {task.microbatch}"
    return f"{task.pass_} of {shown(task.operator)}, {which}, on {task.device} {span(task)}"


def name_transfer(transfer: Transfer) -> str:
    """A transfer in words."""
    if isinstance(transfer, PlannedExchange):
        which = f"R of {shown(transfer.operator)}, copy {transfer.copy}"
    else:
        which = f"{transfer.pass_} of {shown(transfer.operator)}, microbatch {transfer.microbatch}"
    return f"transfer {which}, from {transfer.source} to {transfer.target} {span(transfer)}"


def name_item(item: Item) -> str:
    """A task or a transfer in words."""
    return name_task(item) if isinstance(item, Task) else name_transfer(item)


def span(item: Item) -> str:
    """The two instants in words."""
    return f"({number(item.start)} to {number(item.end)} s)"


def number(value: float) -> str:
    """A number as people read it, precise enough to find it in the file."""
    return f"{value:.12g}"


ItemT = TypeVar("ItemT", bound=Item)


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
