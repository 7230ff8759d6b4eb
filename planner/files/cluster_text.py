"""A cluster as the text of a cluster.yaml."""

from __future__ import annotations

import json

from planner.problem import Cluster
from planner.problem.cluster import DeviceType, NetworkLevel


def cluster_yaml(cluster: Cluster, comment: str = "") -> str:
    """The text of the file: every device by itself, sizes in bytes, rates and times in base units.

    ``comment``: one line on top. A cluster that is read from it differs in nothing but its path and hash.
    """
    lines = [f"# {comment}"] if comment else []
    lines += ["schema: planner/cluster@1", f"name: {json.dumps(cluster.name)}", "device_types:"]
    lines += [f"  {json.dumps(name)}: {{{_type(kind)}}}" for name, kind in cluster.types.items()]
    lines.append("devices:")
    for device in cluster.devices:
        fields = [f"name: {json.dumps(device.name)}", f"type: {json.dumps(device.type.name)}"]
        fields += [] if device.node is None else [f"node: {json.dumps(device.node)}"]
        fields += [] if device.memory in (None, device.type.memory) else [f"memory: {device.memory!r}"]
        lines.append(f"  - {{{', '.join(fields)}}}")
    levels = {"within_node": cluster.within_node, "between_nodes": cluster.between_nodes}
    stated = {name: level for name, level in levels.items() if level is not None}
    if stated or cluster.links:
        lines.append("network:")
    lines += [f"  {name}: {{{_level(level)}}}" for name, level in stated.items()]
    if cluster.links:
        lines.append("  links:")
    for link in cluster.links:
        ends = f"from: {json.dumps(link.source)}, to: {json.dumps(link.target)}"
        lines.append(f"    - {{{ends}, {_level(link.level)}}}")
    return "\n".join(lines) + "\n"


def _type(kind: DeviceType) -> str:
    stated = {"memory": kind.memory, "peak_flops": kind.peak_flops, "memory_bandwidth": kind.memory_bandwidth}
    fields = [f"{name}: {value!r}" for name, value in stated.items() if value is not None]
    fields += [] if kind.efficiency == 1.0 else [f"efficiency: {kind.efficiency!r}"]
    return ", ".join([*fields, *(["transfers: exclusive"] if kind.exclusive_transfers else [])])


def _level(level: NetworkLevel) -> str:
    fields = [] if level.bandwidth is None else [f"bandwidth: {level.bandwidth!r}"]
    return ", ".join([*fields, f"latency: {level.latency!r}"])
