"""Fewer stages than a plan's order takes: neighbours on one device merged, where that costs nothing or is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import Protocol, TypeVar

from planner.exporters.partition import Stages
from planner.plan.plan import Plan

TRIALS = 48
"""Merges that are tried, each with a replay of the whole schedule, the longest first."""

TASKS = 2_000_000
"""Tasks in all of these replays: fewer trials where a plan is large."""


class Candidate(Protocol):
    """One way to run a plan in stages."""

    @property
    def own(self) -> Stages:
        """The operators of every stage."""

    def costs_nothing(self, plan: Plan) -> bool:
        """Whether the plan is unchanged, or changed without cost."""


Kind = TypeVar("Kind", bound=Candidate)


def fewer(found: Kind, coarse: Stages, candidate: Callable[[Stages], Kind], plan: Plan) -> Kind:
    """The stages with neighbours merged as long as that costs nothing: the longest stretches first, then their halves.

    ``coarse``: the runs, beyond which nothing is merged. ``candidate`` makes the schedule of some stages.
    """
    pieces = list(_pieces(coarse, found.own))
    stretches: list[tuple[int, int, int]] = []  # the most pieces first
    for first, last in pieces:
        _push(stretches, first, last)
    joined: list[tuple[int, int]] = []
    best = found
    for _ in range(min(TRIALS, TASKS // max(1, len(plan.tasks)))):
        if not stretches:
            break
        _, first, last = heappop(stretches)
        tried = candidate(_joined(found.own, [*joined, (first, last)]))
        if tried.costs_nothing(plan):
            joined.append((first, last))
            best = tried
        else:
            middle = (first + last) // 2
            _push(stretches, first, middle)
            _push(stretches, middle, last)
    return best


def _push(stretches: list[tuple[int, int, int]], first: int, last: int) -> None:
    if last - first > 1:
        heappush(stretches, (first - last, first, last))


def _pieces(coarse: Stages, fine: Stages) -> list[tuple[int, int]]:
    """By run: the first of its fine stages, and the one after the last."""
    found, at = [], 0
    for run in coarse:
        first, left = at, len(run)
        while left > 0:
            left -= len(fine[at])
            at += 1
        found.append((first, at))
    return found


def _joined(stages: Stages, stretches: Sequence[tuple[int, int]]) -> Stages:
    """The stages, each stretch of them as one."""
    inside = {k: first for first, last in stretches for k in range(first, last)}
    made: dict[tuple[bool, int], tuple[int, ...]] = {}
    for k, stage in enumerate(stages):
        key = (k in inside, inside.get(k, k))
        made[key] = made.get(key, ()) + stage
    return tuple(made.values())


def grouped(coarse: Stages, fine: Stages, most: int) -> list[Stages]:
    """Partitions of no more than ``most`` stages, between the runs and the fine stages: all runs in as many pieces."""
    found: list[Stages] = []
    runs = _pieces(coarse, fine)
    wanted = most
    while wanted > len(coarse):
        per_run = wanted // len(coarse)
        stretches = []
        for first, last in runs:
            parts = min(per_run, last - first)
            cuts = [first + (last - first) * k // parts for k in range(parts + 1)]
            stretches += list(pairwise(cuts))
        found.append(_joined(fine, stretches))
        wanted //= 2
    return list(dict.fromkeys(found))
