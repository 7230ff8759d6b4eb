"""Where stages may end: operators of one module share a ``colocate`` label.

A *layer* is a module of a list: its path ends in an index, as ``layers.3`` does. Of lists inside lists the outermost
counts, since a layer may hold lists of its own: experts, or the items of an ``nn.Sequential``. A *part* is a direct
child of a layer, such as ``layers.3.attention``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.importers.tensors.graph import Group, printable
from planner.importers.transformer.setting import Cut

Path = tuple[str, ...]


def labels_of(groups: Sequence[Group], cut: Cut) -> dict[int, str]:
    """The labels by position of the groups, which stand in topological order; no label where one operator is alone.

    Stages can end between any two labels: contracted to one node each, labels close no cycle. So a module that is left
    and entered again, by a path through operators of no or another label, has a label for each time.
    """
    if cut is Cut.OPERATOR:
        return {}
    modules = _layers(groups)
    if cut is Cut.PART:
        modules = _parts(groups, modules)
    members: dict[int, list[int]] = {}
    for position, node in _contracted(groups, modules).items():
        members.setdefault(node, []).append(position)
    found: dict[int, str] = {}
    taken: set[str] = set()
    for together in members.values():
        if len(together) > 1:
            label = printable(".".join(modules[together[0]]), taken)
            found.update(dict.fromkeys(together, label))
    return found


def _layers(groups: Sequence[Group]) -> dict[int, Path]:
    """The path of the layer of each group that is in one."""
    found = {}
    for group in groups:
        index = next((k for k, part in enumerate(group.path) if part.isascii() and part.isdigit()), None)
        if index is not None:
            found[group.position] = group.path[: index + 1]
    return found


def _parts(groups: Sequence[Group], layers: Mapping[int, Path]) -> dict[int, Path]:
    """The path of the part of each group that is in one.

    A layer that consists of one module (a wrapper, or the list of a T5 block) is taken as that module.
    """
    inside: dict[Path, list[Group]] = {}
    for group in groups:
        if group.position in layers:
            inside.setdefault(layers[group.position], []).append(group)
    found: dict[int, Path] = {}
    for layer, own in inside.items():
        depth = len(layer)
        while len({group.path[depth : depth + 1] for group in own}) == 1 and len(own[0].path) > depth:
            depth += 1
        found |= {group.position: group.path[: depth + 1] for group in own if len(group.path) > depth}
    return found


def _contracted(groups: Sequence[Group], modules: Mapping[int, Path]) -> dict[int, int]:
    """The node of each group with a module: groups of one module share one, unless that closes a cycle."""
    node_of: dict[int, int] = {}
    latest: dict[Path, int] = {}
    above: list[int] = []  # by node: a bit for each node from which a path leads to it
    for group in groups:
        module = modules.get(group.position)
        node = None if module is None else latest.get(module)
        read = {node_of[position] for position in group.inputs}
        before = 0
        for each in read - {node}:
            before |= 1 << each | above[each]
        if node is None or before >> node & 1:
            node = len(above)
            above.append(before)
        elif before & ~above[node]:
            above[node] |= before
            for k, reached in enumerate(above):
                if reached >> node & 1:
                    above[k] |= before
        node_of[group.position] = node
        if module is not None:
            latest[module] = node
    return {position: node_of[position] for position in modules}
