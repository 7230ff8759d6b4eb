"""PipeDream's profiles (``graph.txt`` of github.com/msr-fiddle/pipedream) as operators.

Each node has a line, ``node2 -- Conv2d(...) -- forward_compute_time=22.307, backward_compute_time=24.613,
activation_size=1644167168.000, parameter_size=7168.000``, optionally followed by `` -- stage_id=0``. Each edge has a
line that begins with a tab, ``node1 -- node2``. Times are milliseconds of a minibatch, sizes are bytes of 32-bit
floats; several outputs are a list, ``activation_size=[6291456.0; 131072.0]``. (Format: ``Node.from_str`` in PipeDream's
``graph/graph.py``.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import isnan
from pathlib import Path
from typing import Annotated

import typer

from planner.files.errors import InputError, did_you_mean, shown
from planner.files.flag_values import UsageFault
from planner.importers import flags as options
from planner.importers.document import Document, OperatorDraft
from planner.importers.importer import Imported
from planner.importers.measured.ordering import Cycle, ancestry
from planner.importers.source import read_text
from planner.problem.graph import Pass

FIELDS = ("forward_compute_time", "backward_compute_time", "activation_size", "parameter_size")
LONGEST = 100  # characters of a node's name
SMALLEST = 1e-20  # smaller numbers count as 0
LARGEST = 1e24  # the largest number accepted: larger ones are absurd as bytes or seconds
STATE = 3.0
"""Bytes held for each byte of weights: 32-bit weights, gradients and momentum."""


@dataclass(frozen=True)
class PipeDreamFlags:
    """Options of ``planner import pipedream``."""

    source: Annotated[Path, typer.Argument(metavar="GRAPH.TXT", help="A profile of PipeDream's profiler.")]
    name: options.Name = None
    microbatches: options.Microbatches = 1
    state: Annotated[float, typer.Option(min=0, max=1000, metavar="N", help="Bytes held for each byte of weights.")] = (
        STATE
    )


class PipeDream:
    """The importer."""

    name = "pipedream"
    help = "A profile of PipeDream (graph.txt)."
    flags = PipeDreamFlags

    def read(self, flags: PipeDreamFlags) -> Imported:
        """The graph of the profile."""
        if isnan(flags.state):  # nan is neither below nor above a limit
            raise UsageFault("--state must be a number from 0 to 1000; got nan")
        return Imported.of(pipedream(flags.source, name=flags.name, microbatches=flags.microbatches, state=flags.state))


@dataclass(frozen=True)
class Node:
    """A node of the profile: seconds of a minibatch, bytes of its output and of its weights."""

    name: str
    kind: str  # Conv2d, ReLU, ...
    forward: float
    backward: float
    output: float
    weights: float
    in_place: bool = False


@dataclass(frozen=True)
class Profile:
    """The content of a profile: nodes in the file's order, and edges by name."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


def pipedream(path: Path, *, name: str | None = None, microbatches: int = 1, state: float = STATE) -> Document:
    """The graph of a ``graph.txt``; ``InputError`` with file, line and field for any fault of it."""
    profile = read_profile(path)
    try:
        operators = operators_of(profile, state)
    except Cycle as cycle:
        raise InputError(path, _closing(path, cycle), None, f"this edge closes a cycle: {cycle}") from None
    forward = sum(node.forward for node in profile.nodes)
    backward = sum(node.backward for node in profile.nodes)
    header = (
        f"PipeDream's profile {path.name}: {len(operators)} operators, {forward * 1e3:.6g} ms forward and "
        f"{backward * 1e3:.6g} ms backward for one of the profiled minibatches, which is a microbatch here.\n\n"
        + assumptions(state)
    )
    return Document(name or path.stem, operators, header, microbatches=microbatches)


def _closing(path: Path, cycle: Cycle) -> int | None:
    """The line of the last edge of the cycle."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    return max((number for number, line in lines if tuple(line.strip().split(" -- ")) in cycle.edges), default=None)


def assumptions(state: float) -> str:
    """The assumptions of ``operators_of`` in words, for the comment on top of a file."""
    return "\n".join(
        (
            "- `time`: the profile has one backward time. Half of it is the gradient of the input and half that of "
            "the weights where an operator has weights; all of it is input gradient where it has none, and all of it "
            "weight gradient where no operator before it has weights, so that nobody needs the gradient of its input.",
            f"- `parameters`: {state:g} times the bytes of the weights (weights, gradients, optimizer state).",
            "- `activation`: the output, kept until the last backward pass. ReLU(inplace) and the like overwrite "
            "their input and keep nothing more; an operator that takes no time forward is a view and keeps nothing.",
            "- `output`: activation_size; the gradient that comes back is as large.",
        )
    )


def read_profile(path: Path) -> Profile:
    """The nodes and edges of a ``graph.txt``."""
    nodes: dict[str, Node] = {}
    edges: list[tuple[int, str, str]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        parts = line.strip().split(" -- ")
        if len(parts) == 2:
            edges.append((number, parts[0], parts[1]))
        elif len(parts) >= 3:
            node = _node(path, number, parts)
            if node.name in nodes:
                raise InputError(path, number, node.name, "stands twice: a node has one line")
            nodes[node.name] = node
        else:
            raise InputError(path, number, None, "is neither a node (name -- kind -- times) nor an edge (name -- name)")
    if not nodes:
        raise InputError(path, None, None, "has no node: is it a graph.txt of PipeDream's profiler?")
    for number, source, target in edges:
        for end in (source, target):
            if end not in nodes:
                raise InputError(path, number, None, f"no node is called {shown(end)}: {did_you_mean(end, nodes)}")
        if source == target:
            raise InputError(path, number, None, f"{shown(source)} reads itself")
    return Profile(tuple(nodes.values()), tuple((source, target) for _, source, target in edges))


def operators_of(profile: Profile, state: float = STATE) -> list[OperatorDraft]:
    """The operators in an order of execution, named ``node.kind``; raises ``Circle``."""
    order, reads = ancestry((node.name for node in profile.nodes), profile.edges)
    nodes = {node.name: node for node in profile.nodes}
    label = {name: f"{name}.{nodes[name].kind}" for name in order}
    below_weights: dict[str, bool] = {}  # whether any operator before it has weights
    drafts = []
    for name in order:
        node = nodes[name]
        below_weights[name] = any(below_weights[source] or nodes[source].weights > 0 for source in reads[name])
        kept = 0.0 if node.in_place or node.forward == 0 else node.output
        times: dict[Pass, float] = {Pass.F: node.forward, **_backward(node, below_weights[name])}
        inputs = tuple(label[source] for source in reads[name])
        drafts.append(
            OperatorDraft(
                label[name],
                times,
                inputs or None,
                parameters=state * node.weights,
                activation=kept,
                output=node.output,
            )
        )
    return drafts


def _backward(node: Node, needed: bool) -> dict[Pass, float]:
    """The backward time as I and W; ``needed``: whether a node before it needs the gradient of its input."""
    if node.weights == 0:
        return {Pass.I: node.backward}
    if not needed:
        return {Pass.I: 0.0, Pass.W: node.backward}
    return {Pass.I: node.backward / 2, Pass.W: node.backward / 2}


def _node(path: Path, line: int, parts: list[str]) -> Node:
    # A description may contain " -- ": the figures are the part that begins with the first field.
    at = next((k for k, part in enumerate(parts) if part.startswith(FIELDS[0] + "=")), None)
    if at is None or at < 2:
        raise InputError(path, line, FIELDS[0], "is missing: a node is name -- kind -- forward_compute_time=..., ...")
    found = dict(entry.split("=", 1) for entry in re.split(r", *(?=\w+=)", parts[at]) if "=" in entry)
    values = {}
    for field in FIELDS:
        if field not in found:
            raise InputError(path, line, field, "is missing: it stands after the node's kind, separated by commas")
        values[field] = _amount(path, line, field, found[field])
    description = " -- ".join(parts[1:at])
    kind = "".join(c for c in description.split("(")[0].strip() if c.isprintable())[:60] or "operator"
    name = parts[0].strip()
    if not name.isprintable() or not 0 < len(name) <= LONGEST:
        raise InputError(path, line, "node", f"must have a name of 1 to {LONGEST} printable characters")
    return Node(
        name,
        kind,
        values["forward_compute_time"],
        values["backward_compute_time"],
        values["activation_size"],
        values["parameter_size"],
        "inplace" in description.lower(),
    )


def _amount(path: Path, line: int, field: str, text: str) -> float:
    """A number, or the sum of a list; milliseconds become seconds without rounding twice."""
    try:
        entries = [Decimal(entry.strip()) for entry in re.split("[;,]", text.strip().strip("[]"))]
    except InvalidOperation:
        raise InputError(path, line, field, f"must be a number, or numbers as [a; b] (got {shown(text)})") from None
    total = sum(entries, Decimal(0))
    if not all(entry.is_finite() and entry >= 0 for entry in entries) or total > LARGEST:
        raise InputError(path, line, field, f"must be from 0 to {LARGEST:g} (got {shown(text)})")
    return 0.0 if total < SMALLEST else float(total.scaleb(-3) if field.endswith("_time") else total)
