"""Graphs of single tensor operations, as ONNX and torch.export have them, merged to operators that can be planned.

A model of a hundred layers has thousands of nodes, most of which take little time: a bias, a reshape, a norm. A node is
*heavy* if it multiplies (it has FLOP) or looks up rows of a weight matrix; the others join the operator that produces
the latest of their inputs. ``TensorNode`` holds all that a reader has to find out about a node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from planner.importers.document import OperatorDraft
from planner.importers.transformer.costs import plus
from planner.importers.transformer.setting import Optimizer, bytes_of_weight
from planner.problem.graph import Pass, PassTime, Work

LONGEST = 200  # characters of a name


@dataclass(frozen=True)
class Weight:
    """A tensor of weights: ``trained`` ones have gradients and optimizer state."""

    elements: int
    size: float  # bytes of an element
    sides: int = 0  # rows and columns, of a matrix
    trained: bool = True

    def bytes(self, optimizer: Optimizer) -> float:
        """Bytes with gradient and optimizer state."""
        each = bytes_of_weight(self.size, optimizer if self.trained else Optimizer.NONE)
        return self.elements * each.total + self.sides * each.factored


@dataclass(frozen=True)
class TensorNode:
    """One operation. ``reads`` and ``writes`` are tensors of a microbatch; ``weights`` are separate."""

    name: str
    reads: tuple[str, ...]
    writes: Mapping[str, float]  # bytes of each
    view: bool = False  # its output is a view of its input: it moves no bytes and takes no memory
    lookup: bool = False  # it reads rows of a table
    weights: Mapping[str, Weight] = field(default_factory=dict)
    flops: float = 0.0
    moved: float = 0.0  # bytes read and written in forward, weights included
    path: tuple[str, ...] = ()  # of the module that it belongs to

    @property
    def heavy(self) -> bool:
        """Whether it becomes an operator of its own."""
        return self.flops > 0 or (self.lookup and any(weight.sides for weight in self.weights.values()))

    @property
    def forward(self) -> Work:
        """Work of the forward pass."""
        return Work(self.flops, self.moved)

    def backward(self, after_data: bool) -> tuple[Work, Work]:
        """Work of input_grad and weight_grad: together twice forward (arXiv 2001.08361, section 2.1).

        If weights are multiplied, each gets half; else all is input_grad. An input that is data of the microbatch
        (``after_data`` false) needs no gradient.
        """
        trained = any(weight.trained for weight in self.weights.values())
        nothing = Work()
        if trained and (self.flops or not after_data):
            return (self.forward if after_data else nothing), self.forward
        return (plus(self.forward, self.forward) if after_data else nothing), nothing


@dataclass
class Group:
    """Nodes that become one operator."""

    name: str
    position: int
    path: tuple[str, ...] = ()  # of the module that it belongs to: that of the node that made it
    nodes: list[TensorNode] = field(default_factory=list)
    inputs: dict[int, None] = field(default_factory=dict)  # positions of the groups that it reads, in order


@dataclass(frozen=True)
class Grouping:
    """How nodes become operators: ``level`` components of the module's path, or heavy nodes one by one."""

    level: int | None = None
    merge: bool = True

    def label(self, node: TensorNode) -> str | None:
        """Nodes of one label share an operator if that closes no cycle; None joins the latest input."""
        if node.view and self.merge:
            return None  # it takes no time: it stays with the tensor that it views
        if self.level is not None:
            return ".".join(node.path[: self.level]) or None
        return node.name if node.heavy or not self.merge else None


def groups_of(nodes: Sequence[TensorNode], grouping: Grouping) -> list[Group]:
    """The nodes, given in topological order, as groups in topological order.

    A node only joins a group that is not before any of its inputs. So all edges lead from earlier groups to later ones,
    and there is no cycle.
    """
    groups: list[Group] = []
    made_by: dict[str, int] = {}
    latest: dict[str, int] = {}
    for node in nodes:
        inputs = list(dict.fromkeys(made_by[tensor] for tensor in node.reads if tensor in made_by))
        last = max(inputs, default=None)
        label = grouping.label(node)
        if label is None:
            joined = last
        else:
            joined = latest.get(label)
            if joined is not None and last is not None and joined < last:
                joined = None
        if joined is None:
            joined = len(groups)
            groups.append(Group(label or node.name, joined, node.path[: grouping.level]))
        if label is not None:
            latest[label] = joined
        group = groups[joined]
        group.nodes.append(node)
        group.inputs.update(dict.fromkeys(position for position in inputs if position != joined))
        made_by.update(dict.fromkeys(node.writes, joined))
    return _without_light_sources(groups) if grouping.merge else groups


def _without_light_sources(groups: list[Group]) -> list[Group]:
    """Sources without a heavy node (a mask, a cast of the input) become part of their reader if it is the only one."""
    readers: dict[int, list[int]] = {}
    for group in groups:
        for position in group.inputs:
            readers.setdefault(position, []).append(group.position)
    kept = []
    for group in groups:
        mine = readers.get(group.position, [])
        if group.inputs or len(mine) != 1 or any(node.heavy for node in group.nodes):
            kept.append(group)
            continue
        reader = groups[mine[0]]
        reader.nodes[:0] = group.nodes
        del reader.inputs[group.position]
    return kept


def drafts_of(
    groups: Sequence[Group], training: bool, optimizer: Optimizer, labels: Mapping[int, str] | None = None
) -> list[OperatorDraft]:
    """The groups as operators. ``labels``: of those that stay together, by position.

    ``output``: the tensors that other groups read. ``activation``: in training every tensor that the group's nodes
    produce (views aside), in inference the output.
    """
    names = _names(groups)
    made_by = {tensor: g.position for g in groups for node in g.nodes for tensor in node.writes}
    made_of_data = {tensor for group in groups for node in group.nodes for tensor in node.writes}
    leaving: dict[int, set[str]] = {group.position: set() for group in groups}
    for group in groups:
        for node in group.nodes:
            for tensor in node.reads:
                if made_by.get(tensor, group.position) != group.position:
                    leaving[made_by[tensor]].add(tensor)
    sizes = {tensor: size for group in groups for node in group.nodes for tensor, size in node.writes.items()}
    drafts = []
    for group in groups:
        output = sum(sizes[tensor] for tensor in sorted(leaving[group.position]))
        kept = sum(size for node in group.nodes if not node.view for size in node.writes.values())
        weights = {name: weight for node in group.nodes for name, weight in node.weights.items()}
        drafts.append(
            OperatorDraft(
                names[group.position],
                _times(group.nodes, made_of_data, training),
                tuple(names[position] for position in group.inputs),
                parameters=sum(w.bytes(optimizer if training else Optimizer.NONE) for w in weights.values()),
                activation=kept if training else output,
                output=output,
                colocate=None if labels is None else labels.get(group.position),
            )
        )
    return drafts


def _times(nodes: Sequence[TensorNode], made: set[str], training: bool) -> dict[Pass, PassTime]:
    forward, input_grad, weight_grad = Work(), Work(), Work()
    for node in nodes:
        back, gradient = node.backward(any(tensor in made for tensor in node.reads))
        forward, input_grad = plus(forward, node.forward), plus(input_grad, back)
        weight_grad = plus(weight_grad, gradient)
    if not training:
        return {Pass.F: forward}
    times: dict[Pass, PassTime] = {Pass.F: forward, Pass.I: input_grad}
    return {**times, Pass.W: weight_grad} if weight_grad != Work() else times


def moved_bytes(
    read: Sequence[float], weights: Mapping[str, Weight], writes: Mapping[str, float], view: bool, lookup: bool
) -> float:
    """Bytes that a node moves: none for a view, twice its output for a lookup."""
    written = 0.0 if view else sum(writes.values())
    if view or lookup:
        return 2 * written
    return written + sum(read) + sum(weight.elements * weight.size for weight in weights.values())


def _names(groups: Sequence[Group]) -> dict[int, str]:
    """A name for each group, unique and fit for the file."""
    taken: set[str] = set()
    return {group.position: printable(group.name, taken) for group in groups}


def printable(name: str, taken: set[str]) -> str:
    """The name as the file can hold it, with a number if it is taken; it is taken then."""
    clean = "".join(c if c.isprintable() else "?" for c in name).strip()[:LONGEST] or "operator"
    found, number = clean, 1
    while found in taken:
        number += 1
        found = f"{clean}_{number}"
    taken.add(found)
    return found
