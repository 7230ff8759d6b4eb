"""The cluster: devices of several types, their memory and speed, and the network between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DeviceType:
    """What devices of one type have in common. ``None`` for memory is no cap, for a rate: not known."""

    name: str
    memory: float | None = None  # bytes
    peak_flops: float | None = None  # FLOP/s
    memory_bandwidth: float | None = None  # bytes/s
    efficiency: float = 1.0  # of peak_flops
    exclusive_transfers: bool = False  # a transfer also occupies the compute stream of this device


@dataclass(frozen=True, slots=True)
class Device:
    """One device. ``group`` is the name of the entry it comes from (``gpu`` for gpu0 ... gpu7)."""

    name: str
    group: str
    type: DeviceType
    node: str | None = None  # devices without a node share one
    memory: float | None = None  # bytes; already the type's where the device names none

    def answers_to(self, name: str) -> bool:
        """Whether ``name`` is this device's name, its group's or its type's."""
        return name in (self.name, self.group, self.type.name)


@dataclass(frozen=True, slots=True)
class NetworkLevel:
    """Time of a transfer: latency + bytes / bandwidth; no bandwidth: the latency alone."""

    bandwidth: float | None = None  # bytes/s
    latency: float = 0.0  # seconds

    def seconds(self, size: float) -> float:
        """Seconds that ``size`` bytes take."""
        return self.latency + (size / self.bandwidth if self.bandwidth is not None else 0.0)


@dataclass(frozen=True, slots=True)
class Link:
    """A single direction between two devices, which overrides the levels."""

    source: str
    target: str
    level: NetworkLevel


@dataclass(frozen=True, slots=True)
class Cluster:
    """Devices with unique names, in the file's order, and the network that joins them."""

    name: str
    devices: tuple[Device, ...]
    types: Mapping[str, DeviceType] = field(default_factory=dict)
    within_node: NetworkLevel | None = None  # None: free
    between_nodes: NetworkLevel | None = None  # None: free
    links: tuple[Link, ...] = ()
    sha256: str = ""
    path: str = ""
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _links: Mapping[tuple[str, str], NetworkLevel] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the names; the readers report bad names with file and line before this point."""
        index = {device.name: i for i, device in enumerate(self.devices)}
        if len(index) != len(self.devices):
            raise ValueError("device names must be unique")
        for link in self.links:
            if link.source not in index or link.target not in index:
                raise ValueError(f"link {link.source} -> {link.target} names an unknown device")
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "_links", {(k.source, k.target): k.level for k in self.links})

    def names(self) -> set[str]:
        """Every name that an operator may use for devices: devices, groups and types."""
        return set(self.index) | {d.group for d in self.devices} | set(self.types)

    def level(self, source: str, target: str) -> NetworkLevel | None:
        """The network between two devices of these names, one direction; None where it is free."""
        if source == target:
            return None
        level = self._links.get((source, target))
        if level is not None:
            return level
        same = self.devices[self.index[source]].node == self.devices[self.index[target]].node
        return self.within_node if same else self.between_nodes

    def transfer_seconds(self, source: str, target: str, size: float) -> float:
        """Seconds that ``size`` bytes take from one device to another (0 on the same device)."""
        level = self.level(source, target)
        return 0.0 if level is None else level.seconds(size)
