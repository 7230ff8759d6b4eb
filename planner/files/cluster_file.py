"""``cluster.yaml``: its format, declared once, and its reader."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from planner.files.errors import did_you_mean, shown
from planner.files.shapes import (
    Choice,
    Entry,
    Field,
    ListOf,
    MapOf,
    Name,
    OrNull,
    Quantity,
    Record,
    Schema,
    SchemaName,
    Whole,
    json_schema,
    read_root,
)
from planner.files.shipped import cluster_text
from planner.files.yaml_source import Source, read_source, source_of
from planner.problem.cluster import Cluster, Device, DeviceType, Link, NetworkLevel
from planner.problem.quantities import BYTES, BYTES_PER_SECOND, FLOP_PER_SECOND, FRACTION, SECONDS

MAX_DEVICES = 100_000

_MEMORY = OrNull(Quantity(BYTES))
_LEVEL_FIELDS = {
    "bandwidth": Field(
        OrNull(Quantity(BYTES_PER_SECOND, positive=True, when_zero="leave it out if only latency counts")),
        "Bytes per second. Left out: a transfer takes the latency only.",
    ),
    "latency": Field(Quantity(SECONDS), "Seconds before the first byte arrives. Default 0."),
}

DEVICE_TYPE = Record(
    "device type",
    "What devices of one type have in common.",
    {
        "memory": Field(_MEMORY, "Bytes a device has. Left out: no cap."),
        "peak_flops": Field(OrNull(Quantity(FLOP_PER_SECOND, positive=True)), "FLOP per second."),
        "memory_bandwidth": Field(OrNull(Quantity(BYTES_PER_SECOND, positive=True)), "Bytes per second."),
        "efficiency": Field(
            Quantity(FRACTION, positive=True, most=1.0, when_zero="it is the share of peak_flops that is reached"),
            "Share of peak_flops that is reached, above 0 and at most 1. Default 1.",
        ),
        "transfers": Field(
            Choice(("overlap", "exclusive")),
            "overlap (default): a transfer occupies its channel only; exclusive: the compute stream as well.",
        ),
    },
    or_null=True,
)

DEVICE = Record(
    "device",
    "One device, or with count a group of them: gpu0, gpu1, ...",
    {
        "name": Field(Name(), "The device's name, or that of its group.", required=True),
        "type": Field(Name(), "One of device_types.", required=True),
        "count": Field(Whole(1, MAX_DEVICES), "Number of devices, named by number from 0."),
        "node": Field(OrNull(Name()), "The node it sits in. Devices without one share one."),
        "nodes": Field(Whole(1, MAX_DEVICES), "Number of nodes, each with count devices. Default 1."),
        "memory": Field(_MEMORY, "Bytes it has, in place of its type's."),
    },
    rules={"dependentRequired": {"nodes": ["count"]}, "not": {"required": ["node", "nodes"]}},
)

LEVEL = Record("network level", "Bandwidth and latency of transfers.", _LEVEL_FIELDS)

LINK = Record(
    "link",
    "One direction between two devices.",
    {
        "from": Field(Name(), "The device that sends.", required=True),
        "to": Field(Name(), "The device that receives.", required=True),
        **_LEVEL_FIELDS,
    },
)

NETWORK = Record(
    "network",
    "Bandwidth and latency of transfers; those that it leaves out are free.",
    {
        "within_node": Field(OrNull(LEVEL), "Between devices of one node."),
        "between_nodes": Field(OrNull(LEVEL), "Between devices of different nodes."),
        "links": Field(OrNull(ListOf(LINK, "links")), "Single directions, which override the levels."),
    },
)

CLUSTER = Record(
    "cluster",
    "Devices, their types and the network between them.",
    {
        "schema": Field(SchemaName("cluster"), "The format of this file.", required=True),
        "name": Field(Name(), "Default: the file's name without its ending."),
        "device_types": Field(MapOf(DEVICE_TYPE, "device types", least=1), "By name.", required=True),
        "devices": Field(ListOf(DEVICE, "devices", least=1), "Devices and groups of them.", required=True),
        "network": Field(OrNull(NETWORK), "Left out: transfers are free."),
    },
)


def read_cluster(path: Path) -> Cluster:
    """Read a ``planner/cluster@1`` file: validated, its groups expanded into devices.

    ``TYPE:NODESxGPUS``, where no such file exists, is a shipped cluster: ``h100:8x8`` has 8 nodes of 8 H100. Raises
    ``InputError`` with file, line and field for whatever is wrong.
    """
    named = None if os.path.exists(path) else cluster_text(str(path))
    return cluster_of(read_source(path) if named is None else source_of(named.encode(), path))


def cluster_of(source: Source) -> Cluster:
    """The cluster that a source describes; raises ``InputError``."""
    root = read_root(CLUSTER, source.root, source.path)
    types = {name: _device_type(name, entry) for name, entry in root.values["device_types"].items()}
    devices = _devices(root.values["devices"], types)
    network: Entry | None = root.get("network")
    return Cluster(
        name=root.get("name", source.default_name),
        devices=devices,
        types=types,
        within_node=_level(network.get("within_node")) if network else None,
        between_nodes=_level(network.get("between_nodes")) if network else None,
        links=_links(network.get("links", []), devices) if network else (),
        sha256=source.sha256,
        path=str(source.path),
    )


def cluster_schema() -> Schema:
    """The JSON Schema of ``cluster.yaml``."""
    return json_schema(CLUSTER, "planner cluster", "planner/cluster@1")


def _device_type(name: str, entry: Entry) -> DeviceType:
    return DeviceType(
        name=name,
        memory=entry.get("memory"),
        peak_flops=entry.get("peak_flops"),
        memory_bandwidth=entry.get("memory_bandwidth"),
        efficiency=entry.get("efficiency", 1.0),
        exclusive_transfers=entry.get("transfers") == "exclusive",
    )


def _devices(entries: Sequence[Entry], types: Mapping[str, DeviceType]) -> tuple[Device, ...]:
    """Expand groups; refuse names that would be ambiguous in an operator's ``devices``."""
    devices: list[Device] = []
    line_of: dict[str, int] = {}  # device and group names
    for entry in entries:
        name: str = entry.values["name"]
        type_name: str = entry.values["type"]
        count: int | None = entry.get("count")
        if type_name not in types:
            entry.at("type").fail(f"no device type is called {shown(type_name)}: {did_you_mean(type_name, types)}")
        nodes: int | None = entry.get("nodes")
        if nodes is not None:
            if count is None:
                entry.at("nodes").fail("says how many nodes have count devices each: give count, too")
            if "node" in entry.data:
                entry.at("nodes").fail("makes nodes of its own: leave out node")
        if len(devices) + (count or 1) * (nodes or 1) > MAX_DEVICES:
            key = "count" if nodes is None else "nodes"
            entry.at(key).fail(f"makes more than {MAX_DEVICES:,} devices in all: lower it")
        members = [name] if count is None else [f"{name}{i}" for i in range(count * (nodes or 1))]
        for taken in dict.fromkeys([name, *members]):
            if taken in line_of:
                entry.at("name").fail(
                    f"the name {shown(taken)} of a device or group is taken by the entry in line "
                    f"{line_of[taken]}: rename one"
                )
            if taken in types and taken != type_name:
                entry.at("name").fail(
                    f"{shown(taken)} is the name of another device type than its own, so that it would mean "
                    "two things: rename one"
                )
            line_of[taken] = entry.place.line
        kind = types[type_name]
        memory = entry.get("memory", kind.memory)
        for i, member in enumerate(members):
            node = entry.get("node") if nodes is None or count is None else f"{name}-node{i // count}"
            devices.append(Device(member, name, kind, node, memory))
    return tuple(devices)


def _level(entry: Entry | None) -> NetworkLevel | None:
    return None if entry is None else NetworkLevel(entry.get("bandwidth"), entry.get("latency", 0.0))


def _links(entries: Sequence[Entry], devices: Sequence[Device]) -> tuple[Link, ...]:
    names = {device.name for device in devices}
    groups = {device.group: device.name for device in devices if device.group not in names}
    links: dict[tuple[str, str], Link] = {}
    line_of: dict[tuple[str, str], int] = {}
    for entry in entries:
        ends: tuple[str, str] = (entry.values["from"], entry.values["to"])
        for key, end in zip(("from", "to"), ends, strict=True):
            if end in groups:
                entry.at(key).fail(f"{shown(end)} is a group: name one device of it, such as {groups[end]!r}")
            if end not in names:
                near = did_you_mean(end, [device.name for device in devices[:2000]])
                entry.at(key).fail(f"no device is called {shown(end)}: {near}")
        if ends[0] == ends[1]:
            entry.at("to").fail("a link joins two devices, this one joins a device to itself: remove it")
        if ends in links:
            entry.at("from").fail(
                f"the link from {shown(ends[0])} to {shown(ends[1])} stands twice (first in line "
                f"{line_of[ends]}): remove one"
            )
        level = _level(entry)
        assert level is not None
        links[ends] = Link(*ends, level)
        line_of[ends] = entry.place.line
    return tuple(links.values())
