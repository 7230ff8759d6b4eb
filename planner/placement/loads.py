"""Loads of streams and channels under a placement of one copy, and local search for the least period.

The period of a placement is the load of its busiest stream or channel for one microbatch; transfers load their
channel and, where they are exclusive, the compute streams of both ends. The compiled evaluation of a placement takes
microseconds, so annealing over moves of operators, of their neighbours and of whole stretches soon comes close to the
best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from planner.common.budget import Control
from planner.common.compiled import compiled
from planner.common.ragged import rows
from planner.problem import Placement, Problem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOVES_A_SLICE = 20_000
POWER = 12.0
"""Annealing minimises a mean of this power of the loads: mostly the busiest, a little of the next ones."""

HOT, COLD = 0.05, 0.0005
"""First and last temperature, x the load of an evenly used device."""

LONGEST = 16
"""Most groups of a stretch that is moved as one."""


class Parts(NamedTuple):
    """Flat arrays for the compiled evaluation; seconds and bytes of one microbatch."""

    work: Floats  # (operator, device)
    comm: npt.NDArray[np.bool_]
    cons_ptr: Ints
    cons: Ints
    sent: Floats  # bytes of an output
    latency: Floats  # (device, device)
    per_byte: Floats  # (device, device)
    both_ways: bool  # gradients come back
    exclusive: npt.NDArray[np.bool_]
    bytes: Floats  # that an operator takes at least: parameters, and activations where all are held at once
    cap: Floats


@compiled(nogil=True)
def evaluate(p, device_of, loads, taken):  # type: ignore[no-untyped-def]
    """Fill loads (compute streams, communication streams, channels) and bytes; the load of the busiest."""
    n, n_devices = p.work.shape
    loads[:] = 0.0
    taken[:] = 0.0
    reads = np.zeros(n_devices, dtype=np.bool_)
    for i in range(n):
        d = device_of[i]
        loads[d + (n_devices if p.comm[i] else 0)] += p.work[i, d]
        taken[d] += p.bytes[i]
        begin, end = p.cons_ptr[i], p.cons_ptr[i + 1]
        for x in range(begin, end):
            e = device_of[p.cons[x]]
            if e == d or reads[e]:
                continue
            reads[e] = True
            seconds = p.latency[d, e] + p.sent[i] * p.per_byte[d, e]
            loads[2 * n_devices + d * n_devices + e] += seconds
            if p.both_ways:
                back = p.latency[e, d] + p.sent[i] * p.per_byte[e, d]
                loads[2 * n_devices + e * n_devices + d] += back
                seconds += back
            if p.exclusive[d]:
                loads[d] += seconds
            if p.exclusive[e]:
                loads[e] += seconds
        for x in range(begin, end):
            reads[device_of[p.cons[x]]] = False
    return loads.max()


@compiled(nogil=True)
def _smooth(loads, taken, cap, scale):  # type: ignore[no-untyped-def]
    """The mean of a high power of the loads, much more where memory is short."""
    total = 0.0
    for load in loads:
        if load > 0.0:
            total += (load / scale) ** POWER
    value = total ** (1.0 / POWER) * scale
    for d in range(len(cap)):
        if taken[d] > cap[d]:
            value += scale * (1.0 + (taken[d] - cap[d]) / (1.0 + cap[d]))
    return value


@compiled(nogil=True)
def anneal(  # type: ignore[no-untyped-def]
    p, group_ptr, group, allowed, order, near_ptr, near, device_of, best_of, best, begin, end, total, scale,
    goal, rng,
):  # fmt: skip
    """Moves ``begin`` to ``end`` of ``total``; the period of ``best_of``, which is replaced by better ones.

    A move gives another device to a group, to a group and one beside it in the graph, or to a stretch of groups (in
    topological order) of one device; or two groups change places.
    """
    n_groups, n_devices = allowed.shape
    loads, taken = np.zeros(2 * n_devices + n_devices * n_devices), np.zeros(n_devices)
    evaluate(p, device_of, loads, taken)
    value = _smooth(loads, taken, p.cap, scale)
    moved = np.zeros(2 * LONGEST, dtype=np.int64)
    was = np.zeros(2 * LONGEST, dtype=np.int64)
    for step in range(begin, end):
        g = int(rng.random() * n_groups)
        d = int(rng.random() * n_devices)
        kind = rng.random()
        count = 1
        moved[0] = order[g]
        first = order[g]
        mine = device_of[group[group_ptr[first]]]
        swap = False
        if kind < 0.25:
            if near_ptr[first] < near_ptr[first + 1]:
                moved[1] = near[near_ptr[first] + int(rng.random() * (near_ptr[first + 1] - near_ptr[first]))]
                if rng.random() < 0.5:
                    d = device_of[group[group_ptr[moved[1]]]]
                else:
                    count = 2
        elif kind < 0.55:
            most = 1 + int(rng.random() * LONGEST)
            while count < most and g + count < n_groups:
                if device_of[group[group_ptr[order[g + count]]]] != mine:
                    break
                moved[count] = order[g + count]
                count += 1
            if rng.random() < 0.5 and g > 0:
                d = device_of[group[group_ptr[order[g - 1]]]]
            elif g + count < n_groups:
                d = device_of[group[group_ptr[order[g + count]]]]
        elif kind < 0.75:
            moved[1] = order[int(rng.random() * n_groups)]
            d = device_of[group[group_ptr[moved[1]]]]
            swap = d != mine
            count = 2 if swap else 1
        good = False
        for k in range(count):
            was[k] = device_of[group[group_ptr[moved[k]]]]
            to = mine if swap and k == 1 else d
            if not allowed[moved[k], to]:
                good = False
                break
            good = good or was[k] != to
        if not good:
            continue
        for k in range(count):
            to = mine if swap and k == 1 else d
            for x in range(group_ptr[moved[k]], group_ptr[moved[k] + 1]):
                device_of[group[x]] = to
        busiest = evaluate(p, device_of, loads, taken)
        then = _smooth(loads, taken, p.cap, scale)
        temperature = scale * HOT * (COLD / HOT) ** (step / total)
        if then <= value - temperature * np.log(1.0 - rng.random()):
            value = then
            if busiest < best and (taken <= p.cap).all():
                best = busiest
                best_of[:] = device_of
                if best <= goal:
                    break
        else:
            for k in range(count):
                for x in range(group_ptr[moved[k]], group_ptr[moved[k] + 1]):
                    device_of[group[x]] = was[k]
    return best


_evaluate: Callable[..., float] = evaluate
_anneal: Callable[..., float] = anneal


@dataclass(frozen=True)
class Loads:
    """The loads of placements of one copy of a problem."""

    problem: Problem

    @cached_property
    def parts(self) -> Parts:
        """The problem as flat arrays."""
        problem, n_devices = self.problem, self.problem.n_devices
        names = [d.name for d in problem.cluster.devices]
        latency, per_byte = np.zeros((n_devices, n_devices)), np.zeros((n_devices, n_devices))
        for a, source in enumerate(names):
            for b, target in enumerate(names):
                level = problem.cluster.level(source, target)
                if level is not None:
                    latency[a, b] = level.latency
                    per_byte[a, b] = 0.0 if level.bandwidth is None else 1.0 / level.bandwidth
        cons_ptr, cons = rows(problem.consumers)
        # at the end of the only sink's F a microbatch holds everything; else operators may take turns
        all_at_once = problem.training and sum(not readers for readers in problem.consumers) == 1
        return Parts(
            np.where(problem.runs_on, problem.duration.sum(axis=1), 0.0),
            problem.on_comm,
            cons_ptr,
            cons,
            problem.output,
            latency,
            per_byte,
            problem.training,
            problem.exclusive,
            problem.parameters + (problem.activation if all_at_once else 0.0),
            problem.cap_with_slack,
        )

    def of_copies(self, placement: Placement) -> float:
        """The period of a placement whose copies run equally many microbatches."""
        n_devices = self.problem.n_devices
        total, taken = np.zeros(2 * n_devices + n_devices * n_devices), np.zeros(n_devices)
        for device_of in placement.device_of:
            loads = np.zeros(len(total))
            _evaluate(self.parts, np.array(device_of, dtype=np.int64), loads, taken)
            total += loads
        return float(total.max()) / placement.copies

    def of(self, device_of: Sequence[int]) -> tuple[float, Floats]:
        """The period of a placement, and the bytes that each device takes at least."""
        n_devices = self.problem.n_devices
        loads, taken = np.zeros(2 * n_devices + n_devices * n_devices), np.zeros(n_devices)
        return float(_evaluate(self.parts, np.array(device_of, dtype=np.int64), loads, taken)), taken

    def anneal(
        self, device_of: Sequence[int], moves: int, goal: float, control: Control, rng: np.random.Generator
    ) -> tuple[int, ...]:
        """The placement of the least period met on a walk of so many moves from a placement; itself if none is less.

        Only placements with enough memory for what is held in any case count (see ``Parts.bytes``). Ends at a period
        of ``goal``.
        """
        problem = self.problem
        here = np.array(device_of, dtype=np.int64)
        best_of = here.copy()
        period, taken = self.of(device_of)
        best = period if (taken <= self.parts.cap).all() else np.inf
        scale = max(period, 1e-300)
        for begin in range(0, moves, MOVES_A_SLICE):
            if control.over or best <= goal:
                break
            best = _anneal(
                self.parts, *rows(problem.groups), problem.group_runs_on, *self._around, here, best_of, best,
                begin, min(moves, begin + MOVES_A_SLICE), moves, scale, goal, rng,
            )  # fmt: skip
        return tuple(best_of.tolist())

    @cached_property
    def _around(self) -> tuple[Ints, Ints, Ints]:
        """Groups in topological order (by first member), and the neighbours of each in the graph as rows."""
        problem = self.problem
        of = {i: g for g, members in enumerate(problem.groups) for i in members}
        order = list(dict.fromkeys(of[i] for i in problem.topological))
        near: list[set[int]] = [set() for _ in problem.groups]
        for i, readers in enumerate(problem.consumers):
            for j in readers:
                if of[i] != of[j]:
                    near[of[i]].add(of[j])
                    near[of[j]].add(of[i])
        return np.array(order, dtype=np.int64), *rows([sorted(n) for n in near])
