"""Level 1: partial placements and what each of them costs at least, in microseconds.

A partial placement has a device for some groups of operators (one ``colocate`` label each) in every copy, and none for
the others. Its bound holds for every way to complete it: operators without a device take their least time on a stream
of their own group, and nothing is transferred to or from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.common.compiled import compiled
from planner.common.ragged import rows
from planner.exact.ticks import NEVER, in_ticks
from planner.problem import (
    PASS_ORDER,
    ByDevice,
    Device,
    DeviceType,
    Link,
    NetworkLevel,
    Pass,
    PassTime,
    Problem,
)
from planner.scheduling.classes import Ints
from planner.scheduling.containers import BARE

NOWHERE = -1

_ELSEWHERE = "elsewhere"

Where = tuple[int, ...]
"""Devices of the groups, copy by copy within each group, in the order of ``Level1.groups``; as many as are decided."""


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
    def allowed(self) -> tuple[tuple[int, ...], ...]:
        """The devices that may run each group."""
        runs_on = self.problem.runs_on
        return tuple(tuple(np.flatnonzero(runs_on[list(members)].all(axis=0)).tolist()) for members in self.groups)

    @property
    def decisions(self) -> int:
        """How many devices a placement names."""
        return len(self.groups) * self.copies

    @cached_property
    def duration(self) -> Ints:
        """``[i, p, d]`` in ticks, rounded down; -1 where device d cannot run the pass."""
        return in_ticks(np.where(np.isfinite(self.problem.duration), self.problem.duration, -1.0), self.tick)

    @cached_property
    def least(self) -> Ints:
        """``[i, p]``: the least ticks over the devices that may run the operator's group."""
        least = np.zeros(self.duration.shape[:2], dtype=np.int64)
        for members, devices in zip(self.groups, self.allowed, strict=True):
            for i in members:
                least[i] = self.duration[i][:, list(devices)].min(axis=1)
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
        group = len(where) // self.copies
        fresh: set[int] = set()
        for d in self.allowed[group]:
            if d not in where:
                kind = self.class_of[d]
                if kind in fresh:
                    continue
                fresh.add(kind)
            yield (*where, d)

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
        k = self.copies
        names: dict[int, int] = {}
        used = [0] * len(self.problem.device_classes)
        out: list[int] = []
        for x in range(len(where)):
            d = where[x - x % k + order[x % k]] if len(where) % k == 0 else where[x]
            if d not in names:
                kind = self.class_of[d]
                names[d] = self.problem.device_classes[kind][used[kind]]
                used[kind] += 1
            out.append(names[d])
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
                times: dict[Pass, PassTime] = {}
                for p, which in enumerate(PASS_ORDER):
                    if problem.has_pass[i, p]:
                        row = problem.duration[i, p]
                        least = float(row[list(self.allowed[g])].min())
                        here = {name: float(s) for name, s in zip(names, row, strict=True) if np.isfinite(s)}
                        times[which] = ByDevice({**here, **dict.fromkeys(mine, least)})
                operators[i] = replace(operators[i], times=times, devices=None)
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

    def relaxed_device_of(self, where: Where) -> tuple[tuple[int, ...], ...]:
        """The placement of ``relaxed`` that stands for a partial placement."""
        n = self.problem.n_devices
        return self.device_of((*where, *(n + x for x in range(len(where), self.decisions))))

    def device_of(self, where: Where) -> tuple[tuple[int, ...], ...]:
        """``[copy][operator]``, ``NOWHERE`` where it is not decided."""
        table = [[NOWHERE] * self.problem.n_operators for _ in range(self.copies)]
        for x, d in enumerate(where):
            for i in self.groups[x // self.copies]:
                table[x % self.copies][i] = d
        return tuple(map(tuple, table))

    def where_of(self, device_of: tuple[tuple[int, ...], ...]) -> Where | None:
        """The decisions of a placement of as many copies; None where it parts a group, or a device may not run it."""
        if not all(self.problem.allows(copy) for copy in device_of):
            return None
        return tuple(copy[members[0]] for members in self.groups for copy in device_of)

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
            self.duration,
            self.least,
            self.transfer,
            problem.has_pass.astype(np.int64),
            problem.on_comm.astype(np.int64),
            *rows(problem.inputs),
            *rows(problem.consumers),
            problem.activation,
            problem.held,
            problem.parameters,
            problem.cap_with_slack,
        )

    def bound(self, where: Where) -> int:
        """Ticks that no completion is shorter than; ``NEVER`` where the parameters alone do not fit."""
        table = np.array(self.device_of(where), dtype=np.int64)
        if not self._parameters_fit(table):
            return NEVER
        return int(_bound(table, np.array(self.counts, dtype=np.int64), *self._arrays))

    def _parameters_fit(self, table: npt.NDArray[np.int64]) -> bool:
        problem = self.problem
        for d in np.flatnonzero(np.isfinite(problem.cap)).tolist():
            here = (table == d).any(axis=0)
            if math.fsum(problem.parameters[here]) > problem.cap_with_slack[d]:
                return False
        return True


@compiled(nogil=True)
def _bound(  # type: ignore[no-untyped-def]
    where, counts, topological, group_of, may, duration, least, transfer, has_pass, on_comm, in_ptr, inputs, out_ptr,
    outputs, activation, held, parameters, room,
):  # fmt: skip
    copies, n = where.shape
    never = np.int64(NEVER)
    devices = duration.shape[2]
    head = np.zeros((copies, n, 3), dtype=np.int64)
    tail = np.zeros((copies, n, 3), dtype=np.int64)
    lasts = np.zeros((copies, n, 3), dtype=np.int64)
    for c in range(copies):
        for i in range(n):
            for p in range(3):
                if has_pass[i, p]:
                    lasts[c, i, p] = least[i, p] if where[c, i] < 0 else duration[i, p, where[c, i]]
    answer = np.int64(0)
    for c in range(copies):
        for x in range(n):
            i = topological[x]
            begin = np.int64(0)
            for y in range(in_ptr[i], in_ptr[i + 1]):
                j = inputs[y]
                begin = max(begin, head[c, j, 0] + lasts[c, j, 0] + _lag(where, c, j, i, j, transfer))
            head[c, i, 0] = begin
        for x in range(n - 1, -1, -1):
            i = topological[x]
            if has_pass[i, 1]:
                begin = head[c, i, 0] + lasts[c, i, 0]
                for y in range(out_ptr[i], out_ptr[i + 1]):
                    j = outputs[y]
                    begin = max(begin, head[c, j, 1] + lasts[c, j, 1] + _lag(where, c, j, i, i, transfer))
                head[c, i, 1] = begin
                head[c, i, 2] = begin + lasts[c, i, 1]
        for x in range(n):  # tails: of W nothing, of I what it feeds, of F what it feeds and its own I
            i = topological[x]
            if has_pass[i, 1]:
                after = lasts[c, i, 2]
                for y in range(in_ptr[i], in_ptr[i + 1]):
                    j = inputs[y]
                    after = max(after, _lag(where, c, i, j, j, transfer) + lasts[c, j, 1] + tail[c, j, 1])
                tail[c, i, 1] = after
        for x in range(n - 1, -1, -1):
            i = topological[x]
            after = lasts[c, i, 1] + tail[c, i, 1] if has_pass[i, 1] else np.int64(0)
            for y in range(out_ptr[i], out_ptr[i + 1]):
                j = outputs[y]
                after = max(after, _lag(where, c, i, j, i, transfer) + lasts[c, j, 0] + tail[c, j, 0])
            tail[c, i, 0] = after
        for i in range(n):
            for p in range(3):
                if has_pass[i, p]:
                    answer = max(answer, head[c, i, p] + counts[c] * lasts[c, i, p] + tail[c, i, p])
    answer = max(answer, _memory_bound(
        where, counts, topological, lasts, head, tail, transfer, has_pass, out_ptr, outputs, activation, held,
        parameters, room,
    ))  # fmt: skip
    # Streams of devices, and of groups that have none yet: first starts, work and last ends of what must run there.
    n_groups = may.shape[0]
    owners = devices + copies * n_groups
    size = copies * n * 3
    firsts = np.zeros(size, dtype=np.int64)
    works = np.zeros(size, dtype=np.int64)
    afters = np.zeros(size, dtype=np.int64)
    for comm in range(2):
        for owner in range(owners):
            found = 0
            for c in range(copies):
                for i in range(n):
                    if on_comm[i] != comm:
                        continue
                    mine = where[c, i] if where[c, i] >= 0 else devices + c * n_groups + group_of[i]
                    if mine != owner:
                        continue
                    for p in range(3):
                        if has_pass[i, p] and lasts[c, i, p] > 0:
                            firsts[found] = head[c, i, p]
                            works[found] = counts[c] * lasts[c, i, p]
                            afters[found] = tail[c, i, p]
                            found += 1
            for x in range(found):
                for y in range(found):
                    work = np.int64(0)
                    for z in range(found):
                        if firsts[z] >= firsts[x] and afters[z] >= afters[y]:
                            work += works[z]
                    if work > 0:
                        answer = max(answer, firsts[x] + work + afters[y])
        # All work of the kind, on all devices that may have any of it.
        total = np.int64(0)
        waits = np.zeros(devices, dtype=np.int64)
        usable = 0
        for d in range(devices):
            first, after = never, never
            for c in range(copies):
                for i in range(n):
                    if on_comm[i] != comm or not (where[c, i] == d or (where[c, i] < 0 and may[group_of[i], d])):
                        continue
                    for p in range(3):
                        if has_pass[i, p] and lasts[c, i, p] > 0:
                            first = min(first, head[c, i, p])
                            after = min(after, tail[c, i, p])
            if first < never:
                waits[usable] = first + after
                usable += 1
        for c in range(copies):
            for i in range(n):
                if on_comm[i] == comm:
                    for p in range(3):
                        total += counts[c] * lasts[c, i, p]
        if usable > 0 and total > 0:
            sorted_waits = np.sort(waits[:usable])
            idle = np.int64(0)
            spread = never
            for x in range(usable):
                idle += sorted_waits[x]
                spread = min(spread, -((-(total + idle)) // (x + 1)))
            answer = max(answer, spread)
    return answer


@compiled(nogil=True)
def _memory_bound(  # type: ignore[no-untyped-def]
    where, counts, topological, lasts, head, tail, transfer, has_pass, out_ptr, outputs, activation, held, parameters,
    room,
):  # fmt: skip
    """Ticks from bytes x ticks: what a device must hold, each for as long as the chain until its release takes.

    Between the first forward there and the last release, a device offers no more than its room at any instant.
    """
    copies, n = where.shape
    never = np.int64(NEVER)
    span = np.zeros((copies, n), dtype=np.int64)  # least ticks from the start of F to the end of I, or of what reads it
    for c in range(copies):
        for x in range(n - 1, -1, -1):
            i = topological[x]
            longest = np.int64(0)
            for y in range(out_ptr[i], out_ptr[i + 1]):
                j = outputs[y]
                there = _lag(where, c, i, j, i, transfer)
                if has_pass[i, 1]:
                    longest = max(longest, there + span[c, j] + _lag(where, c, j, i, i, transfer))
                elif where[c, i] == where[c, j]:
                    longest = max(longest, lasts[c, j, 0])
                else:
                    longest = max(longest, there)
            span[c, i] = lasts[c, i, 0] + longest + lasts[c, i, 1]
    answer = np.int64(0)
    for d in range(len(room)):
        if not np.isfinite(room[d]):
            continue
        left, energy = room[d], 0.0
        first, after = never, never
        for i in range(n):
            there = False
            for c in range(copies):
                if where[c, i] != d:
                    continue
                there = True
                if activation[i] > 0:
                    energy += counts[c] * (activation[i] * span[c, i] + held[i] * lasts[c, i, 2])
                    first = min(first, head[c, i, 0])
                    to_the_end = not has_pass[i, 1] or held[i] * lasts[c, i, 2] > 0
                    after = min(after, np.int64(0) if to_the_end else tail[c, i, 1])
            if there:
                left -= parameters[i]
        if energy > 0 and left > 0:
            answer = max(answer, first + np.int64(energy / left * (1 - 1e-9)) + after)
    return answer


@compiled(**BARE)
def _lag(where, c, source, target, sender, transfer):  # type: ignore[no-untyped-def]
    """Ticks that ``sender``'s output, or its gradient, takes from the device of ``source`` to that of ``target``."""
    d, e = where[c, source], where[c, target]
    if d < 0 or e < 0 or d == e:
        return np.int64(0)
    return transfer[sender, d, e]
