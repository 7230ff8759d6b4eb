"""Balanced contiguous stages: where a pipeline cuts the operators of a graph.

A dynamic program over the cuts of the topological order, as PipeDream (Narayanan et al., 2019) does for
layers: first the smallest possible largest load of a stage, then, among the partitions that reach it, the
least transfer time across the cuts, then the most even loads (least sum of squares).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from planner.common.tolerance import SAME
from planner.problem.problem import Problem
from planner.problem.segments import Segment, merged

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

Homes = Mapping[int, tuple[int, ...]]

HOMES_AT_MOST = 64
"""Choices of devices for labels whose operators stand apart that are looked at one by one."""

BLOCK = 1_000_000
"""Pairs of a start and an end that are compared at once."""


def shares_devices(hosts: Sequence[Sequence[int]]) -> bool:
    """Whether several of the stages have the same devices, so that a label's operators may stand apart in them."""
    return len({tuple(those) for those in hosts}) < len(hosts)


def atoms(problem: Problem, shared: bool = False) -> tuple[Segment, ...]:
    """The segments of the topological order that cuts into stages may separate.

    A label's operators stay in one segment, but where stages share devices (``shared``) and operators of others lie
    between them.
    """
    return problem.segments.loose if shared else problem.segments.joined


def partition(
    problem: Problem, hosts: Sequence[Sequence[int]], in_flight: Sequence[int] | None = None
) -> tuple[tuple[int, ...], ...] | None:
    """Cut the operators into ``len(hosts)`` stages; ``hosts[s]`` are the devices that run stage s.

    A bidirectional pipeline has two hosts a stage, a chunked one names a device for several stages. The load
    of a stage is the busier of its two streams over all its passes, on its slowest host. The transfer time
    of a cut is that of all outputs (and gradients) that cross it, between the hosts on its two sides.
    With ``in_flight`` no stage is given more than its hosts' memory holds beside the activations of that many
    microbatches (``in_flight[s]``; what a host holds for other stages is not counted).
    Returns the operators of every stage in topological order, each stage with at least one; None where
    ``devices``, pass times, ``colocate`` and memory leave no such partition, or, of labels whose operators could be
    in several stages of one device, none was found.
    """
    asked = (tuple(map(tuple, hosts)), None if in_flight is None else tuple(in_flight))
    if asked not in problem.partitions:
        problem.partitions[asked] = _best_cut(problem, *asked)
    return problem.partitions[asked]


def partition_of(
    problem: Problem,
    segments: Sequence[Segment],
    hosts: Sequence[Sequence[int]],
    in_flight: Sequence[int] | None = None,
) -> tuple[tuple[int, ...], ...] | None:
    """As ``partition``, of given segments, each whole in one stage; all else that labels ask for is left aside."""
    cuts = _Cuts.of(problem, segments, hosts, in_flight)
    limit = None if cuts is None else cuts.smallest_limit()
    return None if cuts is None or limit is None else _cut(problem, segments, hosts, cuts, limit)


def _cut(
    problem: Problem, segments: Sequence[Segment], hosts: Sequence[Sequence[int]], cuts: _Cuts, limit: float
) -> tuple[tuple[int, ...], ...]:
    places = cuts.best_under(limit, _cut_times(problem, segments, hosts))
    return tuple(tuple(i for segment in segments[a:b] for i in segment) for a, b in pairwise(places))


def _best_cut(
    problem: Problem, hosts: Sequence[Sequence[int]], in_flight: Sequence[int] | None
) -> tuple[tuple[int, ...], ...] | None:
    """The best over the devices that labels could have."""
    best: tuple[float, Sequence[Segment], _Cuts] | None = None
    for segments, homes in _ways(problem, hosts):
        cuts = _Cuts.of(problem, segments, hosts, in_flight, homes)
        limit = None if cuts is None else cuts.smallest_limit()
        if cuts is not None and limit is not None and (best is None or limit < best[0]):
            best = limit, segments, cuts
    return None if best is None else _cut(problem, best[1], hosts, best[2], best[0])


def _ways(problem: Problem, hosts: Sequence[Sequence[int]]) -> Iterator[tuple[Sequence[Segment], Homes]]:
    """Segments, and the hosts to which operators are bound: every choice of hosts for the labels that stand apart.

    Where there are too many choices, labels of short spans are kept in one segment each.
    """
    found = problem.segments
    if not (found.spread and shares_devices(hosts)):
        yield found.joined, {}
        return
    ends = {i: those for segment, those in ((found.loose[0], hosts[0]), (found.loose[-1], hosts[-1])) for i in segment}
    every = tuple(dict.fromkeys(map(tuple, hosts)))
    apart: list[tuple[Segment, tuple[tuple[int, ...], ...]]] = []
    for members in found.spread:  # of the longest spans first
        bound = tuple(dict.fromkeys(tuple(ends[i]) for i in members if i in ends))
        choices = bound or every
        if len(bound) <= 1 and len(choices) * math.prod(len(c) for _, c in apart) <= HOMES_AT_MOST:
            apart.append((members, choices))
    whole = [members for members in found.spread if members not in [m for m, _ in apart]]
    segments = merged(found.loose, whole)
    for chosen in product(*(choices for _, choices in apart)):
        yield segments, {i: those for (members, _), those in zip(apart, chosen, strict=True) for i in members}


def _prefix_sums(
    problem: Problem,
    segments: Sequence[Sequence[int]],
    hosts: Sequence[Sequence[int]],
    in_flight: Sequence[int] | None,
    homes: Homes,
) -> list[list[Floats]]:
    """``[s][h]``: on host h of stage s, rows of running sums over the segments.

    Work on the compute stream, work on the communication stream, operators that the host may not run, and the
    part of its memory that they take (0 where memory is left aside). ``homes``: operators bound to the stages of
    certain hosts.
    """
    sums: dict[tuple[int, int, tuple[int, ...]], Floats] = {}
    alike: dict[bytes, Floats] = {}  # most devices are like others
    wanted = [
        [(d, 0 if in_flight is None else in_flight[s], tuple(those) if homes else ()) for d in those]
        for s, those in enumerate(hosts)
    ]
    within = np.array([i for segment in segments for i in segment])
    begins = np.cumsum([0, *map(len, segments)])[:-1]
    for d, held, stage in {key for those in wanted for key in those}:
        allowed = problem.runs_on[:, d].copy()
        allowed[[i for i, home in homes.items() if home != stage]] = False
        work = np.where(problem.runs_on[:, d], problem.duration[:, :, d].sum(axis=1), 0.0)
        room = problem.cap_with_slack[d]
        size = (problem.parameters + held * problem.activation) / room if held and room > 0 else np.zeros(len(work))
        columns = np.stack([np.where(problem.on_comm, 0.0, work), np.where(problem.on_comm, work, 0.0), ~allowed, size])
        known = columns.tobytes()
        if known not in alike:
            alike[known] = np.zeros((4, len(segments) + 1))
            alike[known][:, 1:] = np.add.reduceat(columns[:, within], begins, axis=1).cumsum(axis=1)
        sums[d, held, stage] = alike[known]
    return [[sums[key] for key in those] for those in wanted]


class _Cuts:
    """The dynamic program: stage s holds the segments from its start i to its end j - 1."""

    @staticmethod
    def of(
        problem: Problem,
        segments: Sequence[Segment],
        hosts: Sequence[Sequence[int]],
        in_flight: Sequence[int] | None = None,
        homes: Homes = MappingProxyType({}),
    ) -> _Cuts | None:
        """The program of a problem; None where there are more stages than segments."""
        if not 0 < len(hosts) <= len(segments):
            return None
        return _Cuts(_prefix_sums(problem, segments, hosts, in_flight, homes), len(segments))

    def __init__(self, sums: Sequence[Sequence[Floats]], n: int) -> None:
        self.sums, self.n, self.stages = sums, n, len(sums)
        kinds: dict[bytes, int] = {}  # hosts that are alike: what a load allows is asked once for all of them
        self.kinds_of = [{kinds.setdefault(host.tobytes(), len(kinds)) for host in those} for those in sums]
        self.hosts = [np.frombuffer(host).reshape(4, n + 1) for host in kinds]
        self.allowed = [np.minimum(_ends(banned, 0.0), _ends(memory, 1.0)) for _, _, banned, memory in self.hosts]

    def _furthest(self, limit: float) -> list[Ints]:
        """``[s][i]``: the largest end of stage s from start i with no load above the limit."""
        of_kind = [
            np.minimum.reduce([allowed, *(_ends(work, limit) for work in host[:2] if work[-1] > 0.0)])
            for host, allowed in zip(self.hosts, self.allowed, strict=True)
        ]
        return [np.minimum.reduce([of_kind[k] for k in kinds]) for kinds in self.kinds_of]

    def _starts(self, furthest: Sequence[Ints]) -> list[Bools]:
        """``[s][i]``: whether the stages before s can hold exactly the segments before i (s = all: the end)."""
        reached = np.zeros(self.n + 1, dtype=bool)
        reached[0] = True
        out = [reached]
        for end in furthest:
            # Each start i reaches the ends i + 1 to end[i]: count how many intervals cover an end.
            starts = reached.nonzero()[0]
            begins = np.bincount(starts + 1, minlength=self.n + 2)
            pasts = np.bincount(np.maximum(end[starts], starts) + 1, minlength=self.n + 2)
            reached = (begins - pasts).cumsum()[: self.n + 1] > 0
            out.append(reached)
        return out

    def smallest_limit(self) -> float | None:
        """The smallest possible largest load, by bisection; None where no partition exists."""
        high = float(max(sums[:2, -1].max() for those in self.sums for sums in those))
        if not self._starts(self._furthest(high))[-1][-1]:
            return None
        low = 0.0
        while high - low > 1e-3 * SAME * high:
            middle = 0.5 * (low + high)
            if self._starts(self._furthest(middle))[-1][-1]:
                high = middle
            else:
                low = middle
        return high

    def best_under(self, limit: float, cut_times: Floats) -> list[int]:
        """The cuts of least transfer time, then of least sum of squares, with no load above the limit."""
        furthest = self._furthest(limit * (1.0 + SAME))
        starts = self._starts(furthest)
        time, squares = np.full(self.n + 1, np.inf), np.full(self.n + 1, np.inf)
        time[0] = squares[0] = 0.0
        came_from = np.zeros((self.stages, self.n + 1), dtype=int)
        for s in range(self.stages):
            next_time, next_squares = np.full(self.n + 1, np.inf), np.full(self.n + 1, np.inf)
            ends = np.flatnonzero(starts[s + 1]) if s + 1 < self.stages else np.array([self.n])
            lows = np.searchsorted(furthest[s], ends)  # the furthest end grows with the start
            here = {id(sums): sums for sums in self.sums[s]}.values()
            for some in _blocks(ends - lows):
                low, j = lows[some], ends[some]
                i = low[:, None] + np.arange(int((j - low).max()))
                outside, i = i >= j[:, None], np.minimum(i, self.n)
                times = np.where(outside, np.inf, time[i] + cut_times[s, i])
                least = times.min(axis=1)
                load = np.max([sums[:2, j, None] - sums[:2, i] for sums in here], axis=(0, 1))
                evenness = np.where(times <= least[:, None] * (1.0 + SAME), squares[i] + load**2, np.inf)
                at = evenness.argmin(axis=1)
                row = np.arange(len(j))
                next_time[j], next_squares[j], came_from[s, j] = times[row, at], evenness[row, at], low + at
            time, squares = next_time, next_squares
        cuts = [self.n]
        for s in reversed(range(self.stages)):
            cuts.append(int(came_from[s, cuts[-1]]))
        return cuts[::-1]


def _blocks(widths: Ints) -> Iterator[slice]:
    """Runs of rows of these widths that fit in an array of moderate size together."""
    first = 0
    while first < len(widths):
        widest = np.maximum.accumulate(widths[first:])
        rows = max(1, int((widest * np.arange(1, len(widest) + 1) <= BLOCK).sum()))
        yield slice(first, first + rows)
        first += rows


def _ends(running: Floats, room: float) -> Ints:
    """``[i]``: the furthest end of a stage from start i whose sum is at most ``room``."""
    return running.searchsorted(running + room, side="right") - 1


def _cut_times(problem: Problem, segments: Sequence[Sequence[int]], hosts: Sequence[Sequence[int]]) -> Floats:
    """``[s, i]``: transfer time a microbatch of the cut before segment i, between stages s - 1 and s.

    An output that several cuts separate from its readers counts at each of them.
    """
    segment_of = {i: k for k, segment in enumerate(segments) for i in segment}
    count, size = np.zeros(len(segments) + 1), np.zeros(len(segments) + 1)
    for i, consumers in enumerate(problem.consumers):
        if consumers:
            crossed = slice(segment_of[i] + 1, max(segment_of[j] for j in consumers) + 1)
            count[crossed] += 1
            size[crossed] += problem.output[i]
    times = np.zeros((len(hosts), len(segments) + 1))
    names = [d.name for d in problem.cluster.devices]
    for s in range(1, len(hosts)):
        for a, b in zip(hosts[s - 1], hosts[s], strict=True):
            for source, target in ((a, b), (b, a)) if problem.training else ((a, b),):
                level = problem.cluster.level(names[source], names[target])
                if level is not None:
                    times[s] += count * level.latency
                    times[s] += size / level.bandwidth if level.bandwidth is not None else 0.0
    return times
