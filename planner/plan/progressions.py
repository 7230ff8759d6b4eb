"""Instants that follow each other at one distance, as ``plan.json`` holds them compactly: to the last bit.

A search adds up many times, so that instants that lie a period apart differ from ``start + i x length`` in their last
bits: instant i is the floating-point number that comes ``rounding[0] + ... + rounding[i - 1]`` places after the one
computed. Sums, since the difference grows slowly: what stands in the file has one digit or two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ROUNDING = 9999
"""Floating-point numbers by which an instant may differ from its progression: some 1e-12 of it."""

SHORTEST = 6
"""Instants of a progression, at least: fewer take no more room one by one."""

EACH = (1, 2, 3, 4)
"""Microbatches of a class that a pattern may have (as ``scheduling.steady_state`` looks for)."""

ONE, PROGRESSION, DIGITS = 22, 110, 2
"""Characters of an instant alone, of a progression, and of an instant of it, about."""


@dataclass(frozen=True, slots=True)
class Progression:
    """Microbatch ``microbatch + i x microbatches`` starts at ``start + i x length``, for i from 0 to ``times``."""

    microbatch: int
    start: float  # seconds
    times: int
    microbatches: int
    length: float  # seconds
    rounding: tuple[int, ...]  # for every i from 1 on; empty: all 0


@dataclass(frozen=True, slots=True)
class Split:
    """The instants of one class: some alone, the others in progressions."""

    alone: Integers  # positions
    progressions: tuple[Progression, ...]
    members: tuple[Integers, ...]  # positions of the instants of each progression

    @property
    def characters(self) -> int:
        """About how much room it takes."""
        inside = sum(map(len, self.members))
        return ONE * len(self.alone) + PROGRESSION * len(self.progressions) + DIGITS * inside

    @property
    def order(self) -> Integers:
        """All positions, in the order in which the file holds them."""
        return np.concatenate([self.alone, *self.members])


def split(microbatch: Integers, start: Floats) -> Split:
    """The instants of one class, whose microbatches ascend, in the way that takes the least room."""
    options = [_split(microbatch, start, each) for each in EACH if each * SHORTEST <= len(start) or each == 1]
    return min(options, key=lambda option: option.characters)


def in_progression(start: float, length: float, times: int, rounding: Sequence[int] = ()) -> Floats:
    """The instants of a progression, one more than ``times``."""
    computed = start + np.arange(times + 1, dtype=np.float64) * length
    if not rounding:
        return computed
    return moved(computed, np.concatenate([[0], np.cumsum(np.array(rounding, dtype=np.int64))]))


def moved(values: Floats, by: npt.ArrayLike) -> Floats:
    """The floating-point numbers that come so many after those given."""
    return _values(_ranks(values) + np.asarray(by, dtype=np.int64))


def apart(found: Floats, expected: Floats) -> Integers:
    """How many floating-point numbers each found one comes after the expected one."""
    return _ranks(found) - _ranks(expected)


def duration(start: Floats, end: Floats) -> float:
    """Seconds d such that ``start + d`` is ``end`` to the last bit, for all if there is such a d, else for most.

    Of several the one with the fewest digits.
    """
    exact, half = np.nan_to_num(end - start), np.spacing(np.abs(end)) / 2
    low, high = float((exact - half).max()), float((exact + half).min())
    middle = low + (high - low) / 2
    shortest = next((d for d in (float(f"{middle:.{p}g}") for p in range(1, 17)) if low <= d <= high), middle)
    candidates = (shortest, middle, float(exact[np.argmin(start)]), float(np.sort(exact)[len(exact) // 2]))
    return max(filter(math.isfinite, candidates), key=lambda d: int((start + d == end).sum()))


def _split(microbatch: Integers, start: Floats, each: int) -> Split:
    """In progressions of every ``each``-th instant."""
    free = np.ones(len(start), dtype=bool)
    found: list[Progression] = []
    members: list[Integers] = []
    for first in range(each):
        positions = np.arange(first, len(start), each)
        for begin, end in _regular(microbatch[positions], start[positions]):
            within = positions[begin:end]
            progression = _progression(microbatch[within], start[within])
            if progression is not None:
                found.append(progression)
                members.append(within)
                free[within] = False
    return Split(np.flatnonzero(free), tuple(found), tuple(members))


def _regular(microbatch: Integers, start: Floats) -> list[tuple[int, int]]:
    """The longest stretches of instants and microbatches at one distance, none of them in two stretches."""
    if len(start) < SHORTEST:
        return []
    bend = np.abs(np.diff(start, 2)) <= 4 * ROUNDING * np.spacing(np.abs(start[2:]))
    same = bend & (np.diff(microbatch, 2) == 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    stretches, last = [], 0
    for bends, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        begin = max(bends, last)
        last = end + 2  # the first and the last bend take one more instant on either side
        if last - begin >= SHORTEST:
            stretches.append((begin, last))
    return stretches


def _progression(microbatch: Integers, start: Floats) -> Progression | None:
    """The progression of these instants; None where one is too far from it."""
    times = len(start) - 1
    length = float((start[-1] - start[0]) / times)
    if not math.isfinite(length):
        return None
    rounding = apart(start, in_progression(float(start[0]), length, times))
    if np.abs(rounding).max() > ROUNDING:
        return None
    return Progression(
        microbatch=int(microbatch[0]),
        start=float(start[0]),
        times=times,
        microbatches=int(microbatch[1] - microbatch[0]),
        length=length,
        rounding=tuple(np.diff(rounding).tolist()) if rounding.any() else (),
    )


def _ranks(values: Floats) -> Integers:
    """Whole numbers in the order of the floating-point numbers, without gaps."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return bits ^ ((bits >> 63) & np.iinfo(np.int64).max)


def _values(ranks: Integers) -> Floats:
    """The floating-point numbers of ``_ranks``."""
    return (ranks ^ ((ranks >> 63) & np.iinfo(np.int64).max)).view(np.float64)
