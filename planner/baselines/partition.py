"""Balanced contiguous stages: where a pipeline cuts the operators of a graph.

A dynamic program over the cuts of the topological order, as PipeDream (Narayanan et al., 2019) does for
layers: first the smallest possible largest load of a stage, then, among the partitions that reach it, the
least transfer time across the cuts, then the most even loads (least sum of squares).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from planner.problem import Problem

Floats = npt.NDArray[np.float64]

_LoadInto = Callable[[int, int, int], Floats]

SAME = 1e-9
"""Loads and transfer times this close, relatively, are equal: sums of floats differ by their order."""


def atoms(problem: Problem) -> tuple[tuple[int, ...], ...]:
    """The topological order in the pieces that cuts may separate: none falls within a colocate group."""
    position = {i: k for k, i in enumerate(problem.topological)}
    forbidden = np.zeros(problem.n_operators + 1, dtype=bool)
    for members in problem.groups:
        places = [position[i] for i in members]
        forbidden[min(places) + 1 : max(places) + 1] = True
    pieces: list[list[int]] = []
    for k, i in enumerate(problem.topological):
        if k == 0 or not forbidden[k]:
            pieces.append([])
        pieces[-1].append(i)
    return tuple(map(tuple, pieces))


def partition(problem: Problem, hosts: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...] | None:
    """Cut the operators into ``len(hosts)`` stages; ``hosts[s]`` are the devices that run stage s.

    A bidirectional pipeline has two hosts a stage, a chunked one names a device for several stages. The load
    of a stage is the busier of its two streams over all its passes, on its slowest host. The transfer time
    of a cut is that of all outputs (and gradients) that cross it, between the hosts on its two sides.
    Returns the operators of every stage in topological order, each stage with at least one; None where
    ``devices``, pass times and ``colocate`` leave no such partition.
    """
    pieces = atoms(problem)
    n, stages = len(pieces), len(hosts)
    if not 0 < stages <= n:
        return None
    loads = _Loads(problem, pieces)
    prefixes = {d: loads.of(d) for d in sorted({d for those in hosts for d in those})}

    def load_into(s: int, j: int, low: int) -> Floats:
        """Loads of stage s if it holds the pieces from i to j, for every i from ``low`` to j - 1."""
        worst = np.zeros(j - low)
        for d in hosts[s]:
            compute, comm, banned = prefixes[d]
            load = np.maximum(compute[j] - compute[low:j], comm[j] - comm[low:j])
            worst = np.maximum(worst, np.where(banned[j] > banned[low:j], np.inf, load))
        return worst

    best = _smallest_largest_load(n, stages, load_into)
    if not np.isfinite(best):
        return None
    cuts = _best_cuts(n, stages, load_into, best, _cut_times(problem, pieces, hosts))
    return tuple(tuple(i for piece in pieces[a:b] for i in piece) for a, b in pairwise(cuts))


class _Loads:
    """Prefix sums of the work on each stream, and of the pieces that a device may not run."""

    def __init__(self, problem: Problem, pieces: Sequence[Sequence[int]]) -> None:
        self.problem, self.pieces = problem, pieces

    def of(self, device: int) -> tuple[Floats, Floats, Floats]:
        problem = self.problem
        allowed = problem.runs_on[:, device]
        work = np.where(allowed, problem.duration[:, :, device].sum(axis=1), 0.0)
        columns = (
            np.where(problem.on_comm, 0.0, work),
            np.where(problem.on_comm, work, 0.0),
            (~allowed).astype(float),
        )
        compute, comm, banned = (
            np.concatenate(([0.0], np.cumsum([column[list(piece)].sum() for piece in self.pieces])))
            for column in columns
        )
        return compute, comm, banned


def _smallest_largest_load(n: int, stages: int, load_into: _LoadInto) -> float:
    """The bottleneck of the best partition, by dynamic program over (stage, end)."""
    before = np.full(n + 1, np.inf)
    before[0] = 0.0
    for s in range(stages):
        now = np.full(n + 1, np.inf)
        for j in range(s + 1, n - (stages - 1 - s) + 1):
            now[j] = np.maximum(before[s:j], load_into(s, j, s)).min()
        before = now
    return float(before[n])


def _best_cuts(n: int, stages: int, load_into: _LoadInto, limit: float, cut_times: Floats) -> list[int]:
    """Among partitions with no load above ``limit``: least transfer time, then least sum of squares."""
    limit *= 1.0 + SAME
    time, squares = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    time[0] = squares[0] = 0.0
    came_from = np.zeros((stages, n + 1), dtype=int)
    for s in range(stages):
        next_time, next_squares = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
        for j in range(s + 1, n - (stages - 1 - s) + 1):
            load = load_into(s, j, s)
            times = np.where(load <= limit, time[s:j] + cut_times[s, s:j], np.inf)
            least = times.min()
            if not np.isfinite(least):
                continue
            evenness = np.where(times <= least * (1.0 + SAME), squares[s:j] + load**2, np.inf)
            at = int(evenness.argmin())
            next_time[j], next_squares[j], came_from[s, j] = times[at], evenness[at], s + at
        time, squares = next_time, next_squares
    cuts = [n]
    for s in reversed(range(stages)):
        cuts.append(int(came_from[s, cuts[-1]]))
    return cuts[::-1]


def _cut_times(problem: Problem, pieces: Sequence[Sequence[int]], hosts: Sequence[Sequence[int]]) -> Floats:
    """``[s, i]``: transfer time a microbatch of the cut before piece i, between stages s - 1 and s.

    An output that several cuts separate from its readers counts at each of them.
    """
    piece_of = {i: k for k, piece in enumerate(pieces) for i in piece}
    count, size = np.zeros(len(pieces) + 1), np.zeros(len(pieces) + 1)
    for i, consumers in enumerate(problem.consumers):
        if consumers:
            crossed = slice(piece_of[i] + 1, max(piece_of[j] for j in consumers) + 1)
            count[crossed] += 1
            size[crossed] += problem.output[i]
    times = np.zeros((len(hosts), len(pieces) + 1))
    names = [d.name for d in problem.cluster.devices]
    for s in range(1, len(hosts)):
        for a, b in zip(hosts[s - 1], hosts[s], strict=True):
            for source, target in ((a, b), (b, a)) if problem.training else ((a, b),):
                level = problem.cluster.level(names[source], names[target])
                if level is not None:
                    times[s] += count * level.latency
                    times[s] += size / level.bandwidth if level.bandwidth is not None else 0.0
    return times
