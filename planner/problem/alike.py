"""Devices that no operator, cap or network entry tells apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from planner.problem.cluster import Cluster


def device_classes(cluster: Cluster, same: Callable[[int, int], bool]) -> tuple[tuple[int, ...], ...]:
    """The classes of like devices, in order of their first member; ``same``: whether two do alike by themselves."""
    nodes = Counter(device.node for device in cluster.devices)
    classes: list[list[int]] = []
    for d in range(len(cluster.devices)):
        for members in classes:
            if same(members[0], d) and _alike(cluster, members[0], d, nodes):
                members.append(d)
                break
        else:
            classes.append([d])
    return tuple(tuple(members) for members in classes)


def _alike(cluster: Cluster, a: int, b: int, nodes: Counter[str | None]) -> bool:
    """Whether the network does not tell two devices apart."""
    if not cluster.links:
        here, there = cluster.devices[a].node, cluster.devices[b].node
        alone = nodes[here] == nodes[there] == 1
        return here == there or alone or cluster.within_node == cluster.between_nodes
    names = [d.name for d in cluster.devices]
    level = cluster.level
    if level(names[a], names[b]) != level(names[b], names[a]):
        return False
    return all(
        level(names[a], c) == level(names[b], c) and level(c, names[a]) == level(c, names[b])
        for c in names
        if c not in (names[a], names[b])
    )
