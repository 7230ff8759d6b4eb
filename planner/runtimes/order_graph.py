"""The order of a published schedule as a graph: which stage pass waits for which, whatever their lengths.

Used for bounds (``order_bound``): every path through the graph is a length that no run of the order beats.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.baselines.row import Rows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PASS_OF = {"F": 0, "I": 1, "W": 2, "B": 3}
"""Where a pass stands among forward, input gradient, weight gradient and whole backward."""

PASSES = len(PASS_OF)

INTERPRETED = 4_000
"""Nodes up to which an order is played without loading numba."""

NODES_AT_MOST = 150_000
"""Stage passes of an order up to which its graph is built."""


@dataclass(frozen=True, eq=False)
class OrderGraph:
    """The stage passes of one step, numbered in an order in which each comes after those that it waits for.

    ``before[n]``: what comes right before n on its device; ``reads[n]``: the pass of another stage that it reads; -1
    for none. ``kind[n]`` = 4 x stage + pass. ``crosses[k]``: whether what a kind reads comes from another device.
    ``last[r]``: the last of each device. ``held[r]``: the numbers of microbatches that a device holds at once, by
    stage: (vectors, stages, 2) after F, and after I until W; vectors that others cover are left out. ``final[r]``: the
    stage of the last pass of a device; ``split``: whether weight gradients may come later than input gradients.

    An order of very many passes has no nodes: nothing is known of its paths.
    """

    before: Ints
    reads: Ints
    kind: Ints
    crosses: Bools
    last: Ints
    held: list[Ints]
    stages: int
    final: list[int]
    split: bool

    def longest(self, seconds: Floats, lag: float) -> list[tuple[float, Ints, int]]:
        """For each device the longest path that ends with its last pass.

        ``seconds``: of each stage's passes (stages, 4); ``lag``: of a transfer between devices. Length, how often every
        pass of every stage is on the path (stages, 4), and how many transfers are. Nothing, where there are no nodes.
        """
        if not len(self.kind):
            return []
        end, via = self.played(seconds.ravel(), np.where(self.crosses, lag, 0.0))
        function = self._fast(traced)
        return [
            (float(end[node]), counts[:-1].reshape(self.stages, PASSES), int(counts[-1]))
            for node, counts in zip(
                self.last, function(self.last, self.reads, self.kind, self.crosses, via), strict=True
            )
        ]

    def length(self, seconds: Floats, lag: float) -> float:
        """Of the longest path of all, as in ``longest``; 0 where there are no nodes."""
        if not len(self.kind):
            return 0.0
        return float(self.played(seconds.ravel(), np.where(self.crosses, lag, 0.0))[0].max())

    def played(self, seconds: Floats, lag: Floats) -> tuple[Floats, Ints]:
        """The end of every pass, all as early as they can, and which pass each waited for longest; -1 for none.

        ``seconds``: by kind; ``lag``: by kind, of the transfer of what it reads.
        """
        end, via = self._fast(played)(self.before, self.reads, self.kind, seconds, lag)
        return np.asarray(end), np.asarray(via)

    def _fast(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as machine code where that is worth loading numba."""
        return function if len(self.kind) <= INTERPRETED and "numba" not in sys.modules else _compiled(function)


def played(before: Ints, reads: Ints, kind: Ints, seconds: Floats, lag: Floats) -> tuple[Floats, Ints]:
    """See ``OrderGraph.played``; written in what numba compiles."""
    n = len(kind)
    end, via = np.zeros(n), np.full(n, -1)
    for node in range(n):
        start, which = 0.0, -1
        if before[node] >= 0:
            which = before[node]
            start = end[which]
        if reads[node] >= 0:
            other = end[reads[node]] + lag[kind[node]]
            if other > start:
                start, which = other, reads[node]
        end[node] = start + seconds[kind[node]]
        via[node] = which
    return end, via


def traced(last: Ints, reads: Ints, kind: Ints, crosses: Bools, via: Ints) -> Ints:
    """The paths to some passes, back along what each waited for: how often each kind is on them, then transfers.

    (paths, kinds + 1); written in what numba compiles.
    """
    counts = np.zeros((len(last), len(crosses) + 1), dtype=np.int64)
    for d in range(len(last)):
        node = last[d]
        while node >= 0:
            counts[d, kind[node]] += 1
            before = via[node]
            if before >= 0 and before == reads[node] and crosses[kind[node]]:
                counts[d, -1] += 1
            node = before
    return counts


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as machine code."""
    from planner.common import compiled as code  # numba: here, so that short orders do without

    made: Callable[..., Any] = code.compiled()(function)
    return made


def order_graph(rows: Rows, stages: int, device_of: list[int], microbatches: int) -> OrderGraph | None:
    """The graph of the rows of a schedule with one copy of the model; None where actions are fused pairs.

    ``device_of``: the device of each stage. Stage s reads stage s - 1 forward and s + 1 backward.
    """
    if any(len(k.action.passes) > 1 for row in rows for k in row.kinds):
        return None
    kind_of: list[Ints] = []
    microbatch_of: list[Ints] = []
    for row in rows:
        kind, number = np.zeros(len(row), dtype=np.int64), np.zeros(len(row), dtype=np.int64)
        for each in row.kinds:
            stage_pass = each.action.passes[0]
            if stage_pass.copy:
                return None
            kind[each.places] = PASSES * stage_pass.stage + PASS_OF[stage_pass.kind]
            number[each.places] = each.microbatches[0]
        kind_of.append(kind)
        microbatch_of.append(number)
    held = [_held(kind, stages) for kind in kind_of]
    final = [int(kind[-1]) // PASSES for kind in kind_of]
    split = any(bool((kind % PASSES == PASS_OF["W"]).any()) for kind in kind_of)
    if sum(map(len, rows)) > NODES_AT_MOST:
        none = np.zeros(0, dtype=np.int64)
        return OrderGraph(none, none, none, np.zeros(PASSES * stages, dtype=np.bool_), none, held, stages, final, split)
    numbers = [n.tolist() for n in microbatch_of]
    kinds = [k.tolist() for k in kind_of]
    node: dict[tuple[int, int], int] = {}  # (kind, microbatch) to number
    before: list[int] = []
    reads: list[int] = []
    kind_list: list[int] = []
    place, last = [0] * len(rows), [-1] * len(rows)
    moved = True
    while moved:
        moved = False
        for r, (own, many) in enumerate(zip(kinds, numbers, strict=True)):
            while place[r] < len(own):
                what, m = own[place[r]], many[place[r]]
                stage, which = divmod(what, PASSES)
                source = _read_by(stage, which, stages)
                if source is not None and (source, m) not in node:
                    break
                n = len(before)
                before.append(last[r])
                reads.append(-1 if source is None else node[source, m])
                kind_list.append(what)
                last[r] = n
                node[what - 2 if which == PASS_OF["B"] else what, m] = n
                place[r] += 1
                moved = True
    if len(before) != sum(map(len, rows)):
        return None  # an order that deadlocks
    sources = [_read_by(*divmod(what, PASSES), stages) for what in range(PASSES * stages)]
    crosses = np.array(
        [
            source is not None and device_of[source // PASSES] != device_of[k // PASSES]
            for k, source in enumerate(sources)
        ]
    )
    return OrderGraph(
        np.array(before, dtype=np.int64),
        np.array(reads, dtype=np.int64),
        np.array(kind_list, dtype=np.int64),
        crosses,
        np.array(last, dtype=np.int64),
        held,
        stages,
        final,
        split,
    )


def _read_by(stage: int, which: int, stages: int) -> int | None:
    """The kind of pass that one reads: its own forward only at the last stage, where nothing else says so."""
    if which == PASS_OF["F"]:
        return PASSES * (stage - 1) if stage else None
    if which == PASS_OF["W"]:
        return PASSES * stage + 1
    return PASSES * (stage + 1) + 1 if stage + 1 < stages else PASSES * stage


def _held(kind: Ints, stages: int) -> Ints:
    """How many microbatches are held, by stage, after each pass of a device; without those that another covers.

    Of a stage without weight gradients all is released with the backward pass.
    """
    own, stage = np.unique(kind // PASSES, return_inverse=True)  # those of the device
    which = kind % PASSES
    has_w = np.zeros(len(own), dtype=bool)
    has_w[stage[which == 2]] = True
    change = np.zeros((len(kind), len(own), 2), dtype=np.int64)
    at = np.arange(len(kind))
    change[at[which == 0], stage[which == 0], 0] = 1
    backward = (which == 1) | (which == 3)
    change[at[backward], stage[backward], 0] = -1
    split = (which == 1) & has_w[stage]
    change[at[split], stage[split], 1] = 1
    change[at[which == 2], stage[which == 2], 1] = -1
    left = np.unique(np.cumsum(change, axis=0).reshape(len(kind), -1), axis=0)
    left = left[np.argsort(-left.sum(axis=1), kind="stable")]
    kept: list[Ints] = []
    while len(left):  # the first holds the most: no other covers it
        kept.append(left[0])
        left = left[(left > left[0]).any(axis=1)]
    held = np.zeros((len(kept), stages, 2), dtype=np.int64)
    held[:, own] = np.array(kept).reshape(-1, len(own), 2)
    return held
