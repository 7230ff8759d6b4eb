"""Tuning of a way: a layer moves to another stage, or more or fewer are recomputed, while that makes it better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from planner.baselines.registry import Layout
from planner.runtimes.runtime import Recomputing, Runtime
from planner.search.incumbent import Incumbent
from planner.search.ways import WORST, Rank, Stages, Way, is_better

MOVES_AT_MOST = 300
"""Changes that are tried on each way."""


class Ranking(Protocol):
    """What ranks ways: ``planner.search.as_run``."""

    @property
    def runtime(self) -> Runtime: ...  # noqa: D102 - as there
    @property
    def incumbent(self) -> Incumbent: ...  # noqa: D102
    @property
    def known(self) -> Mapping[Way, Rank | None]: ...  # noqa: D102
    @property
    def busiest(self) -> Mapping[Way, int]: ...  # noqa: D102
    @property
    def counted(self) -> list[bool] | None: ...  # noqa: D102

    def rank(self, way: Way) -> Rank | None:
        """How good a way is; None where it does not apply."""

    def layout(self, name: str, chunks: int) -> Layout:
        """The devices of the stages of a schedule."""


class Tuning:
    """The changes of ways that a search ranks."""

    def __init__(self, search: Ranking) -> None:
        self.search = search

    def tuned(self, way: Way) -> Way:
        """The way after all changes that make it better, one at a time."""
        search, control = self.search, self.search.incumbent.control
        better, tried = search.runtime.uneven, 0
        while better and not control.over and tried < MOVES_AT_MOST:
            better, rank = False, search.known[way] or WORST
            for changed in self._changes(way):
                if control.over or tried == MOVES_AT_MOST:
                    break
                tried += 1
                control.report(f"moving layers between the stages of {way.told}")
                if is_better(search.rank(changed) or WORST, rank):
                    way, better = changed, True
                    break
        return way

    def first(self, way: Way, stages: Stages) -> tuple[int, ...]:
        """How many first units of other stages are in the variant: as many layers, or all where it was all."""
        if way.layers is not None:
            return self.with_layers(replace(way, stages=stages), way.layers).first
        return tuple(
            len(stage) if n and n >= len(before) else n
            for n, before, stage in zip(way.first, way.stages, stages, strict=True)
        )

    def with_layers(self, way: Way, layers: int) -> Way:
        """The way with so many first layers of every stage in the variant, and what stands before them."""
        counted = self.search.counted
        assert counted is not None
        first = []
        for stage in way.stages:
            places = [k for k, u in enumerate(stage) if counted[u]][:layers]
            first.append(places[-1] + 1 if places else 0)
        return replace(way, first=tuple(first), layers=layers)

    def _changes(self, way: Way) -> Iterator[Way]:
        for stages in self._moves(way):
            yield replace(way, stages=stages, first=self.first(way, stages))
        if way.layers is not None:
            for layers in (way.layers - 1, way.layers + 1):
                if layers > 0:
                    yield self.with_layers(way, layers)
        elif way.is_mixed and self.search.runtime.recompute is Recomputing.STAGE:
            sizes = tuple(map(len, way.stages))
            for s, (n, size) in enumerate(zip(way.first, sizes, strict=True)):
                yield replace(way, first=(*way.first[:s], 0 if n else size, *way.first[s + 1 :]))

    def _moves(self, way: Way) -> Iterator[Stages]:
        """A unit across one cut; and from the busiest device's stages to any other, all cuts between moved by one."""
        counts = [len(stage) for stage in way.stages]
        layout = self.search.layout(way.schedule, way.chunks)
        busy = [s for s in range(len(counts)) if any(copy[s] == self.search.busiest[way] for copy in layout)]
        pairs = [(a, b) for a in busy for b in range(len(counts)) if a != b]
        pairs += [(s, s + 1) for s in range(len(counts) - 1)] + [(s + 1, s) for s in range(len(counts) - 1)]
        for a, b in dict.fromkeys(pairs):
            if counts[a] > 1:
                moved = list(counts)
                moved[a] -= 1
                moved[b] += 1
                places = np.cumsum([0, *moved]).tolist()
                yield tuple(tuple(range(x, y)) for x, y in pairwise(places))
