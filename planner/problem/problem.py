"""The problem: a graph on a cluster, under the flags that restrict plans.

Everything that placement, schedule and bounds need stands here as plain arrays, indexed by operator ``i``
(the file's order), pass ``p`` (F, I, W = 0, 1, 2) and device ``d`` (the cluster's order).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.common.messages import listed, shown
from planner.problem.alike import device_classes
from planner.problem.choices import Version, allowed_versions, least_operator, taken, version_of
from planner.problem.cluster import Cluster
from planner.problem.graph import (
    STEP_ORDER,
    Graph,
    Mode,
    Operator,
    Stream,
)
from planner.problem.names import ProblemError, reject_unknown_names, reject_unknown_variants
from planner.problem.pass_times import pass_seconds, refusals
from planner.problem.placement import Placement
from planner.problem.segments import Segments, file_order, segments_of

MEMORY_SLACK = 4e-12
"""Relative slack of a memory comparison: less than a byte at 80 GiB, more than the rounding of a sum."""

PAIRS_AT_MOST = 5_000_000
"""Operators x devices: with more, reading and the baselines alone take so long that no time limit would hold."""

DEPENDENT = (
    *("has_pass", "duration", "runs_on", "group_runs_on", "parameters", "activation", "held", "partitions", "choices"),
    *("versions", "free", "first_versions", "relaxed", "default", "_chosen", "_by_version"),
)
"""Cached properties of a problem that depend on the versions of its operators."""

CHOSEN_AT_MOST = 256
"""Choices of versions whose problems are kept."""

Floats = npt.NDArray[np.float64]
PartitionAsked = tuple[tuple[tuple[int, ...], ...], tuple[int, ...] | None]
"""The arguments of ``planner.problem.partition``: the hosts of every stage, and the microbatches in flight there."""


class Impossible(Exception):
    """Proof that the problem has no plan; the message names the operator or device and what is missing."""


@dataclass(frozen=True)
class Problem:
    """A graph, a cluster and the flags that decide which plans are allowed.

    ``copies`` is the most copies of the operators that a plan may have; ``memory_cap`` (bytes) overrides the
    cluster's; ``layout`` and ``chunks`` restrict placements (see ``planner.placement.layouts``). ``memory_at_most``
    (bytes) lowers every cap that is above it, for the search of the least memory. ``variants``: the names of the
    variants, ``base`` among them, that operators may be in (None: all of them).

    Passes, times and sizes are those of the first version that each operator may be in; see ``planner.problem.choices``
    for the others.

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
    variants: tuple[str, ...] | None = None

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
        self._reject_too_few_devices()
        reject_unknown_variants(self.graph, self.variants)
        reject_unknown_names(self.graph, self.cluster)
        self._reject_operators_without_device()

    def _reject_too_few_devices(self) -> None:
        origin = self.graph.made_from
        if origin is not None and origin.pipeline is not None and self.n_devices < origin.pipeline:
            stages, ranks = origin.pipeline, origin.ranks
            raise ProblemError(
                f"{self.graph.path}: origin.pipeline: the graph is meant for {stages} pipeline stages of {ranks} GPUs "
                f"each, {stages * ranks} GPUs in all, and the cluster has {self.n_devices} devices, of which each "
                f"stands for one GPU of a stage: give it {stages} devices, or import with --pipeline-parallel "
                f"{self.n_devices}"
            )

    def _stated(self, operator: Operator) -> str:
        """``graph.yaml:7: `` where the operator is from a file."""
        return "" if operator.line is None else f"{self.graph.path}:{operator.line}: "

    def _reject_operators_without_device(self) -> None:
        runs_on = self.runs_in_any_version
        for i in np.flatnonzero(~runs_on.any(axis=1)).tolist():
            operator = self.operators[i]
            raise Impossible(
                f"{self._stated(operator)}operator {shown(operator.name)} has no device that may run it: "
                + refusals(operator, self.cluster.devices)
            )
        for members in self.groups:
            if len(members) > 1 and not runs_on[list(members)].all(axis=0).any():
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

    def allows_copies(self, placement: Placement) -> bool:
        """Whether each copy of a placement respects ``devices``, the times of its variants and ``colocate``."""
        some = zip(self.of_copies(placement), placement.device_of, strict=True)
        return all(problem.allows(device_of) for problem, device_of in some)

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
        return segments_of(file_order(self.inputs), self.inputs, self.groups)

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

    # -- versions ---------------------------------------------------------------------------------------

    @cached_property
    def versions(self) -> tuple[tuple[int, ...], ...]:
        """``versions[i]``: the versions that operator i may be in (0: base); one where it has no choice."""
        return allowed_versions(self.operators, self.variants)

    @cached_property
    def free(self) -> tuple[int, ...]:
        """The operators with a choice of versions."""
        return tuple(i for i, some in enumerate(self.versions) if len(some) > 1)

    @cached_property
    def choices(self) -> tuple[Version, ...]:
        """The figures of all operators in version 0, 1, ...; those that have no such version as base."""
        most = max(len(operator.variants) for operator in self.operators)
        devices = self.cluster.devices
        allowed = self.allowed & np.isfinite(self.step_duration).all(axis=1)
        return tuple(version_of(self.operators, devices, self.training, allowed, k) for k in range(most + 1))

    @cached_property
    def first_versions(self) -> tuple[int, ...]:
        """The first version of each operator: what ``duration`` and the other figures are of."""
        return tuple(some[0] for some in self.versions)

    @cached_property
    def relaxed(self) -> Problem:
        """A problem without alternatives whose bounds hold for this one, whatever is chosen."""
        if not self.free:
            return self.default
        operators = list(self.default.operators)
        for i in self.free:
            some = [self.choices[v] for v in self.versions[i]]
            operators[i] = least_operator(self.operators[i], i, some, self.cluster.devices, self.training)
        return self._with_operators(operators)

    @cached_property
    def default(self) -> Problem:
        """The problem with every operator in its first version, without alternatives."""
        has_variants = any(operator.variants for operator in self.operators)
        return self.chosen(self.first_versions) if has_variants else self

    @cached_property
    def _chosen(self) -> dict[tuple[int, ...], Problem]:
        return {}

    @cached_property
    def _by_version(self) -> list[list[Operator]]:
        return [[each.version(v) for v in range(1 + len(each.variants))] for each in self.operators]

    def chosen(self, versions: Sequence[int]) -> Problem:
        """The problem in which every operator is in the version of that number, without alternatives."""
        key = tuple(versions)
        found = self._chosen.get(key)
        if found is None:
            operators = [each[v] for each, v in zip(self._by_version, key, strict=True)]
            found = self._with_operators(operators)
            vars(found).update({name: taken(self.choices, name, key) for name in Version.__dataclass_fields__})
            if len(self._chosen) >= CHOSEN_AT_MOST:
                self._chosen.clear()
            self._chosen[key] = found  # whole by now: another thread may look for it
        return found

    def _with_operators(self, operators: Sequence[Operator]) -> Problem:
        """The problem with other versions of its operators. It shares everything else that has been worked out."""
        other = copy.copy(self)
        for name in DEPENDENT:
            vars(other).pop(name, None)
        vars(other).update(graph=replace(self.graph, operators=tuple(operators)), variants=None)
        return other

    def of_copy(self, placement: Placement, copy: int) -> Problem:
        """The problem without alternatives that one copy of a placement is of; this one where there is no choice."""
        if placement.variant_of:
            return self.chosen(placement.variant_of[copy])
        return self.default

    def versions_of(self, placement: Placement, copy: int) -> tuple[int, ...]:
        """The versions of all operators in one copy of a placement."""
        return placement.variant_of[copy] if placement.variant_of else self.first_versions

    def in_versions(self, placement: Placement, variant_of: Sequence[tuple[int, ...]]) -> Placement:
        """The placement with every copy's operators in these versions."""
        plain = all(versions == self.first_versions for versions in variant_of)
        return replace(placement, variant_of=() if plain else tuple(variant_of))

    def of_copies(self, placement: Placement) -> tuple[Problem, ...]:
        """The same for every copy."""
        return tuple(self.of_copy(placement, copy) for copy in range(placement.copies))

    @cached_property
    def allowed(self) -> npt.NDArray[np.bool_]:
        """``[i, d]``: whether ``devices`` of operator i names device d."""
        allowed = np.ones((self.n_operators, self.n_devices), dtype=bool)
        rows: dict[tuple[str, ...], npt.NDArray[np.bool_]] = {}
        for i, operator in enumerate(self.operators):
            names = operator.devices
            if names is not None:
                if names not in rows:
                    rows[names] = np.array([any(map(each.answers_to, names)) for each in self.cluster.devices])
                allowed[i] = rows[names]
        return allowed

    def _of_first(self, name: str) -> npt.NDArray[Any]:
        """A figure of the operators in their first versions."""
        if not any(self.first_versions):
            return np.asarray(getattr(self.choices[0], name))
        return taken(self.choices, name, self.first_versions)

    # -- passes -----------------------------------------------------------------------------------------

    @cached_property
    def has_pass(self) -> npt.NDArray[np.bool_]:
        """``has_pass[i, p]``: whether operator i has pass p in this mode."""
        return self._of_first("has_pass")

    @cached_property
    def duration(self) -> Floats:
        """``duration[i, p, d]`` in seconds; inf where device d cannot run the pass, 0 where it is absent."""
        return self._of_first("duration")

    @cached_property
    def runs_on(self) -> npt.NDArray[np.bool_]:
        """``runs_on[i, d]``: whether device d may run operator i (``devices`` and every pass has a time)."""
        return self._of_first("runs_on")

    @cached_property
    def runs_in_any_version(self) -> npt.NDArray[np.bool_]:
        """``[i, d]``: whether device d may run operator i in some version that it may be in."""
        if not self.free:
            return self.runs_on
        every = np.stack([version.runs_on for version in self.choices])
        return np.array([every[list(some), i].any(axis=0) for i, some in enumerate(self.versions)])

    @cached_property
    def group_runs_on(self) -> npt.NDArray[np.bool_]:
        """``group_runs_on[g, d]``: whether device d may run every member of group g."""
        return np.array([self.runs_on[list(members)].all(axis=0) for members in self.groups])

    @cached_property
    def on_comm(self) -> npt.NDArray[np.bool_]:
        """``on_comm[i]``: whether operator i occupies the communication stream."""
        return np.array([o.stream is Stream.COMM for o in self.operators])

    # -- the end of the step: R, U, G = 0, 1, 2 ---------------------------------------------------------

    @cached_property
    def has_step(self) -> npt.NDArray[np.bool_]:
        """``has_step[i, s]``: whether each copy of operator i has step task s."""
        table = np.zeros((self.n_operators, 3), dtype=bool)
        if self.training:
            for i, operator in enumerate(self.operators):
                table[i] = [which in operator.step for which in STEP_ORDER]
        return table

    @cached_property
    def step_duration(self) -> Floats:
        """``step_duration[i, s, d]`` in seconds; inf where device d cannot run the step task, 0 where it is absent."""
        table = np.zeros((self.n_operators, 3, self.n_devices))
        rows: dict[int, Floats] = {}
        for i, s in np.argwhere(self.has_step).tolist():
            cost = self.operators[i].step[STEP_ORDER[s]]
            if id(cost) not in rows:
                rows[id(cost)] = np.array([pass_seconds(cost, device) for device in self.cluster.devices])
            table[i, s] = rows[id(cost)]
        return table

    @cached_property
    def gradient(self) -> Floats:
        """``gradient[i]``: bytes that each copy of operator i sends to every other device that has a copy."""
        return np.array([o.gradient if self.training else 0.0 for o in self.operators])

    @cached_property
    def ends_with_step_tasks(self) -> bool:
        """Whether anything follows the last microbatch."""
        return bool(self.has_step.any()) or (self.copies > 1 and bool((self.gradient > 0).any()))

    # -- memory (bytes) ---------------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> Floats:
        """``parameters[i]`` in bytes."""
        return self._of_first("parameters")

    @cached_property
    def activation(self) -> Floats:
        """``activation[i]`` in bytes a microbatch."""
        return self._of_first("activation")

    @cached_property
    def held(self) -> Floats:
        """``held[i]``: bytes a microbatch still held between I and W; 0 where there is no W."""
        return self._of_first("held")

    def resident_parameters(self, placement: Placement) -> list[dict[int, float]]:
        """By device: the bytes of parameters of each operator with a copy there; the largest where variants differ."""
        held: list[dict[int, float]] = [{} for _ in range(self.n_devices)]
        for own, device_of in zip(self.of_copies(placement), placement.device_of, strict=True):
            for i, (d, size) in enumerate(zip(device_of, own.parameters.tolist(), strict=True)):
                held[d][i] = max(size, held[d].get(i, 0.0))
        return held

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

    def gradient_transfer(self, i: int, source: int, target: int) -> float:
        """Seconds that the gradient of operator i's weights takes from a copy on one device to one on another."""
        names = self.cluster.devices
        return self.cluster.transfer_seconds(names[source].name, names[target].name, float(self.gradient[i]))

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
        return device_classes(self.cluster, self._works_alike)

    @cached_property
    def devices_work_alike(self) -> bool:
        """Whether only the network tells devices apart."""
        return all(self._works_alike(0, d) for d in range(1, self.n_devices))

    def _works_alike(self, a: int, b: int) -> bool:
        return bool(
            self.cap[a] == self.cap[b]
            and self.exclusive[a] == self.exclusive[b]
            and np.array_equal(self.step_duration[:, :, a], self.step_duration[:, :, b])
            and all(
                np.array_equal(version.runs_on[:, a], version.runs_on[:, b])
                and np.array_equal(version.duration[:, :, a], version.duration[:, :, b])
                for version in self.choices
            )
        )

    # -- placements -------------------------------------------------------------------------------------

    def allows(self, device_of: Sequence[int]) -> bool:
        """Whether one copy placed so respects ``devices``, pass times and ``colocate``."""
        if not all(self.runs_on[i, d] for i, d in enumerate(device_of)):
            return False
        return all(len({device_of[i] for i in members}) == 1 for members in self.groups)
