"""The problem: a graph on a cluster, under the flags that restrict plans.

Everything that placement, schedule and bounds need stands here as plain arrays, indexed by operator ``i``
(the file's order), pass ``p`` (F, I, W = 0, 1, 2) and device ``d`` (the cluster's order).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from planner.common.messages import did_you_mean, listed, shown
from planner.problem.cluster import Cluster, Device
from planner.problem.graph import PASS_ORDER, ByDevice, Graph, Mode, Operator, Pass, PassTime, Spot, Stream
from planner.problem.segments import Segments, segments_of

MEMORY_SLACK = 4e-12
"""Relative slack of a memory comparison: less than a byte at 80 GiB, more than the rounding of a sum."""

PAIRS_AT_MOST = 5_000_000
"""Operators x devices: with more, reading and the baselines alone take so long that no time limit would hold."""

Floats = npt.NDArray[np.float64]
PartitionAsked = tuple[tuple[tuple[int, ...], ...], tuple[int, ...] | None]
"""The arguments of ``planner.problem.partition``: the hosts of every stage, and the microbatches in flight there."""


class ProblemError(ValueError):
    """The graph and the cluster do not fit together (an unknown device, a co-location that contradicts)."""


class Impossible(Exception):
    """Proof that the problem has no plan; the message names the operator or device and what is missing."""


@dataclass(frozen=True)
class Problem:
    """A graph, a cluster and the flags that decide which plans are allowed.

    ``copies`` is the most copies of the operators that a plan may have; ``memory_cap`` (bytes) overrides the
    cluster's; ``layout`` and ``chunks`` restrict placements (see ``planner.placement.layouts``). ``memory_at_most``
    (bytes) lowers every cap that is above it, for the search of the least memory.

    Raises ``ProblemError`` where names of the graph are unknown to the cluster, and ``Impossible`` where an
    operator (or the operators of one ``colocate`` label together) has no device that may run it.
    """

    graph: Graph
    cluster: Cluster
    microbatches: int
    copies: int = 1
    memory_cap: float | None = None
    layout: str = "auto"
    chunks: int | None = None
    memory_at_most: float | None = None

    def __post_init__(self) -> None:
        """Check names and devices at once, so that other packages need not."""
        if self.microbatches < 1:
            raise ProblemError("microbatches must be at least 1")
        if self.copies < 1:
            raise ProblemError("copies must be at least 1")
        pairs = self.n_operators * self.n_devices
        if pairs > PAIRS_AT_MOST:
            raise ProblemError(
                f"{self.n_operators:,} operators on {self.n_devices:,} devices are {pairs:,} pairs, and a plan decides "
                f"among {PAIRS_AT_MOST:,} at most: lower repeat in the graph or count in the cluster"
            )
        self._reject_unknown_names()
        self._reject_operators_without_device()

    def _reject_unknown_names(self) -> None:
        """Every name in ``devices`` must be known, and of a pass time by device at least one.

        Of pass times only those of a file are checked: in a part of the cluster (see ``subset``), an operator whose
        names are all elsewhere is one that no device may run.
        """
        known = self.cluster.names()
        seen: set[int] = set()  # pass times by identity: repetitions of a block share them
        for operator in self.graph.operators:
            for name in operator.devices or ():
                if name not in known:
                    spot = None if operator.origin is None else operator.origin.devices.get(name)
                    raise ProblemError(f"{self._at(operator, spot)}: {unknown_device(name, self.cluster, known)}")
            if operator.origin is None:
                continue
            for which, (spot, _) in operator.origin.times.items():
                cost = operator.times.get(which)
                if not isinstance(cost, ByDevice) or id(cost) in seen:
                    continue
                seen.add(id(cost))
                if known.isdisjoint(cost.seconds):
                    names = listed(map(repr, cost.seconds), 4)
                    raise ProblemError(
                        f"{self._at(operator, spot)}: names no device of cluster {shown(self.cluster.name)} "
                        f"(got {names}): {did_you_mean(next(iter(cost.seconds)), sorted(known))}"
                    )

    def _stated(self, operator: Operator) -> str:
        """``graph.yaml:7: `` where the operator is from a file."""
        return "" if operator.line is None else f"{self.graph.path}:{operator.line}: "

    def _at(self, operator: Operator, spot: Spot | None) -> str:
        """Where something of an operator stands: in the file, or else with the operator's name."""
        if spot is None:
            return f"operator {shown(operator.name)}"
        return f"{self.graph.path}:{spot.line}: {spot.field}"

    def _reject_operators_without_device(self) -> None:
        for i in np.flatnonzero(~self.runs_on.any(axis=1)).tolist():
            operator = self.operators[i]
            raise Impossible(
                f"{self._stated(operator)}operator {shown(operator.name)} has no device that may run it: "
                + _refusals(operator, self.cluster.devices)
            )
        for members in self.groups:
            if len(members) > 1 and not self.runs_on[list(members)].all(axis=0).any():
                names = listed((repr(self.operators[i].name) for i in members), 6)
                first = self.operators[members[0]]
                raise Impossible(
                    f"{self._stated(first)}operators {names} share the colocate label {shown(first.colocate)}, "
                    "but no device may run all of them"
                )

    def with_microbatches(self, microbatches: int) -> Problem:
        """The same problem with another number of microbatches; it shares the partitions that have been found."""
        other = replace(self, microbatches=microbatches)
        vars(other)["partitions"] = self.partitions
        return other

    # -- sizes ------------------------------------------------------------------------------------------

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators, in the file's order."""
        return self.graph.operators

    @property
    def n_operators(self) -> int:
        """Number of operators."""
        return len(self.graph.operators)

    @property
    def n_devices(self) -> int:
        """Number of devices."""
        return len(self.cluster.devices)

    @property
    def training(self) -> bool:
        """Whether there are backward passes."""
        return self.graph.mode is Mode.TRAINING

    # -- the graph --------------------------------------------------------------------------------------

    @cached_property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """``inputs[i]``: the operators that operator i reads, each once, sorted."""
        index = self.graph.index
        return tuple(tuple(sorted({index[n] for n in o.inputs})) for o in self.operators)

    @cached_property
    def is_chain(self) -> bool:
        """Whether the graph has one topological order, and no colocated operators."""
        order = self.topological
        return len(self.groups) == len(order) and all(a in self.inputs[b] for a, b in pairwise(order))

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """``consumers[i]``: the operators that read operator i, sorted."""
        out: list[list[int]] = [[] for _ in self.operators]
        for i, inputs in enumerate(self.inputs):
            for j in inputs:
                out[j].append(i)
        return tuple(tuple(c) for c in out)

    @cached_property
    def topological(self) -> tuple[int, ...]:
        """A topological order close to the file's in which a label's operators stand together if they can."""
        return tuple(i for segment in self.segments.joined for i in segment)

    @cached_property
    def segments(self) -> Segments:
        """The topological order in the segments that cuts may separate."""
        return segments_of(self._file_order(), self.inputs, self.groups)

    def _file_order(self) -> tuple[int, ...]:
        """A topological order that stays as close to the file's order as it can."""
        sorter = TopologicalSorter(dict(enumerate(self.inputs)))
        sorter.prepare()
        ready: list[int] = []
        order: list[int] = []
        while sorter.is_active():
            for i in sorter.get_ready():
                heappush(ready, i)
            order.append(heappop(ready))
            sorter.done(order[-1])
        return tuple(order)

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Operators that must share a device (one ``colocate`` label), in order of their first member.

        An operator without a label is a group of its own.
        """
        by_label: dict[str | int, list[int]] = {}
        for i, operator in enumerate(self.operators):
            by_label.setdefault(i if operator.colocate is None else operator.colocate, []).append(i)
        return tuple(tuple(members) for members in by_label.values())

    @cached_property
    def partitions(self) -> dict[PartitionAsked, tuple[tuple[int, ...], ...] | None]:
        """What ``partition`` has found, by its arguments: most baselines and families cut the graph alike."""
        return {}

    # -- passes -----------------------------------------------------------------------------------------

    @cached_property
    def has_pass(self) -> npt.NDArray[np.bool_]:
        """``has_pass[i, p]``: whether operator i has pass p in this mode."""
        table = np.zeros((self.n_operators, 3), dtype=bool)
        for i, operator in enumerate(self.operators):
            for p, which in enumerate(PASS_ORDER):
                table[i, p] = which in operator.times and (self.training or which is Pass.F)
        return table

    @cached_property
    def duration(self) -> Floats:
        """``duration[i, p, d]`` in seconds; inf where device d cannot run the pass, 0 where it is absent."""
        table = np.zeros((self.n_operators, 3, self.n_devices))
        rows: dict[int, Floats] = {}  # by the cost's identity: repetitions of a block share their costs
        for i, operator in enumerate(self.operators):
            for p, which in enumerate(PASS_ORDER):
                if self.has_pass[i, p]:
                    cost = operator.times[which]
                    if id(cost) not in rows:
                        rows[id(cost)] = np.array([pass_seconds(cost, device) for device in self.cluster.devices])
                    table[i, p] = rows[id(cost)]
        return table

    @cached_property
    def runs_on(self) -> npt.NDArray[np.bool_]:
        """``runs_on[i, d]``: whether device d may run operator i (``devices`` and every pass has a time)."""
        allowed: npt.NDArray[np.bool_] = np.asarray(np.isfinite(self.duration).all(axis=1))
        rows: dict[tuple[str, ...], npt.NDArray[np.bool_]] = {}
        for i, operator in enumerate(self.operators):
            names = operator.devices
            if names is not None:
                if names not in rows:
                    rows[names] = np.array([any(map(each.answers_to, names)) for each in self.cluster.devices])
                allowed[i] &= rows[names]
        return allowed

    @cached_property
    def group_runs_on(self) -> npt.NDArray[np.bool_]:
        """``group_runs_on[g, d]``: whether device d may run every member of group g."""
        return np.array([self.runs_on[list(members)].all(axis=0) for members in self.groups])

    @cached_property
    def on_comm(self) -> npt.NDArray[np.bool_]:
        """``on_comm[i]``: whether operator i occupies the communication stream."""
        return np.array([o.stream is Stream.COMM for o in self.operators])

    # -- memory (bytes) ---------------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> Floats:
        """``parameters[i]`` in bytes."""
        return np.array([o.parameters for o in self.operators], dtype=float)

    @cached_property
    def activation(self) -> Floats:
        """``activation[i]`` in bytes a microbatch."""
        return np.array([o.activation for o in self.operators], dtype=float)

    @cached_property
    def held(self) -> Floats:
        """``held[i]``: bytes a microbatch still held between I and W; 0 where there is no W."""
        return np.array([o.held_for_weight_grad if self.has_pass[i, 2] else 0.0 for i, o in enumerate(self.operators)])

    @cached_property
    def output(self) -> Floats:
        """``output[i]``: bytes sent to each other device that reads operator i."""
        return np.array([o.output for o in self.operators], dtype=float)

    @cached_property
    def cap(self) -> Floats:
        """``cap[d]`` in bytes; inf where there is none."""
        caps = [d.memory if self.memory_cap is None else self.memory_cap for d in self.cluster.devices]
        most = math.inf if self.memory_at_most is None else self.memory_at_most
        return np.array([min(most, math.inf if cap is None else float(cap)) for cap in caps])

    @cached_property
    def cap_with_slack(self) -> Floats:
        """``cap`` plus the rounding that a comparison forgives."""
        return self.cap * (1.0 + MEMORY_SLACK)

    # -- transfers --------------------------------------------------------------------------------------

    def transfer(self, i: int, source: int, target: int) -> float:
        """Seconds that the output (or its gradient) of operator i takes between two devices."""
        names = self.cluster.devices
        return self.cluster.transfer_seconds(names[source].name, names[target].name, float(self.output[i]))

    @cached_property
    def exclusive(self) -> npt.NDArray[np.bool_]:
        """``exclusive[d]``: a transfer also occupies the compute stream of device d."""
        return np.array([d.type.exclusive_transfers for d in self.cluster.devices])

    # -- symmetry ---------------------------------------------------------------------------------------

    @cached_property
    def device_classes(self) -> tuple[tuple[int, ...], ...]:
        """Devices that no operator, cap or network entry tells apart, in order of their first member.

        Two devices are alike if exchanging their places changes nothing: the same pass times, the same
        operators allowed, the same cap and kind of transfers, the same network to and from every device.
        """
        classes: list[list[int]] = []
        for d in range(self.n_devices):
            for members in classes:
                if self._alike(members[0], d):
                    members.append(d)
                    break
            else:
                classes.append([d])
        return tuple(tuple(members) for members in classes)

    def _alike(self, a: int, b: int) -> bool:
        if not (
            self.cap[a] == self.cap[b]
            and self.exclusive[a] == self.exclusive[b]
            and np.array_equal(self.runs_on[:, a], self.runs_on[:, b])
            and np.array_equal(self.duration[:, :, a], self.duration[:, :, b])
        ):
            return False
        if not self.cluster.links:
            here, there = self.cluster.devices[a].node, self.cluster.devices[b].node
            alone = self._node_sizes[here] == self._node_sizes[there] == 1
            return here == there or alone or self.cluster.within_node == self.cluster.between_nodes
        names = [d.name for d in self.cluster.devices]
        level = self.cluster.level
        if level(names[a], names[b]) != level(names[b], names[a]):
            return False
        return all(
            level(names[a], c) == level(names[b], c) and level(c, names[a]) == level(c, names[b])
            for c in names
            if c not in (names[a], names[b])
        )

    @cached_property
    def _node_sizes(self) -> Counter[str | None]:
        return Counter(device.node for device in self.cluster.devices)

    # -- placements -------------------------------------------------------------------------------------

    def allows(self, device_of: Sequence[int]) -> bool:
        """Whether one copy placed so respects ``devices``, pass times and ``colocate``."""
        if not all(self.runs_on[i, d] for i, d in enumerate(device_of)):
            return False
        return all(len({device_of[i] for i in members}) == 1 for members in self.groups)


def pass_seconds(cost: PassTime, device: Device) -> float:
    """Seconds that a pass takes on a device; inf where the device cannot run it.

    Roofline: max(flops / (peak_flops x efficiency), bytes / memory_bandwidth), as the file format states it.
    """
    if isinstance(cost, ByDevice):
        for name in (device.name, device.group, device.type.name):
            if name in cost.seconds:
                return cost.seconds[name]
        return math.inf
    if isinstance(cost, int | float):
        return float(cost)
    kind = device.type
    seconds = 0.0
    if cost.flops > 0:
        if not kind.peak_flops:
            return math.inf
        seconds = cost.flops / (kind.peak_flops * kind.efficiency)
    if cost.bytes > 0:
        if not kind.memory_bandwidth:
            return math.inf
        seconds = max(seconds, cost.bytes / kind.memory_bandwidth)
    return seconds


def unknown_device(name: str, cluster: Cluster, known: Collection[str]) -> str:
    """What is wrong with a name that no device, group or type of the cluster has."""
    return (
        f"no device, group or type of cluster {shown(cluster.name)} is called {shown(name)}: "
        f"{did_you_mean(name, sorted(known))}"
    )


def _refusals(operator: Operator, devices: Sequence[Device]) -> str:
    """Why each device may not run the operator; devices with the same reason together."""
    because: dict[str, list[str]] = {}
    for device in devices:
        because.setdefault(_refusal(operator, device), []).append(device.name)
    return "; ".join(f"{listed(names, 4)}: {reason}" for reason, names in because.items())


def _refusal(operator: Operator, device: Device) -> str:
    if operator.devices is not None and not any(device.answers_to(name) for name in operator.devices):
        return "not among its devices"
    for which, cost in operator.times.items():
        if math.isinf(pass_seconds(cost, device)):
            if isinstance(cost, ByDevice):
                return f"no time for pass {which.value}"
            return f"type {shown(device.type.name)} lacks the peak_flops or memory_bandwidth of pass {which.value}"
    return "allowed"
