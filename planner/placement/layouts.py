"""Placements of the known pipeline families: contiguous stages, dealt to the devices in a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from planner.problem import Impossible, Placement, Problem
from planner.problem.partition import atoms, partition

LAYOUTS: tuple[str, ...] = ("linear", "interleaved", "vshape", "wave", "bidirectional")
"""The families by name; ``auto`` tries them all and free placements besides."""

CHUNKS_AT_MOST = 16
"""``auto`` looks no further: more chunks a device mean more transfers for little less latency."""


def stage_hosts(layout: str, devices: Sequence[int], chunks: int) -> list[tuple[int, ...]]:
    """The devices that host each stage, copy by copy: ``hosts[s][k]`` runs copy k of stage s.

    linear: stage s on device s. interleaved: stage s on device s mod P. vshape: there and back, two chunks a
    device. wave: there and back again, ``chunks`` times. bidirectional: copy 0 as linear, copy 1 mirrored.
    """
    forth, back = list(devices), list(reversed(devices))
    if layout == "bidirectional":
        return list(zip(forth, back, strict=True))
    lap = {
        "linear": lambda _: forth,
        "interleaved": lambda _: forth,
        "vshape": lambda c: back if c % 2 else forth,
        "wave": lambda c: back if c % 2 else forth,
    }[layout]
    laps = {"linear": 1, "vshape": 2}.get(layout, chunks)
    return [(d,) for c in range(laps) for d in lap(c)]


def family_placement(
    problem: Problem, layout: str, devices: Sequence[int], chunks: int, in_flight: Sequence[int] | None = None
) -> Placement | None:
    """The balanced contiguous placement of a family; None where the graph, ``devices`` or memory do not allow it.

    ``in_flight[s]``: microbatches whose activations stage s must have room for; None leaves memory aside.
    """
    hosts = stage_hosts(layout, devices, chunks)
    stages = partition(problem, hosts, in_flight)
    if stages is None:
        return None
    device_of = [[0] * problem.n_operators for _ in hosts[0]]
    for stage, those in zip(stages, hosts, strict=True):
        for copy, d in enumerate(those):
            for i in stage:
                device_of[copy][i] = d
    name = layout if layout in ("linear", "vshape", "bidirectional") else f"{layout} x{chunks}"
    if len(devices) < problem.n_devices:
        name += f" on {len(devices)} devices"
    if in_flight is not None:
        name += ", cut by memory"
    return Placement(tuple(map(tuple, device_of)), name)


def _rooms(problem: Problem, layout: str, devices: Sequence[int], chunks: int) -> list[list[int] | None]:
    """What the stages must have room for: nothing in particular, what 1F1B holds, one microbatch."""
    if not np.isfinite(problem.cap).any():
        return [None]
    hosts = stage_hosts(layout, devices, chunks)
    n, m = len(hosts), problem.microbatches
    one_f_one_b = [min(m, len(devices) - s) if layout == "linear" else min(m, len(devices)) for s in range(n)]
    return [None, [max(1, k) for k in one_f_one_b], [1] * n]


def family_placements(problem: Problem) -> list[Placement]:
    """The placements of the families that the flags allow, each once.

    Raises ``Impossible`` where a layout was asked for that the graph cannot be cut into.
    """
    asked = problem.layout
    layouts = LAYOUTS if asked == "auto" else (asked,)
    found: dict[tuple[tuple[int, ...], ...], Placement] = {}
    pieces = len(atoms(problem))
    for layout in layouts:
        if layout == "bidirectional" and problem.copies < 2:
            continue
        for devices in _device_sets(problem, pieces, asked):
            for chunks in _chunk_counts(problem, layout, len(devices), pieces):
                for in_flight in _rooms(problem, layout, devices, chunks):
                    placement = family_placement(problem, layout, devices, chunks, in_flight)
                    if placement is not None:
                        found.setdefault(placement.device_of, placement)
    if not found and asked != "auto":
        stages = len(stage_hosts(asked, range(problem.n_devices), problem.chunks or 2))
        raise Impossible(
            f"no placement of layout {asked}: the graph falls into {pieces} contiguous pieces (operators, or the "
            f"span of a colocate label), and {stages} stages on {problem.n_devices} devices are asked for, or "
            "devices and pass times allow no such cut"
        )
    return list(found.values())


def is_only_placement(problem: Problem, placement: Placement) -> bool:
    """Whether the flags allow no other placement than this one, exchanges of like devices aside.

    So it is for a layout that was asked for by name where every stage holds exactly one piece: then there is
    nothing to cut otherwise, and all devices are alike.
    """
    if problem.layout not in ("linear", "bidirectional", "vshape") and not (
        problem.chunks and problem.layout != "auto"
    ):
        return False
    chunks = problem.chunks or 2
    stages = stage_hosts(problem.layout, range(problem.n_devices), chunks)
    return len(stages) == len(atoms(problem)) and len(problem.device_classes) == 1 and bool(placement.copies)


def _device_sets(problem: Problem, pieces: int, asked: str) -> list[range]:
    """All devices; for ``auto`` also the first few, where a slow network makes fewer better."""
    if asked != "auto":
        return [range(problem.n_devices)]
    sizes = {min(problem.n_devices, pieces)}
    nodes = [d.node for d in problem.cluster.devices]
    sizes |= {k for k, (a, b) in enumerate(pairwise(nodes), start=1) if a != b and k <= pieces}
    return [range(n) for n in sorted(sizes, reverse=True)]


def _chunk_counts(problem: Problem, layout: str, n_devices: int, pieces: int) -> list[int]:
    if layout in ("linear", "bidirectional"):
        return [1] if n_devices <= pieces else []
    if layout == "vshape":
        return [2] if problem.chunks in (None, 2) and 2 * n_devices <= pieces else []
    if problem.chunks is not None:
        return [problem.chunks] if problem.chunks * n_devices <= pieces else []
    most = min(CHUNKS_AT_MOST, pieces // n_devices)
    counts = [c for c in (2, 3, 4, 6, 8, 12, 16) if c <= most]
    return counts if layout == "interleaved" else [c for c in counts if c > 2]
