"""Loads of streams and channels for one microbatch; the largest is the period of the steady state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from planner.problem import Problem


def loads(problem: Problem, device_of: Sequence[int]) -> dict[str, float]:
    """Seconds a microbatch by stream (``gpu0 compute``, ``gpu0 comm``) and channel (``gpu0 -> gpu1``).

    An output goes once to every other device that reads it, and in training its gradient comes back. Exclusive
    transfers of a device also load its compute stream.
    """
    names = [device.name for device in problem.cluster.devices]
    total: dict[str, float] = defaultdict(float)
    for i, d in enumerate(device_of):
        stream = "comm" if problem.on_comm[i] else "compute"
        total[f"{names[d]} {stream}"] += float(problem.duration[i, :, d].sum())
        for target in {device_of[reader] for reader in problem.consumers[i]} - {d}:
            ways = [(d, target), (target, d)] if problem.training else [(d, target)]
            for source, sink in ways:
                seconds = problem.transfer(i, source, sink)
                total[f"{names[source]} -> {names[sink]}"] += seconds
                for end in (source, sink):
                    if problem.exclusive[end]:
                        total[f"{names[end]} compute"] += seconds
    return dict(total)


def period(problem: Problem, device_of: Sequence[int]) -> float:
    """The busiest stream or channel, in seconds a microbatch."""
    return max(loads(problem, device_of).values())
