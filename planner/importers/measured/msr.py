"""The graphs of "Efficient Algorithms for Device Placement of DNN Graph Operators" (NeurIPS 2020), and their devices.

JSON as github.com/msr-fiddle/dnn-partitioning describes it in its README: ``maxFPGAs`` accelerators with
``maxSizePerFPGA`` bytes each, ``maxCPUs`` CPUs, ``nodes`` with a latency on each kind, ``edges`` with the time that the
output of their source takes between an accelerator and the memory of the CPU. A training graph has its backward nodes
beside the forward ones; nodes of one ``colorClass`` share a device.

**Load.** In the paper, an accelerator's load is its latencies plus the time of every output that crosses its border in
either direction, each output once; a CPU pays for no transfer. Here, accelerators have exclusive transfers and the CPU
does not: a transfer occupies the accelerator at either end for one hop. The difference: here an output goes once to
every *device* that reads it, so its source pays once for each of them; in the paper it pays once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.files.errors import shown
from planner.files.json_source import JsonSource, Step
from planner.importers import flags as options
from planner.importers.document import Document, OperatorDraft, comment_lines, quoted
from planner.importers.importer import AlsoWritten, Imported
from planner.importers.measured.ordering import Cycle, ancestry
from planner.importers.source import read_json
from planner.problem.graph import ByDevice, Mode, Pass

ACCELERATOR, CPU = "acc", "cpu"
LARGEST = 1e15
"""The largest number accepted in a file; larger ones are absurd as bytes, as seconds and in their products."""

SMALLEST = 1e-20
"""Smaller numbers count as 0."""

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}
"""Units per second, as divisors: a quotient is rounded only once."""

BANDWIDTH = 1e12
"""Bytes per second, if the file gives no sizes to derive it from."""

NOTES = "\n".join(
    (
        "- Forward and backward nodes are operators of a graph in inference mode; nodes of one colour class are "
        "colocated. Edges run as in the file. In the authors' training graphs the backward part repeats the direction "
        "of the forward part and no edge joins the two: that says which outputs cross a cut, not in which order a "
        "training step runs.",
        "- `output`: the file gives the time of one hop between accelerator and host. Bytes here are that time "
        "multiplied by the bandwidth in the cluster file, so that the time comes out. The `size` of an edge of the "
        "backward part may be another one, that of the gradient; the cost is what counts.",
        "- Load: the authors charge an accelerator its latencies plus one hop for every output that enters or leaves "
        "it, each output once. Exclusive transfers charge the same, except that an output goes once to every device "
        "that reads it: read on n other devices it costs its source n hops, where the authors count one. A CPU pays "
        "for no transfer, there as here.",
        "- Between two accelerators the authors' output makes two hops, out and in, one on each side. Here it is one "
        "transfer of one hop's length that occupies both: the same load, half of the latency.",
    )
)


class TimeUnit(StrEnum):
    """Values of ``--unit``."""

    s = "s"
    ms = "ms"
    us = "us"


@dataclass(frozen=True)
class MsrFlags:
    """Options of ``planner import msr``."""

    source: Annotated[Path, typer.Argument(metavar="FILE.json", help="An input of msr-fiddle/dnn-partitioning.")]
    cluster: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the file's devices there."), AlsoWritten("devices")
    ] = None
    name: options.Name = None
    microbatches: options.Microbatches = 1
    unit: Annotated[TimeUnit, typer.Option(help="Of the file's latencies and costs.")] = TimeUnit.ms


class Msr:
    """The importer."""

    name = "msr"
    help = "A placement problem of msr-fiddle/dnn-partitioning: graph and devices."
    flags = MsrFlags

    def read(self, flags: MsrFlags) -> Imported:
        """The graph, and its devices as a second text."""
        document, devices = msr(flags.source, name=flags.name, microbatches=flags.microbatches, unit=flags.unit.value)
        return Imported.of(document, cluster=devices)


@dataclass(frozen=True)
class Node:
    """A node: latencies in seconds, and the bytes that it takes on an accelerator."""

    name: str
    accelerator: float | None  # None: not supported there
    cpu: float
    size: float
    backward: bool
    colour: str | None
    hop: float = 0.0  # seconds of its output between accelerator and host


@dataclass(frozen=True)
class Instance:
    """The content of a file. ``edges`` by name; ``bandwidth`` in bytes/s, which converts hops to bytes."""

    accelerators: int
    cpus: int
    memory: float
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    bandwidth: float


def msr(path: Path, *, name: str | None = None, microbatches: int = 1, unit: str = "ms") -> tuple[Document, str]:
    """The graph of a file and the text of its cluster; ``InputError`` for any fault of the file."""
    source = read_json(path)
    instance = read_instance(source, UNITS[unit])
    try:
        operators = operators_of(instance)
    except Cycle as cycle:
        closing = max(k for k, edge in enumerate(instance.edges) if edge in cycle.edges)
        raise source.error(["edges", closing], f"closes a cycle: {cycle}") from None
    backward = sum(node.backward for node in instance.nodes)
    header = (
        f"{path.name}, a graph in the format of github.com/msr-fiddle/dnn-partitioning: {len(operators)} nodes, "
        f"{backward} of them backward, latencies read as {unit}.\n\n" + NOTES
    )
    named = name or path.stem
    document = Document(named, operators, header, Mode.INFERENCE, microbatches)
    return document, cluster_of(instance, f"{named}-devices", f"The devices of {path.name}.")


def operators_of(instance: Instance) -> list[OperatorDraft]:
    """One operator for each node, in a topological order; raises ``Cycle``."""
    order, reads = ancestry((node.name for node in instance.nodes), instance.edges)
    nodes = {node.name: node for node in instance.nodes}
    shared = Counter(node.colour for node in instance.nodes if node.colour is not None)
    drafts = []
    for name in order:
        node = nodes[name]
        seconds = {} if node.accelerator is None else {ACCELERATOR: node.accelerator}
        if instance.cpus or node.accelerator is None:
            seconds[CPU] = node.cpu
        drafts.append(
            OperatorDraft(
                name,
                {Pass.F: ByDevice(seconds)},
                tuple(reads[name]) or None,
                parameters=node.size,
                output=node.hop * instance.bandwidth,
                colocate=node.colour if node.colour is not None and shared[node.colour] > 1 else None,
            )
        )
    return drafts


def cluster_of(instance: Instance, name: str, header: str) -> str:
    """The text of ``cluster.yaml``: accelerators with exclusive transfers, CPUs without a cap."""
    lines = [*comment_lines(header), "schema: planner/cluster@1", f"name: {quoted(name)}", "device_types:"]
    groups = []
    if instance.accelerators:
        lines.append(f"  {ACCELERATOR}: {{memory: {round(instance.memory)}, transfers: exclusive}}")
        groups.append(f"  - {{name: {ACCELERATOR}, type: {ACCELERATOR}, count: {instance.accelerators}}}")
    if instance.cpus:
        lines.append(f"  {CPU}: {{transfers: overlap}}")
        groups.append(f"  - {{name: {CPU}, type: {CPU}, count: {instance.cpus}}}")
    lines += ["devices:", *groups, "network:", f"  within_node: {{bandwidth: {instance.bandwidth!r}}}"]
    return "\n".join(lines) + "\n"


def read_instance(source: JsonSource, per_second: float) -> Instance:
    """The instance in a file; ``per_second``: how many of its units of time make a second."""
    root = source.root
    if not isinstance(root, dict):
        raise source.error([], "must be an object with nodes and edges")
    entries = {key: _list(source, root, key) for key in ("nodes", "edges")}
    accelerators, cpus = (_count(source, root, key) for key in ("maxFPGAs", "maxCPUs"))
    if accelerators + cpus == 0:
        raise source.error(["maxFPGAs"], "and maxCPUs are 0: there is no device")
    if not entries["nodes"]:
        raise source.error(["nodes"], "is empty: there is nothing to place")
    names = _names(source, entries["nodes"])
    hops, edges = _edges(source, entries["edges"], names)
    nodes = tuple(
        _node(source, ["nodes", k], entry, names[entry["id"]], hops.get(entry["id"], 0.0), per_second)
        for k, entry in enumerate(entries["nodes"])
    )
    memory = _amount(source, root, ["maxSizePerFPGA"])
    return Instance(accelerators, cpus, memory, nodes, edges, _bandwidth(entries["edges"], per_second))


def _names(source: JsonSource, entries: Sequence[Any]) -> dict[int, str]:
    """Names by id: those of the file if all nodes have distinct ones, else ``node`` and the id."""
    given: dict[int, str | None] = {}
    for k, entry in enumerate(entries):
        number = _object(source, entry, ["nodes", k]).get("id")
        if isinstance(number, bool) or not isinstance(number, int):
            raise source.error(["nodes", k, "id"], f"must be a whole number (got {shown(number)})")
        if number in given:
            raise source.error(["nodes", k, "id"], f"{shown(number)} stands twice: ids are unique")
        name = entry.get("name")
        usable = isinstance(name, str) and name.strip() != "" and len(name) <= 200 and name.isprintable()
        given[number] = name if usable else None
    distinct = None not in given.values() and len(set(given.values())) == len(given)
    return {number: str(name) if distinct else f"node{number}" for number, name in given.items()}


def _edges(
    source: JsonSource, entries: Sequence[Any], names: dict[int, str]
) -> tuple[dict[int, float], tuple[tuple[str, str], ...]]:
    """The cost of each node's output, in the file's unit, and the edges by name."""
    costs: dict[int, float] = {}
    edges = []
    for k, raw in enumerate(entries):
        entry = _object(source, raw, ["edges", k])
        ends = []
        for key in ("sourceId", "destId"):
            if isinstance(entry.get(key), bool) or not isinstance(entry.get(key), int) or entry[key] not in names:
                raise source.error(["edges", k, key], f"no node has the id {shown(entry.get(key))}")
            ends.append(entry[key])
        cost = _amount(source, entry, ["edges", k, "cost"])
        if not math.isclose(costs.setdefault(ends[0], cost), cost, rel_tol=1e-6, abs_tol=1e-9):
            message = f"differs from another edge of node {shown(ends[0])}: an output has one cost"
            raise source.error(["edges", k, "cost"], message)
        edges.append((names[ends[0]], names[ends[1]]))
    return costs, tuple(edges)


def _node(
    source: JsonSource, steps: list[Step], entry: dict[str, Any], name: str, hop: float, per_second: float
) -> Node:
    def amount(key: str) -> float:
        return _amount(source, entry, [*steps, key])

    supported = bool(amount("supportedOnFpga"))
    colour = entry.get("colorClass")
    return Node(
        name,
        amount("fpgaLatency") / per_second if supported else None,
        amount("cpuLatency") / per_second,
        amount("size") if "size" in entry else 0.0,
        bool(entry.get("isBackwardNode", False)),
        None if colour is None else f"class{shown(colour, 40)}",
        hop / per_second,
    )


def _bandwidth(entries: Sequence[Any], per_second: float) -> float:
    """Bytes per second between accelerator and host: the most common quotient of an edge's size and cost."""
    sized = (e for e in entries if isinstance(e.get("size"), int | float) and e["cost"] > 0 and 0 < e["size"] < 1e18)
    quotients = Counter(round(e["size"] / e["cost"]) for e in sized if 1 <= e["size"] / e["cost"] < LARGEST)
    return quotients.most_common(1)[0][0] * per_second if quotients else BANDWIDTH


def _object(source: JsonSource, entry: Any, steps: list[Step]) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise source.error(steps, f"must be an object (got {shown(entry)})")
    return entry


def _list(source: JsonSource, root: dict[str, Any], key: str) -> list[Any]:
    value = root.get(key)
    if not isinstance(value, list):
        found = "is missing: a list is expected here" if key not in root else f"must be a list (got {shown(value)})"
        raise source.error([key], found)
    return list(value)


def _count(source: JsonSource, root: dict[str, Any], key: str) -> int:
    value = _amount(source, root, [key])
    if value != int(value) or value > 10_000:
        raise source.error([key], f"must be a whole number of devices, at most 10000 (got {shown(value)})")
    return int(value)


def _amount(source: JsonSource, entry: dict[str, Any], steps: Sequence[Step]) -> float:
    """A number that is finite and not negative; true and false count as 1 and 0. The last step is its key."""
    value = entry.get(str(steps[-1]))
    if not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        what = "is missing" if value is None else f"must be a number from 0 to {LARGEST:g} (got {shown(value)})"
        raise source.error(steps, what)
    return float(value) if value >= SMALLEST else 0.0
