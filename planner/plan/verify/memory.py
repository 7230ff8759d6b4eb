"""Rule 5: memory of every device over time, in exact integer arithmetic."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from planner.plan.verify.facts import Facts, Violation, number

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
    resident = dict.fromkeys(facts.devices, 0)
    for device, name in {(device, name) for (name, _), device in facts.place.items()}:
        resident[device] += _size(facts.operators[name].parameters)
    changes: dict[str, list[tuple[float, int]]] = {name: [] for name in facts.devices}
    for device, start, end, size in _holdings(facts):
        # A release and a start at one instant: release first. Ending a tolerance earlier puts all releases
        # of an instant before its starts, however the plan rounds them.
        changes[device] += [(start, size), (max(start, end - facts.tolerance), -size)]
    return {name: _steps(resident[name], changes[name]) for name in facts.devices}


def _steps(resident: int, changes: list[tuple[float, int]]) -> DeviceMemory:
    times, held = [0.0], [resident]
    for time, change in sorted(changes):
        if time > times[-1]:
            times.append(time)
            held.append(held[-1])
        held[-1] += change
    return DeviceMemory(tuple(times), tuple(held))


def _holdings(facts: Facts) -> Iterator[tuple[str, float, float, int]]:
    """Device, start, end and size of everything that microbatches hold."""
    left = _transfers_left(facts)
    for (name, pass_, microbatch), forward in facts.tasks.items():
        if pass_ != "F":
            continue
        operator = facts.operators[name]
        device = forward.device
        if not facts.training:
            ends = [forward.end, left.get((name, microbatch), 0.0)]
            for reader in facts.consumers[name]:
                task = facts.tasks.get((reader, "F", microbatch))
                if task is not None and task.device == device:
                    ends.append(task.end)
            yield device, forward.start, max(ends), _size(operator.activation)
            continue
        backward = facts.tasks.get((name, "I", microbatch))
        if backward is None:  # reported as missing; until the end is what it would hold
            yield device, forward.start, facts.makespan, _size(operator.activation)
            continue
        yield device, forward.start, backward.end, _size(operator.activation)
        weights = facts.tasks.get((name, "W", microbatch))
        if weights is not None:
            yield device, backward.end, max(backward.end, weights.end), _size(operator.held_for_weight_grad)


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
                5,
                f"{name} holds {number(held.peak)} bytes at {number(held.peak_at)} s, "
                f"{number(held.peak - cap)} more than its cap of {number(cap)} bytes",
            )
