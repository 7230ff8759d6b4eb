"""Seconds of collectives and sends: inside a node by measured curves, across nodes by bandwidth, latency and rails.

``size`` is always the whole buffer in bytes: of all_gather what each rank holds afterwards, of reduce_scatter what each
rank holds before, of all_reduce the buffer of each rank, of all_to_all what each rank sends, its own part included.
These are the sizes of nccl-tests (github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from planner.costs.accelerator import LINKS, Accelerator
from planner.costs.curves import LinkCurve, link_time

OPERATIONS = tuple(op for op in LINKS if op != "send")

NETWORK_EFFICIENCY = 0.73
"""Share of the line rate that a send between two nodes reaches.

H100, 400 Gb/s a GPU: 36.5 of 50 GB/s, the slope between 34 and 67 MB in h100_dgx_send_recv.csv (microsoft/vidur, MIT).
"""


@dataclass(frozen=True)
class Network:
    """The network between nodes, for each GPU with all GPUs of a node sending at once: its rail."""

    bandwidth: float  # bytes/s of line rate, one direction
    latency: float  # seconds from node to node, software included
    efficiency: float = NETWORK_EFFICIENCY  # share of the line rate that is reached

    @property
    def rate(self) -> float:
        """Bytes/s that a GPU sends to another node."""
        return self.bandwidth * self.efficiency


def sent_bytes(op: str, size: Any, ranks: Any) -> Any:
    """Bytes that each rank sends: (r - 1) / r of the buffer, twice that in all_reduce.

    all_reduce is counted as reduce_scatter and all_gather, also where switches add up (NVLS) and less is sent:
    then its curve has the bandwidth of a ring that were as fast.
    """
    return (2 if op == "all_reduce" else 1) * size * (ranks - 1) / ranks


def collective_seconds(
    acc: Accelerator, op: str, size_bytes: float, ranks: int, per_node: int, network: Network | None
) -> float:
    """Seconds of a collective of ``ranks`` ranks, ``per_node`` of them in each node.

    Across nodes: each of the g ranks of a node drives a ring (or tree) of its own over its rail with a g-th of the
    buffer; the part inside the node overlaps, so that the slower one counts. Latency: that of the steps of a ring, and
    for all_reduce of a double binary tree where that is faster (Sanders, Speck, Träff 2009; NCCL since 2.4).
    Raises ``ValueError`` for an unknown operation, for no network where one is needed, or where ``acc`` has no curve.
    """
    if op not in OPERATIONS:
        raise ValueError(f"no collective is called {op!r}: there are {', '.join(OPERATIONS)}")
    if ranks < 1 or per_node < 1 or size_bytes < 0:
        raise ValueError(
            f"{op} of {size_bytes} bytes, {ranks} ranks, {per_node} a node: no number may be negative or 0"
        )
    if ranks == 1:
        return 0.0
    inside = min(ranks, per_node)
    nodes = math.ceil(ranks / inside)
    if nodes == 1:
        return _link(_curve(acc, op), sent_bytes(op, size_bytes, ranks), ranks)
    if network is None:
        raise ValueError(f"{op} of {ranks} ranks on {nodes} nodes needs a network")
    share = (inside - 1) / ranks if op == "all_to_all" else (2 if op == "all_reduce" else 1) * (ranks - 1) / ranks
    near, hop = acc.launch, 0.0
    if inside > 1:
        curve = _curve(acc, op)
        near, hop = _link(curve, size_bytes * share, inside), curve.per_rank
    if op == "all_to_all":
        return max(near, acc.launch + size_bytes * (ranks - inside) / ranks / network.rate) + network.latency
    # near has the hops of one node; a ring passes through those of the others as well
    rounds = 2 if op == "all_reduce" else 1
    hops = hop * (ranks - nodes - (inside - 1))
    ring = rounds * (nodes - 1) * network.latency + hops
    far = acc.launch + size_bytes * share / inside / network.rate
    seconds = max(near, far) + ring
    if op == "all_reduce":
        tree = 2 * math.ceil(math.log2(nodes)) * network.latency
        seconds = min(seconds, max(near, acc.launch + 2 * size_bytes / inside / network.rate) + tree)
    return seconds


def send_seconds(acc: Accelerator, size_bytes: float, inside_node: bool, network: Network | None) -> float:
    """Seconds of a send of ``size_bytes`` from one GPU to another.

    Raises ``ValueError`` where ``acc`` has no curve of sends, or for no network between nodes.
    """
    if size_bytes < 0:
        raise ValueError(f"a send of {size_bytes} bytes: it must not be negative")
    if inside_node:
        return _link(_curve(acc, "send"), size_bytes, 2)
    if network is None:
        raise ValueError("a send between nodes needs a network")
    return acc.launch + network.latency + size_bytes / network.rate


def _curve(acc: Accelerator, op: str) -> LinkCurve:
    curve = acc.links.get(op)
    if curve is None:
        raise ValueError(f"{acc.name} has no curve of {op} inside a node: its calibration has no table of collectives")
    return curve


@lru_cache(maxsize=100_000)
def _link(curve: LinkCurve, size: float, ranks: int) -> float:
    return float(link_time(curve, size, ranks)[0])
