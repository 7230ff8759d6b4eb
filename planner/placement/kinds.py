"""Choices of versions by kind of operator, and what lies between them: a share of a kind's operators on each device.

A kind has the same variants with the same figures: all attentions, all experts. Where one choice by kind holds too much
and a leaner one takes too long, the best is often in between, and the operators to make leaner are those whose
activations are held the longest, the first on each device (as Megatron-LM's ``--recompute-method block`` does it).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from planner.problem import Placement, Problem

PAIRS_AT_MOST = 30
"""About how many pairs there are at most. If there are more, kinds of few operators stay as they are."""

Versions = tuple[int, ...]
"""The versions of all operators, by number."""


def have_like_variants(problem: Problem, i: int, j: int) -> bool:
    """Whether two operators have the same variants; repetitions of a block share them."""
    own, other = problem.operators[i].variants, problem.operators[j].variants
    return own is other or own == other


def kinds(problem: Problem) -> list[list[int]]:
    """The operators that have alternatives, by kind, the kind of the most operators first."""
    found: list[list[int]] = []
    for i in problem.free:
        for members in found:
            if have_like_variants(problem, i, members[0]):
                members.append(i)
                break
        else:
            found.append([i])
    return sorted(found, key=len, reverse=True)


@dataclass(frozen=True)
class Between:
    """Two choices by kind that differ in the version of one kind, and what lies between them."""

    heavier: Versions  # of all operators, the kind in the version that holds more
    leaner: int  # its other version
    on_devices: tuple[tuple[int, ...], ...]  # its operators on each device, in topological order

    def at(self, share: float) -> Versions:
        """The versions with a share of the kind's operators on each device in the leaner version, the first ones."""
        first = (i for own in self.on_devices for i in own[: round(share * len(own))])
        return _changed(self.heavier, first, self.leaner)


def between_kinds(problem: Problem, placement: Placement) -> list[Between]:
    """Pairs of choices by kind that differ in one kind; at their ends (shares 0 and 1) are all choices by kind.

    Where that makes too many, the kinds of the fewest operators keep the versions that they have in the placement.
    Devices are those of the first copy; all copies are meant to have these versions.
    """
    some = kinds(problem)
    while some and len(some) * math.prod(_versions_of_kinds(problem, some)) > PAIRS_AT_MOST:
        some.pop()
    place = {i: n for n, i in enumerate(problem.topological)}
    found: list[Between] = []
    for members in some:
        on_devices: dict[int, list[int]] = {}
        for i in sorted(members, key=place.__getitem__):
            on_devices.setdefault(placement.device_of[0][i], []).append(i)
        there = tuple(map(tuple, on_devices.values()))
        size = {v: problem.choices[v].activation[members[0]] for v in problem.versions[members[0]]}
        for picked in product(*(problem.versions[each[0]] for each in some)):
            heavier = problem.versions_of(placement, 0)
            for each, v in zip(some, picked, strict=True):
                heavier = _changed(heavier, each, v)
            own = heavier[members[0]]
            found += [Between(heavier, v, there) for v in size if size[v] < size[own]]
    return found


def _versions_of_kinds(problem: Problem, some: Sequence[Sequence[int]]) -> list[int]:
    """How many versions each kind has."""
    return [len(problem.versions[members[0]]) for members in some]


def _changed(versions: Versions, members: Iterable[int], version: int) -> Versions:
    """Versions with those of some operators changed."""
    found = list(versions)
    for i in members:
        found[i] = version
    return tuple(found)
