"""Seconds of a pass on a device, and why a device may not run an operator."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from planner.common.messages import did_you_mean, listed, shown
from planner.problem.cluster import Cluster, Device
from planner.problem.graph import ByDevice, Operator, PassTime


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


def refusals(operator: Operator, devices: Sequence[Device]) -> str:
    """Why each device may not run the operator; devices with the same reason together."""
    because: dict[str, list[str]] = {}
    for device in devices:
        because.setdefault(_refusal(operator, device), []).append(device.name)
    return "; ".join(f"{listed(names, 4)}: {reason}" for reason, names in because.items())


def _refusal(operator: Operator, device: Device) -> str:
    if operator.devices is not None and not any(device.answers_to(name) for name in operator.devices):
        return "not among its devices"
    for which, cost in (*operator.times.items(), *operator.step.items()):
        if math.isinf(pass_seconds(cost, device)):
            if isinstance(cost, ByDevice):
                return f"no time for pass {which.value}"
            return f"type {shown(device.type.name)} lacks the peak_flops or memory_bandwidth of pass {which.value}"
    return "allowed"
