"""Rule 5: memory of every device over time, in exact integer arithmetic."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from planner.verification.facts import Facts, Violation, number
from planner.verification.rules import Rule
from planner.verification.table import Floats

SLACK = 4e-12  # relative: less than a byte at 80 GiB; and a millionth of a byte, for sizes that are fractions
SCALE = 2**32  # sizes are counted in parts of a byte, as integers of any length, so that no sum can drift


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """What a device holds from each of ``times`` on, in bytes x SCALE; ``times`` starts at 0."""

    times: tuple[float, ...]
    held: tuple[int, ...]

    @property
    def peak(self) -> float:
        """The most bytes held at any time."""
        return max(self.held) / SCALE

    @property
    def peak_at(self) -> float:
        """The first instant at which the peak holds."""
        return self.times[self.held.index(max(self.held))]

    def highest_near(self, instant: float, tolerance: float) -> float:
        """The most bytes held within the tolerance around an instant."""
        first = max(0, bisect_right(self.times, instant - tolerance) - 1)
        last = max(first + 1, bisect_right(self.times, instant + tolerance))
        return max(self.held[first:last]) / SCALE


def device_memory(facts: Facts) -> dict[str, DeviceMemory]:
    """The memory of every device of the cluster, by name."""
    most: dict[tuple[str, str], int] = {}  # copies on one device share their parameters: the largest counts
    for (name, copy), device in facts.place.items():
        size = _size(facts.own(name, facts.version(name, copy)).parameters)
        most[device, name] = max(size, most.get((device, name), 0))
    resident = dict.fromkeys(facts.devices, 0)
    for (device, _), size in most.items():
        resident[device] += size
    changes: dict[str, list[_Holding]] = {name: [] for name in facts.devices}
    for holding in _holdings(facts):
        changes[holding.device].append(holding)
    return {name: _steps(resident[name], changes[name], facts.tolerance) for name in facts.devices}


class _Holding(NamedTuple):
    """Bytes (x SCALE) that some microbatches hold on a device, each from its start to its end."""

    device: str
    start: Floats
    end: Floats
    size: int


def _steps(resident: int, holdings: Sequence[_Holding], tolerance: float) -> DeviceMemory:
    # A release and a start at one instant: release first. Ending a tolerance earlier puts all releases
    # of an instant before its starts, however the plan rounds them.
    instants, sizes = [np.zeros(1)], [resident]
    for each in holdings:
        instants += [each.start, np.maximum(each.start, each.end - tolerance)]
        sizes += [each.size, -each.size]
    times = np.maximum(np.concatenate(instants), 0.0)
    changes = np.repeat(np.array(sizes, dtype=object), [len(part) for part in instants])
    order = np.argsort(times)
    times, held = times[order], np.cumsum(changes[order])  # integers of any length
    last = np.append(times[1:] > times[:-1], True)  # of each instant
    return DeviceMemory(tuple(times[last].tolist()), tuple(held[last].tolist()))


def _holdings(facts: Facts) -> Iterator[_Holding]:
    """Device, starts, ends and size of everything that microbatches hold, by operator and device."""
    table, left = facts.table, _transfers_left(facts)
    devices, number = list(facts.devices), {name: i for i, name in enumerate(facts.operators)}
    for name, i in number.items():
        microbatch, rows = facts.index.of(i, "F")
        where, start, end = table.device[rows], table.start[rows], table.end[rows]
        versions = [facts.own(name, version) for version in range(len(facts.passes_of[name]))]
        activation = [_size(own.activation) for own in versions]
        kept: list[tuple[Floats, Floats, list[int]]] = []  # starts, ends, size by version
        if facts.training:
            backward = facts.index.at(i, "I", microbatch)
            # A missing pass is reported elsewhere; without it the bytes are held to the end.
            end = np.where(backward >= 0, table.end[backward], facts.makespan)
            kept.append((start, end, activation))
            weights = facts.index.at(i, "W", microbatch)
            until = np.where((backward >= 0) & (weights >= 0), np.maximum(end, table.end[weights]), end)
            kept.append((end, until, [_size(own.held_for_weight_grad) for own in versions]))
        else:
            for reader in facts.consumers[name]:
                there = facts.index.at(number[reader], "F", microbatch)
                same = (there >= 0) & (table.device[there] == where)
                end = np.where(same, np.maximum(end, table.end[there]), end)
            sent = [left.get((name, table.microbatches[m]), 0.0) for m in microbatch.tolist()]
            kept.append((start, np.maximum(end, sent), activation))
        version = facts.version_rows[rows]
        for d, v in sorted(set(zip(where.tolist(), version.tolist(), strict=True))):
            alike = (where == d) & (version == v)
            for begin, until, sizes in kept:
                yield _Holding(devices[d], begin[alike], until[alike], sizes[v])


def _transfers_left(facts: Facts) -> dict[tuple[str, int], float]:
    """When the last output of an operator for a microbatch has left its device."""
    left: dict[tuple[str, int], float] = {}
    for transfer in facts.plan.transfers:
        if transfer.pass_ == "F" and facts.timed(transfer):
            key = (transfer.operator, transfer.microbatch)
            left[key] = max(left.get(key, 0.0), transfer.end)
    return left


def _size(value: float) -> int:
    return round(value * SCALE)


def check_memory(facts: Facts, memory: dict[str, DeviceMemory]) -> Iterator[Violation]:
    """Memory never exceeds the cap; a device that exceeds it is named once, at its peak."""
    for name, held in memory.items():
        cap = facts.cap(name)
        if cap is not None and held.peak > cap * (1.0 + SLACK) + 1e-6:
            yield Violation(
                Rule.MEMORY,
                f"{name} holds {number(held.peak)} bytes at {number(held.peak_at)} s, "
                f"{number(held.peak - cap)} more than its cap of {number(cap)} bytes",
            )
