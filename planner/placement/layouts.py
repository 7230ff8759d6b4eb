"""Placements of the known pipeline families: contiguous stages, assigned to the devices in a pattern."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from planner.placement.gathering import gathered_segments
from planner.problem import Impossible, Placement, Problem
from planner.problem.partition import atoms, partition, partition_of, shares_devices
from planner.problem.segments import Segment

LAYOUTS: tuple[str, ...] = ("linear", "interleaved", "vshape", "wave", "bidirectional")
"""The families by name; ``auto`` tries them all and free placements besides."""

CHUNKED: tuple[str, ...] = ("interleaved", "wave")
"""Those that take any number of chunks a device."""

CUTS_AT_MOST = 20_000
"""Placements of a layout that are enumerated if nothing else fits."""

CHUNK_COUNTS = (2, 3, 4, 6, 8)
"""What ``auto`` tries, besides one layer a chunk: more chunks mean more transfers for little less latency."""

HEAVY = 1 / 3
"""Share of the last segment in an even load of a device, from which on ``auto`` tries it apart from the loop."""


LIGHT = 0.1
"""Share of an operator in the mean work of one, below which it is hardly any."""


def check_layout(layout: str, copies: int, chunks: int | None) -> None:
    """Raise ``ValueError`` where a layout is unknown, or does not go with the copies or the chunks a device."""
    if layout not in ("auto", *LAYOUTS):
        raise ValueError(f"layout must be one of auto, {', '.join(LAYOUTS)}; got {layout!r}")
    if layout == "bidirectional" and copies < 2:
        raise ValueError("layout bidirectional runs two copies of every operator: allow 2 copies")
    if chunks is not None and chunks < 1:
        raise ValueError("chunks must be at least 1")
    if chunks is None or layout in ("auto", *CHUNKED):
        return
    takes = 2 if layout == "vshape" else 1
    if chunks != takes:
        raise ValueError(
            f"layout {layout} has {takes} chunk{'s' if takes > 1 else ''} a device, not {chunks}: leave them out, or "
            f"choose the layout {' or '.join(CHUNKED)}"
        )


def stage_hosts(layout: str, devices: Sequence[int], chunks: int) -> list[tuple[int, ...]]:
    """The devices that host each stage, copy by copy: ``hosts[s][k]`` runs copy k of stage s.

    linear: stage s on device s. interleaved: stage s on device s mod P. vshape: there and back, two chunks a
    device. wave: there and back again, ``chunks`` times. bidirectional: copy 0 as linear, copy 1 mirrored.
    """
    forth, back = list(devices), list(reversed(devices))
    if layout == "bidirectional":
        return list(zip(forth, back, strict=True))
    directions: dict[str, Callable[[int], list[int]]] = {
        "linear": lambda _: forth,
        "interleaved": lambda _: forth,
        "vshape": lambda c: back if c % 2 else forth,
        "wave": lambda c: back if c % 2 else forth,
    }
    stage_rounds = {"linear": 1, "vshape": 2}.get(layout, chunks)
    return [(d,) for c in range(stage_rounds) for d in directions[layout](c)]


def family_placement(
    problem: Problem,
    layout: str,
    devices: Sequence[int],
    chunks: int,
    in_flight: Sequence[int] | None = None,
    segments: Sequence[Segment] | None = None,
    ends_apart: bool = False,
) -> Placement | None:
    """The balanced contiguous placement of a family; None where the graph, ``devices`` or memory do not allow it.

    ``in_flight[s]``: microbatches whose activations stage s must be able to hold; None leaves memory aside.
    ``segments``: what is cut, where it is not the topological order (see ``gathered_segments``). ``ends_apart``: the
    first and the last stage are on the last device, and the layout is that of the others.
    """
    if ends_apart:
        end = (devices[-1],)
        hosts = [end, *stage_hosts(layout, devices[:-1], chunks), end]
    else:
        hosts = stage_hosts(layout, devices, chunks)
    stages = (
        partition(problem, hosts, in_flight) if segments is None else partition_of(problem, segments, hosts, in_flight)
    )
    if stages is None:
        return None
    device_of = [[0] * problem.n_operators for _ in hosts[0]]
    for stage, those in zip(stages, hosts, strict=True):
        for copy, d in enumerate(those):
            for i in stage:
                device_of[copy][i] = d
    if ends_apart:
        _move_embedding(problem, device_of[0], devices[0])
    name = layout if layout in ("linear", "vshape", "bidirectional") else f"{layout} x{chunks}"
    if len(devices) < problem.n_devices:
        name += f" on {len(devices)} devices"
    if in_flight is not None:
        name += ", cut by memory"
    if segments is not None:
        name += ", labels gathered"
    if ends_apart:
        name += ", ends apart"
    return Placement(tuple(map(tuple, device_of)), name)


def _move_embedding(problem: Problem, device_of: list[int], device: int) -> None:
    """Give the first operator to another device, if it is hardly any work but has a gradient to reduce at the end.

    Otherwise the device of the head would have both of the largest gradients and weights to exchange after the step.
    """
    first = problem.topological[0]
    alone = all(len(members) == 1 for members in problem.groups if first in members)
    work = problem.default.duration[:, :, device].sum(axis=1)
    if alone and work[first] < work.mean() * LIGHT and problem.step_duration[first].max() > 0:
        device_of[first] = device


@dataclass(frozen=True)
class Family:
    """The arguments of ``family_placement``."""

    layout: str
    devices: range
    chunks: int
    in_flight: Sequence[int] | None
    segments: Sequence[Segment] | None
    ends_apart: bool = False

    def placement(self, problem: Problem) -> Placement | None:
        """The placement of the family on a problem, or the same one in other versions."""
        return family_placement(
            problem, self.layout, self.devices, self.chunks, self.in_flight, self.segments, self.ends_apart
        )


def any_family(family: Family) -> bool:
    """All families are wanted."""
    return True


def on_all_devices(problem: Problem) -> Callable[[Family], bool]:
    """Whether a family uses as many devices as any does."""
    most = max((len(family.devices) for family in families(problem)), default=0)
    return lambda family: len(family.devices) == most


def families(problem: Problem) -> Iterator[Family]:
    """The families that the flags allow, with several numbers of devices and chunks, cut by time and by memory."""
    for layout in LAYOUTS if problem.layout == "auto" else (problem.layout,):
        if layout == "bidirectional" and problem.copies < 2:
            continue
        for segments in [None, *(gathered_segments(problem) if problem.layout == "auto" else [])]:
            apart = layout not in ("linear", "bidirectional")
            most = len(atoms(problem, apart) if segments is None else segments)
            for devices in _device_sets(problem, most):
                for chunks in _chunk_counts(problem, layout, len(devices), most):
                    for in_flight in _rooms(problem, layout, devices, chunks):
                        yield Family(layout, devices, chunks, in_flight, segments)
    if problem.layout == "auto" and _ends_heavily(problem):
        devices = range(problem.n_devices)
        for layout in CHUNKED:
            for chunks in _chunk_counts(problem, layout, len(devices) - 1, len(atoms(problem, True)) - 2):
                yield Family(layout, devices, chunks, None, None, ends_apart=True)


def _ends_heavily(problem: Problem) -> bool:
    """Whether the last segment (the head of a language model) is so much work that a loop has no place for it.

    All microbatches turn there, one after the other: what else its device has to do then delays them all.
    """
    if not problem.training or problem.n_devices < 3 or len(problem.device_classes) > 1:
        return False
    work = np.where(problem.on_comm, 0.0, problem.relaxed.duration.sum(axis=1).min(axis=1))
    last = math.fsum(work[i] for i in atoms(problem, True)[-1])
    return last >= HEAVY * math.fsum(work) / problem.n_devices


def family_placements(problem: Problem, wanted: Callable[[Family], bool] = any_family) -> Iterator[Placement]:
    """The placements of the families that are wanted and that the flags allow, each once.

    Balanced by time first; where memory is short, also cut so that what 1F1B holds fits, or at least one microbatch.
    Raises ``Impossible`` where a layout was asked for that the graph cannot be cut into.
    """
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for family in filter(wanted, families(problem)):
        placement = family.placement(problem)
        if placement is not None and placement.device_of not in seen:
            seen.add(placement.device_of)
            yield placement
    if not seen and problem.layout != "auto":
        fewest = 2 if problem.layout in ("interleaved", "wave") else 1
        hosts = stage_hosts(problem.layout, range(problem.n_devices), problem.chunks or fewest)
        if _label_may_be_apart(problem, hosts):
            return  # not every cut was tried
        segments_left = len(atoms(problem, shares_devices(hosts)))
        raise Impossible(
            f"no placement of layout {problem.layout}: the topological order nearest to the file's falls into "
            f"{segments_left} atomic segments (operators, or the span of a colocate label), and {len(hosts)} stages on "
            f"{problem.n_devices} devices are asked for, or devices, labels and pass times allow no such cut"
        )


def _label_may_be_apart(problem: Problem, hosts: Sequence[Sequence[int]]) -> bool:
    """Whether a label's operators might be in several stages of one device, in a cut that ``partition`` overlooks."""
    if len(problem.groups) == problem.n_operators or problem.n_operators < len(hosts) or not shares_devices(hosts):
        return False
    ends = {problem.segments.operators[0][0], problem.segments.operators[-1][0]}
    return hosts[0] == hosts[-1] or not any(ends <= set(members) for members in problem.groups)


def all_cuts(problem: Problem) -> Iterator[Placement] | None:
    """Every placement of the layout that was asked for; None where there are too many, or it names no layout.

    That is every contiguous cut of the topological order that is nearest to the file's; some may have operators of a
    label on two devices. Without ``chunks`` given, interleaved and wave have any number of them that the graph can be
    cut into.
    """
    if problem.layout == "auto":
        return None
    devices = range(problem.n_devices)
    most = problem.n_operators // problem.n_devices
    chunks = range(1, most + 1) if problem.layout in ("interleaved", "wave") else (1,)
    if problem.chunks is not None:
        chunks = (problem.chunks,)
    patterns = {tuple(stage_hosts(problem.layout, devices, c)) for c in chunks}
    # a label's operators may be in any stages of one device
    cut = {
        hosts: problem.segments.operators if shares_devices(hosts) else problem.segments.joined for hosts in patterns
    }
    if sum(math.comb(len(segments) - 1, len(hosts) - 1) for hosts, segments in cut.items()) > CUTS_AT_MOST:
        return None
    return (
        _cut(problem, cut[hosts], hosts, cuts)
        for hosts in sorted(patterns)
        for cuts in _cuts(len(cut[hosts]), len(hosts))
    )


def _cuts(segments: int, stages: int) -> Iterator[tuple[int, ...]]:
    for inner in combinations(range(1, segments), stages - 1):
        yield (0, *inner, segments)


def _cut(
    problem: Problem, segments: Sequence[Sequence[int]], hosts: Sequence[Sequence[int]], cuts: Sequence[int]
) -> Placement:
    device_of = [[0] * problem.n_operators for _ in hosts[0]]
    for (low, high), those in zip(pairwise(cuts), hosts, strict=True):
        for copy, d in enumerate(those):
            for segment in segments[low:high]:
                for i in segment:
                    device_of[copy][i] = d
    return Placement(tuple(map(tuple, device_of)), f"{problem.layout}, all cuts enumerated")


def _rooms(problem: Problem, layout: str, devices: Sequence[int], chunks: int) -> Iterator[list[int] | None]:
    """``in_flight`` to try: None; if memory is capped, also what baselines hold, and one microbatch for each stage."""
    yield None
    if not np.isfinite(problem.cap).any():
        return
    stages, most = len(stage_hosts(layout, devices, chunks)), problem.microbatches
    if layout == "linear":
        yield [min(most, stages - s) for s in range(stages)]  # what 1F1B holds
    elif layout == "bidirectional":
        yield [max(1, min(most, len(devices)) // 2)] * stages
    if layout in (problem.layout, "linear"):
        yield [1] * stages


def only_placement(problem: Problem) -> Placement | None:
    """The placement that the flags leave, exchanges of like devices aside; None where they leave a choice.

    A single one is left for a layout that was asked for by name, with as many copies as it has, on like devices, if the
    graph has one topological order and every stage holds exactly one segment of it: then there is no other cut.
    """
    if problem.free or problem.layout == "auto" or len(problem.device_classes) != 1 or not problem.is_chain:
        return None
    if problem.copies != (2 if problem.layout == "bidirectional" else 1):
        return None
    if problem.layout in ("interleaved", "wave") and problem.chunks is None:
        return None
    devices, chunks = range(problem.n_devices), problem.chunks or 1
    if len(stage_hosts(problem.layout, devices, chunks)) != problem.n_operators:
        return None
    return family_placement(problem, problem.layout, devices, chunks)


def _device_sets(problem: Problem, segments: int) -> list[range]:
    """All devices; for ``auto`` also whole nodes of about half of them, since a slow network may make fewer better."""
    if problem.layout != "auto":
        return [range(problem.n_devices)]
    sizes = {min(problem.n_devices, segments)}
    nodes = [d.node for d in problem.cluster.devices]
    ends = [k for k, (a, b) in enumerate(pairwise(nodes), start=1) if a != b and k <= segments]
    if ends:  # whole nodes, about half of the devices
        sizes.add(min(ends, key=lambda k: (abs(k - problem.n_devices / 2), k)))
    return [range(n) for n in sorted(sizes, reverse=True)]


def _chunk_counts(problem: Problem, layout: str, n_devices: int, segments: int) -> list[int]:
    if layout in ("linear", "bidirectional"):
        return [1] if n_devices <= segments else []
    if layout == "vshape":
        return [2] if problem.chunks in (None, 2) and 2 * n_devices <= segments else []
    if problem.chunks is not None:
        return [problem.chunks] if problem.chunks * n_devices <= segments else []
    counts = sorted({c for c in (*CHUNK_COUNTS, _layers(problem) // n_devices) if 1 < c <= segments // n_devices})
    return counts if layout == "interleaved" else [c for c in counts if c > 2]


def _layers(problem: Problem) -> int:
    """How often the most frequent compute operator comes, of those that take the same times."""
    kinds = Counter(row.tobytes() for row in problem.default.duration[~problem.on_comm])
    return max(kinds.values(), default=0)
