"""Level 1: partial placements and what each of them costs at least, in microseconds.

A partial placement has a device for some groups of operators (one ``colocate`` label each) in every copy, and none for
the others; with the device it names the versions of the group's operators. Its bound holds for every way to complete
it: operators without a device take their least time on a stream of their own group, and nothing is transferred to or
from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.common.ragged import rows
from planner.exact.partial_bound import partial_bound
from planner.exact.ticks import NEVER, in_ticks
from planner.problem import (
    PASS_ORDER,
    STEP_ORDER,
    ByDevice,
    Device,
    DeviceType,
    Link,
    NetworkLevel,
    Operator,
    Pass,
    PassTime,
    Placement,
    Problem,
    Variant,
)
from planner.problem.choices import Version
from planner.scheduling.classes import Floats, Ints

NOWHERE = -1

_ELSEWHERE = "elsewhere"

Where = tuple[int, ...]
"""What is decided of the groups, copy by copy within each, in the order of ``Level1.groups``: the device, plus the
number of devices x the number of the group's combination of versions (``Level1.combinations``)."""

COMBINATIONS_AT_MOST = 256
"""Combinations of versions of one group with which a problem is decided exactly."""


def combinations(problem: Problem) -> int:
    """The most combinations of versions that a group of operators has."""
    return max(math.prod(len(problem.versions[i]) for i in members) for members in problem.groups)


@dataclass(frozen=True)
class Level1:
    """The tables of level 1 for one split of the microbatches between copies.

    ``tick``: seconds; times are whole ticks, rounded down. ``counts``: microbatches of each copy.
    """

    problem: Problem
    tick: float
    counts: tuple[int, ...]

    @property
    def copies(self) -> int:
        """Copies that run microbatches."""
        return len(self.counts)

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Operators that share a device, in topological order: what is decided one after another."""
        place = {i: k for k, i in enumerate(self.problem.topological)}
        return tuple(sorted(self.problem.groups, key=lambda members: min(place[i] for i in members)))

    @cached_property
    def combinations(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """The combinations of versions of each group: a version for each member."""
        versions = self.problem.versions
        return tuple(tuple(product(*(versions[i] for i in members))) for members in self.groups)

    @cached_property
    def options(self) -> tuple[tuple[int, ...], ...]:
        """What may be decided of each group, as ``Where`` counts it: a device that may run the versions chosen."""
        n, choices = self.problem.n_devices, self.problem.choices
        found = []
        for members, some in zip(self.groups, self.combinations, strict=True):
            rows = []
            for number, versions in enumerate(some):
                runs = np.all([choices[v].runs_on[i] for i, v in zip(members, versions, strict=True)], axis=0)
                rows += [number * n + d for d in np.flatnonzero(runs).tolist()]
            found.append(tuple(rows))
        return tuple(found)

    @cached_property
    def allowed(self) -> tuple[tuple[int, ...], ...]:
        """The devices that may run each group, in some versions."""
        n = self.problem.n_devices
        return tuple(tuple(sorted({option % n for option in options})) for options in self.options)

    @property
    def decisions(self) -> int:
        """How many devices a placement names."""
        return len(self.groups) * self.copies

    @cached_property
    def duration(self) -> tuple[Ints, ...]:
        """By version: ``[i, p, d]`` in ticks, rounded down; -1 where device d cannot run the pass."""
        return tuple(
            in_ticks(np.where(np.isfinite(version.duration), version.duration, -1.0), self.tick)
            for version in self.problem.choices
        )

    @cached_property
    def step_duration(self) -> Ints:
        """``[i, s, d]``: ticks of step tasks, rounded down."""
        seconds = self.problem.step_duration
        return in_ticks(np.where(np.isfinite(seconds), seconds, -1.0), self.tick)

    @cached_property
    def least(self) -> Ints:
        """``[i, p]``: the least ticks over the devices that may run the operator's group, and over all versions."""
        seconds = np.zeros((self.problem.n_operators, 3))
        for members, devices in zip(self.groups, self.allowed, strict=True):
            for i in members:
                row = self.problem.relaxed.duration[i][:, list(devices)]
                seconds[i] = row.min(axis=1)
        return in_ticks(seconds, self.tick)

    @cached_property
    def least_steps(self) -> Ints:
        """``[i, s]``: the least ticks of step tasks over the devices that may run the operator's group."""
        least = np.zeros((self.problem.n_operators, 3), dtype=np.int64)
        for members, devices in zip(self.groups, self.allowed, strict=True):
            for i in members:
                least[i] = self.step_duration[i][:, list(devices)].min(axis=1)
        return least

    @cached_property
    def transfer(self) -> Ints:
        """``[i, d, e]``: ticks of operator i's output from d to e."""
        problem = self.problem
        n = problem.n_devices
        table = np.zeros((problem.n_operators, n, n))
        for i, readers in enumerate(problem.consumers):
            if readers:
                table[i] = [[problem.transfer(i, d, e) if d != e else 0.0 for e in range(n)] for d in range(n)]
        return in_ticks(table, self.tick)

    @cached_property
    def class_of(self) -> tuple[int, ...]:
        """The class of like devices of every device."""
        found = [0] * self.problem.n_devices
        for k, members in enumerate(self.problem.device_classes):
            for d in members:
                found[d] = k
        return tuple(found)

    def children(self, where: Where) -> Iterator[Where]:
        """The partial placement with one more decision; of like devices that nothing uses yet only the first."""
        group, n = len(where) // self.copies, self.problem.n_devices
        used = {option % n for option in where}
        fresh: set[tuple[int, int]] = set()
        for option in self.options[group]:
            combination, d = divmod(option, n)
            if d not in used:
                kind = (self.class_of[d], combination)
                if kind in fresh:
                    continue
                fresh.add(kind)
            yield (*where, option)

    def canonical(self, where: Where) -> Where:
        """The same for all placements that exchanges of like devices and of like copies turn into each other.

        Copies are like where they run equally many microbatches; they are exchanged only where each has as many
        decisions as the others.
        """
        k = self.copies
        orders = [tuple(range(k))]
        if k > 1 and len(where) % k == 0:
            orders = [o for o in permutations(range(k)) if all(self.counts[c] == self.counts[o[c]] for c in range(k))]
        return min(self._renamed(where, order) for order in orders)

    def _renamed(self, where: Where, order: tuple[int, ...]) -> Where:
        k, n = self.copies, self.problem.n_devices
        names: dict[int, int] = {}
        used = [0] * len(self.problem.device_classes)
        out: list[int] = []
        for x in range(len(where)):
            option = where[x - x % k + order[x % k]] if len(where) % k == 0 else where[x]
            combination, d = divmod(option, n)
            if d not in names:
                kind = self.class_of[d]
                names[d] = self.problem.device_classes[kind][used[kind]]
                used[kind] += 1
            out.append(combination * n + names[d])
        return tuple(out)

    @cached_property
    def relaxed(self) -> Problem:
        """The problem with a further device for every copy of every group, where it takes its least time.

        Nothing is transferred to or from these devices, and they have no cap: a partial placement is relaxed to one in
        which groups without a device are there.
        """
        problem = self.problem
        cluster = problem.cluster
        kind = DeviceType(_ELSEWHERE)
        elsewhere = [Device(f"{_ELSEWHERE} {x}", _ELSEWHERE, kind) for x in range(self.decisions)]
        free = NetworkLevel(None, 0.0)
        names = [d.name for d in cluster.devices]
        links = [Link(*pair, free) for there in elsewhere for d in names for pair in ((d, there.name), (there.name, d))]
        links += [Link(a.name, b.name, free) for a in elsewhere for b in elsewhere if a is not b]
        operators = list(problem.operators)
        for g, members in enumerate(self.groups):
            mine = [elsewhere[g * self.copies + c].name for c in range(self.copies)]
            for i in members:
                operators[i] = self._relaxed_operator(i, self.allowed[g], mine)
        wider = replace(
            cluster,
            devices=(*cluster.devices, *elsewhere),
            types={**cluster.types, _ELSEWHERE: kind},
            links=(*cluster.links, *links),
        )
        return Problem(
            replace(problem.graph, operators=tuple(operators)),
            wider,
            problem.microbatches,
            problem.copies,
            problem.memory_cap,
            memory_at_most=problem.memory_at_most,
        )

    def _relaxed_operator(self, i: int, allowed: Sequence[int], elsewhere: Sequence[str]) -> Operator:
        """An operator of ``relaxed``: its versions where they are allowed, and one more, their least, elsewhere."""
        problem = self.problem
        names = [device.name for device in problem.cluster.devices]

        def by_device(row: Floats, here: Sequence[str], there: Sequence[str]) -> ByDevice:
            finite = {name: float(s) for name, s in zip(here, row, strict=False) if np.isfinite(s)}
            return ByDevice({**finite, **dict.fromkeys(there, float(row[list(allowed)].min()))})

        def times(own: Version | Problem, here: Sequence[str], there: Sequence[str]) -> dict[Pass, PassTime]:
            return {
                which: by_device(own.duration[i, p], here, there)
                for p, which in enumerate(PASS_ORDER)
                if own.has_pass[i, p]
            }

        step = {
            which: by_device(problem.step_duration[i, s], names, elsewhere)
            for s, which in enumerate(STEP_ORDER)
            if problem.has_step[i, s]
        }
        operator = replace(problem.operators[i], devices=None, step=step, origin=None)
        if len(problem.versions[i]) == 1:
            own = problem.default
            return replace(own.operators[i], devices=None, step=step, origin=None, times=times(own, names, elsewhere))
        least = problem.relaxed
        sizes = (float(least.parameters[i]), float(least.activation[i]), float(least.held[i]))
        some = [times(version, names, ()) for version in problem.choices[: len(operator.variants) + 1]]
        variants = [replace(variant, times=own) for variant, own in zip(operator.variants, some[1:], strict=True)]
        anywhere = Variant(_ELSEWHERE, times(least, (), elsewhere), *sizes)
        return replace(operator, times=some[0], variants=(*variants, anywhere))

    def relaxed_placement(self, where: Where) -> Placement:
        """The placement of ``relaxed`` that stands for a partial placement."""
        n, free = self.problem.n_devices, self.problem.free
        device_of, version_of = (list(map(list, table)) for table in self._tables(where))
        for x in range(len(where), self.decisions):
            for i in self.groups[x // self.copies]:
                device_of[x % self.copies][i] = n + x
                version_of[x % self.copies][i] = len(self.problem.operators[i].variants) + 1
        fixed = set(range(self.problem.n_operators)) - set(free)
        variant_of = [tuple(0 if i in fixed else v for i, v in enumerate(row)) for row in version_of]
        return self.relaxed.in_versions(Placement(tuple(map(tuple, device_of))), variant_of)

    def placement(self, where: Where, origin: str = "") -> Placement:
        """A placement of which everything is decided."""
        device_of, version_of = self._tables(where)
        return self.problem.in_versions(Placement(device_of, origin), version_of)

    def device_of(self, where: Where) -> tuple[tuple[int, ...], ...]:
        """``[copy][operator]``, ``NOWHERE`` where it is not decided."""
        return self._tables(where)[0]

    def _tables(self, where: Where) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
        """Devices and versions, ``[copy][operator]``; ``NOWHERE`` where they are not decided."""
        n = self.problem.n_devices
        device_of = [[NOWHERE] * self.problem.n_operators for _ in range(self.copies)]
        version_of = [[NOWHERE] * self.problem.n_operators for _ in range(self.copies)]
        for x, option in enumerate(where):
            g, copy = divmod(x, self.copies)
            combination, d = divmod(option, n)
            for i, v in zip(self.groups[g], self.combinations[g][combination], strict=True):
                device_of[copy][i], version_of[copy][i] = d, v
        return tuple(map(tuple, device_of)), tuple(map(tuple, version_of))

    def everywhere(self, placement: Placement) -> Iterator[Where]:
        """The decisions of a placement in every choice of versions."""
        n, copies = self.problem.n_devices, range(placement.copies)
        some = [
            [option for option in options if option % n == placement.device_of[copy][members[0]]]
            for members, options in zip(self.groups, self.options, strict=True)
            for copy in copies
        ]
        parted = any(len({copy[i] for i in members}) > 1 for members in self.groups for copy in placement.device_of)
        return iter(()) if parted else product(*some)

    @cached_property
    def _arrays(self) -> tuple[npt.NDArray[Any], ...]:
        problem = self.problem
        group_of = np.zeros(problem.n_operators, dtype=np.int64)
        for g, members in enumerate(self.groups):
            group_of[list(members)] = g
        may = np.zeros((len(self.groups), problem.n_devices), dtype=np.int64)
        for g, devices in enumerate(self.allowed):
            may[g, list(devices)] = 1
        return (
            np.array(problem.topological, dtype=np.int64),
            group_of,
            may,
            self.transfer,
            problem.has_pass[:, 1].astype(np.int64),
            problem.on_comm.astype(np.int64),
            *rows(problem.inputs),
            *rows(problem.consumers),
            problem.cap_with_slack,
        )

    def bound(self, where: Where) -> int:
        """Ticks that no completion is shorter than; ``NEVER`` where the parameters alone do not fit."""
        device_of, version_of = (np.array(table, dtype=np.int64) for table in self._tables(where))
        n = self.problem.n_operators
        lasts = np.repeat(self.least[None], self.copies, axis=0)
        steps = np.repeat(self.least_steps[None], self.copies, axis=0)
        sizes = np.zeros((3, self.copies, n))  # activation, held for W, parameters
        choices = self.problem.choices
        for c in range(self.copies):
            for v, version in enumerate(choices):
                here = np.flatnonzero(version_of[c] == v)
                lasts[c, here] = self.duration[v][here, :, device_of[c, here]]
                steps[c, here] = self.step_duration[here, :, device_of[c, here]]
                sizes[:, c, here] = version.activation[here], version.held[here], version.parameters[here]
        if not self._parameters_fit(device_of, sizes[2]):
            return NEVER
        counts = np.array(self.counts, dtype=np.int64)
        return int(partial_bound(device_of, counts, lasts, steps, *sizes, *self._arrays))

    def _parameters_fit(self, device_of: npt.NDArray[np.int64], parameters: Floats) -> bool:
        problem = self.problem
        for d in np.flatnonzero(np.isfinite(problem.cap)).tolist():
            held = np.where(device_of == d, parameters, 0.0).max(axis=0)
            if math.fsum(held) > problem.cap_with_slack[d]:
                return False
        return True
