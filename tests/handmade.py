"""Small problems, and a simple sequential scheduler that makes valid timetables for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from planner.problem import (
    Cluster,
    Device,
    DeviceType,
    Graph,
    Mode,
    NetworkLevel,
    Operator,
    Pass,
    Placement,
    Problem,
)
from planner.timetable.timetable import TimedTransfer, Timetable

F, I, W = Pass.F, Pass.I, Pass.W


def operator(name: str, *inputs: str, f: float = 1.0, i: float = 1.0, w: float | None = None, **more: Any) -> Operator:
    """An operator with pass times in seconds; no W unless given."""
    times = {F: f, I: i} if w is None else {F: f, I: i, W: w}
    return Operator(name, times, inputs, **more)


def cluster(
    count: int,
    *,
    memory: float | None = None,
    exclusive: bool = False,
    bandwidth: float | None = None,
    latency: float | None = None,
) -> Cluster:
    """Devices gpu0, gpu1, ... of one type; transfers are free unless a latency is given."""
    kind = DeviceType("unit", memory=memory, peak_flops=10.0, memory_bandwidth=4.0, exclusive_transfers=exclusive)
    network = None if latency is None else NetworkLevel(bandwidth, latency)
    return Cluster(
        "small",
        tuple(Device(f"gpu{d}", "gpu", kind, None, memory) for d in range(count)),
        {"unit": kind},
        within_node=network,
        sha256="c" * 64,
    )


def graph(*operators: Operator, microbatches: int = 1, mode: Mode = Mode.TRAINING) -> Graph:
    return Graph("tiny", mode, microbatches, operators, sha256="a" * 64)


def problem(the_graph: Graph, the_cluster: Cluster, *, copies: int = 1, **more: Any) -> Problem:
    return Problem(the_graph, the_cluster, the_graph.microbatches, copies=copies, **more)


def sequential(
    posed: Problem,
    device_of: Sequence[Sequence[int]],
    copy_of: Sequence[int] | None = None,
    variant_of: Sequence[tuple[int, ...]] = (),
) -> Timetable:
    """Microbatch after microbatch, every task and transfer as early as what came before it lets it."""
    copy_of = tuple(copy_of or [0] * posed.microbatches)
    placement = Placement(tuple(tuple(devices) for devices in device_of), "by hand", tuple(variant_of))
    own = posed.of_copies(placement)
    start = np.full((posed.n_operators, 3, posed.microbatches), np.nan)
    end = np.full_like(start, np.nan)
    free: dict[tuple[object, ...], float] = defaultdict(float)  # of streams and channels
    transfers: list[TimedTransfer] = []
    consumers = posed.consumers

    def run(i: int, p: int, m: int, after: list[float]) -> None:
        d = device_of[copy_of[m]][i]
        stream = ("comm" if posed.on_comm[i] else "compute", d)
        start[i, p, m] = max([0.0, free[stream], *after])
        end[i, p, m] = start[i, p, m] + own[copy_of[m]].duration[i, p, d]
        free[stream] = end[i, p, m]

    def send(i: int, p: int, m: int, channel: tuple[int, int], after: float) -> float:
        source, target = channel
        seconds = posed.transfer(i, source, target)
        if seconds == 0:
            return after
        used = [("channel", source, target), *(("compute", d) for d in (source, target) if posed.exclusive[d])]
        begin = max([after, *(free[u] for u in used)])
        for u in used:
            free[u] = begin + seconds
        transfers.append(TimedTransfer(i, p, m, source, target, begin, begin + seconds))
        return begin + seconds

    for m in range(posed.microbatches):
        where = device_of[copy_of[m]]
        arrived: dict[tuple[int, int], float] = {}
        for i in posed.topological:
            run(i, 0, m, [arrived[j, where[i]] for j in posed.inputs[i]])
            arrived[i, where[i]] = end[i, 0, m]
            for target in sorted({where[c] for c in consumers[i]} - {where[i]}):
                arrived[i, target] = send(i, 0, m, (where[i], target), end[i, 0, m])
        if not posed.training:
            continue
        for i in reversed(posed.topological):
            after = [end[i, 0, m]]
            for away in sorted({where[c] for c in consumers[i]}):
                read = max(end[c, 1, m] for c in consumers[i] if where[c] == away)
                after.append(read if away == where[i] else send(i, 1, m, (away, where[i]), read))
            run(i, 1, m, after)
            if own[copy_of[m]].has_pass[i, 2]:
                run(i, 2, m, [end[i, 1, m]])
    return Timetable(placement, copy_of, start, tuple(transfers))
