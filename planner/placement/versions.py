"""Level 1 for operators with alternatives: which versions to pick where operators run.

A recomputed operator takes more time and fewer bytes. What counts is how long its bytes are held: in the steady state a
device holds bytes x seconds held / period (Little's law). So for a placement and a period every device picks the
versions of least time among those whose bytes x seconds fit (a multiple-choice knapsack, taken greedily along
its hull), and the period is the least for which no device works longer (``balanced``). How long microbatches are held
beyond the time of their passes is not known before there is a schedule: ``stretch`` says by which factor, and several
are tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from planner.placement.kinds import Versions, have_like_variants
from planner.placement.layouts import Family, any_family, families, family_placements
from planner.problem import BASE, Placement, PlacementKey, Problem

Floats = npt.NDArray[np.float64]

STRETCHES = (1.0, 1.25, 1.5, 2.0, 3.0)
"""How much longer than its passes a microbatch is held, in the choices that are tried."""

FITTING = (0.7, 0.8, 0.9, 1.0)
"""Shares of the microbatches that every device holds at once, in other choices that are tried."""

HOLDING = (0.4, 0.5, 0.6)
"""Shares of the microbatches that a group has which every device can hold in the warm-up."""

WAY = 0.1
"""Worth of a second less on the way through F and I, against a second less of work, in those choices: of versions that
take as long in all, one that leaves weight gradients for idle time is better where there is memory for it."""

PRECISION = 1e-3
"""Relative precision of the period."""


def uniform_choices(problem: Problem) -> dict[str, Versions]:
    """The versions of all operators, by the name that the choice has: ``base``, or that of a variant.

    An operator that has no variant of that name is at base or, where that is not allowed, in its first version.
    """
    names = dict.fromkeys(name for operator in problem.operators for name in operator.versions)
    allowed = [name for name in names if problem.variants is None or name in problem.variants]
    return {name: _versions(problem, name) for name in allowed or [BASE]}


def _versions(problem: Problem, name: str) -> Versions:
    found = []
    for operator, some in zip(problem.operators, problem.versions, strict=True):
        number = operator.versions.index(name) if name in operator.versions else 0
        found.append(number if number in some else some[0])
    return tuple(found)


def different_choices(problem: Problem) -> dict[str, Versions]:
    """The same, without choices that are another one under a further name."""
    found: dict[str, Versions] = {}
    for name, versions in uniform_choices(problem).items():
        if versions not in found.values():
            found[name] = versions
    return found


def flipped(
    problem: Problem,
    placement: Placement,
    busiest: Sequence[int],
    rng: np.random.Generator,
    from_busiest: float,
    on_each: float = 0.0,
) -> Placement | None:
    """The placement with other versions of some like operators of one copy.

    Like operators have the same variants with the same figures, and are in the same version. The first one is on the
    ``busiest`` devices with a probability of ``from_busiest``, else any. It alone changes, or all like it on its
    device; with a probability of ``on_each`` the first or the last one on each device.
    """
    copy = int(rng.integers(placement.copies))
    versions, device_of = list(problem.versions_of(placement, copy)), placement.device_of[copy]
    there = [i for i in problem.free if device_of[i] in busiest]
    some = there if there and rng.random() < from_busiest else problem.free
    i = int(some[int(rng.integers(len(some)))])
    others = [v for v in problem.versions[i] if v != versions[i] and problem.choices[v].runs_on[i, device_of[i]]]
    if not others:
        return None
    to = others[int(rng.integers(len(others)))]
    like = [j for j in problem.free if versions[j] == versions[i] and have_like_variants(problem, i, j)]
    for j in _some_like(like, i, device_of, rng, on_each):
        versions[j] = to
    rows = [problem.versions_of(placement, c) for c in range(placement.copies)]
    rows[copy] = tuple(versions)
    return problem.in_versions(placement.marked("versions changed"), tuple(rows))


def _some_like(
    like: Sequence[int], i: int, device_of: Sequence[int], rng: np.random.Generator, on_each: float
) -> Sequence[int]:
    """Of operators that are ``like`` i: it alone, all on its device, or the first or the last one on each device."""
    drawn = rng.random()
    if drawn >= on_each:
        return [i] if drawn < (1.0 + on_each) / 2 else [j for j in like if device_of[j] == device_of[i]]
    ordered = like if rng.random() < 0.5 else like[::-1]
    return list({device_of[j]: j for j in ordered}.values())


def leanest(problem: Problem) -> Versions:
    """The version of each operator that takes the least memory for parameters and one activation."""
    sizes = np.array([version.parameters + version.activation for version in problem.choices])
    return tuple(some[int(np.argmin(sizes[list(some), i]))] for i, some in enumerate(problem.versions))


def is_leanest(problem: Problem, versions: Versions) -> bool:
    """Whether no other versions take less memory of either kind: what does not fit in these fits in none."""
    lean, least = problem.chosen(versions), problem.relaxed
    return bool(((lean.activation <= least.activation) & (lean.parameters <= least.parameters)).all())


def in_versions(problem: Problem, placement: Placement, versions: Sequence[int], what: str = "") -> Placement:
    """A placement with every copy's operators in the same versions."""
    origin = placement.origin if not what else f"{placement.origin}, {what}"
    return problem.in_versions(replace(placement, origin=origin), (tuple(versions),) * placement.copies)


def uniform_placements(problem: Problem, wanted: Callable[[Family], bool] = any_family) -> Iterator[Placement]:
    """The placements of the families that are wanted and allowed, in every uniform choice of versions, cut for it."""
    if not problem.free:
        for placement in family_placements(problem.default, wanted):
            yield in_versions(problem, placement, problem.first_versions)
        return
    seen: set[PlacementKey] = set()
    for family in filter(wanted, families(problem)):
        for name, versions in different_choices(problem).items():
            found = family.placement(problem.chosen(versions))
            if found is not None:
                what = "" if name == BASE else f"all {name}"
                yield from _new(in_versions(problem, found, versions, what), seen)
    if not seen:  # says why, where a layout was asked for
        yield from family_placements(problem.default, wanted)


def placements_in_versions(problem: Problem, wanted: Callable[[Family], bool] = any_family) -> Iterator[Placement]:
    """The same, and in balanced versions, where there are alternatives; each is cut for the times of its versions."""
    seen: set[PlacementKey] = set()
    for placement in uniform_placements(problem, wanted):
        yield from _new(placement, seen)
    if problem.free and np.isfinite(problem.cap).any():
        yield from _balanced_placements(problem, list(filter(wanted, families(problem))), seen)


def _balanced_placements(problem: Problem, families: Sequence[Family], seen: set[PlacementKey]) -> Iterator[Placement]:
    energy = Energy(problem)
    cut = [(family, family.placement(problem.default)) for family in families]
    placements = [(family, placement) for family, placement in cut if placement is not None]
    for stretch in STRETCHES:
        for family, placement in placements:
            found = energy.balanced(placement, stretch)
            if found is None:
                continue
            yield from _new(found, seen)
            again = family.placement(problem.chosen(problem.versions_of(found, 0)))
            found = None if again is None or again.key == placement.key else energy.balanced(again, stretch)
            if found is not None:
                yield from _new(found, seen)
    for shares, picked in ((FITTING, energy.fitting), (HOLDING, energy.holding)):
        for share in shares:
            for _, placement in placements:
                found = picked(placement, math.ceil(share * problem.microbatches))
                if found is not None:
                    yield from _new(found, seen)


def _new(placement: Placement, seen: set[PlacementKey]) -> Iterator[Placement]:
    if placement.key not in seen:
        seen.add(placement.key)
        yield placement


@dataclass(frozen=True)
class _Item:
    """One operator of one copy on a device: its versions along the hull, the quickest first.

    ``energy``: what is to be kept small, bytes x seconds or bytes.
    """

    copy: int
    operator: int
    versions: tuple[int, ...]
    work: tuple[float, ...]  # seconds of compute a microbatch, averaged over the copies
    price: tuple[float, ...]  # the same, and what the way through F and I is worth
    energy: tuple[float, ...]


@dataclass(frozen=True)
class Energy:
    """Seconds of work and bytes x seconds of a problem's versions."""

    problem: Problem

    @cached_property
    def least(self) -> Floats:
        """``[i, p]``: seconds that a pass takes on any device that runs it, at least."""
        problem = self.problem.relaxed
        least: Floats = np.where(problem.runs_on[:, None, :], problem.duration, np.inf).min(axis=2)
        return least

    @cached_property
    def rest(self) -> Floats:
        """Seconds from the end of an operator's F to the start of its I, at least: through all that reads it."""
        problem, best = self.problem.relaxed, self.least
        rest = np.zeros(problem.n_operators)
        for i in reversed(problem.topological):
            rest[i] = max((best[j, 0] + rest[j] + best[j, 1] for j in problem.consumers[i]), default=0.0)
        return rest

    def of_version(self, version: int, seconds: Floats, stretch: float = 1.0) -> Floats:
        """``[i]``: bytes x seconds of a microbatch in a version whose passes take ``seconds[i, p]``."""
        own = self.problem.choices[version]
        span = seconds[:, 0] + self.rest + seconds[:, 1]
        with np.errstate(invalid="ignore"):  # inf x 0 where a device cannot run it
            held: Floats = own.activation * span * stretch + own.held * seconds[:, 2]
        return held

    def balanced(self, placement: Placement, stretch: float) -> Placement | None:
        """The placement in the versions of the least period (see the module); None where even that does not fit."""
        problem = self.problem
        items, fixed = self._items(placement, lambda v, seconds: self.of_version(v, seconds, stretch))
        resident = problem.resident_parameters(placement)
        room = problem.cap - np.array([math.fsum(own.values()) for own in resident])
        used = [d for d in range(problem.n_devices) if resident[d]]
        if min((room[d] for d in used), default=0.0) <= 0:
            return None
        low = max(fixed[d][0] + sum(item.work[0] for item in items[d]) for d in used)
        high = max(fixed[d][0] + sum(item.work[-1] for item in items[d]) for d in used)
        high = max(high, *((fixed[d][1] + sum(i.energy[-1] for i in items[d])) / room[d] for d in used), low)
        while high - low > PRECISION * high:
            middle = (low + high) / 2
            if all(_within(items[d], fixed[d], float(room[d]), middle) for d in used):
                high = middle
            else:
                low = middle
        picked = {d: _picked(items[d], fixed[d][1], float(room[d]) * high) for d in used}
        return self._in_picked(placement, items, picked, "versions balanced")

    def fitting(self, placement: Placement, microbatches: int) -> Placement | None:
        """The placement in the quickest versions of which all devices hold so many microbatches at once; None: none.

        Where microbatches take as long through the network as the whole step, no period says how many are in flight.
        """
        found = self._items(placement, lambda v, _: self.problem.choices[v].activation)
        return self._in_room(placement, *found, placement.copies / microbatches, f"{microbatches} held")

    def holding(self, placement: Placement, microbatches: int) -> Placement | None:
        """The placement in the best versions (see ``WAY``) of which all devices can hold a group in the warm-up.

        Its microbatches follow each other by the forward work of a virtual-stage round, so that fewer of them hold what
        is held for a short time (near the head). None where it does not fit.
        """
        problem = self.problem
        rounds = 1 + max(max(row) for row in placement.stage_rounds(problem.topological))
        used = {d for row in placement.device_of for d in row}
        apart = float(self.least[~problem.on_comm, 0].sum()) / len(used) / rounds or math.inf

        def held(v: int, seconds: Floats) -> Floats:
            at_once = np.minimum(microbatches, (seconds[:, 0] + self.rest + seconds[:, 1]) / apart + 1.0)
            size: Floats = problem.choices[v].activation * at_once
            return size

        return self._in_room(placement, *self._items(placement, held, WAY), 1.0, f"groups of {microbatches}")

    def _in_room(
        self,
        placement: Placement,
        items: list[list[_Item]],
        fixed: list[tuple[float, float]],
        share: float,
        what: str,
    ) -> Placement | None:
        """The placement in the best versions with at most a share of each device's memory; None where none fit."""
        picked: dict[int, list[int] | None] = {}
        for d, own in enumerate(self.problem.resident_parameters(placement)):
            room = float(self.problem.cap[d]) - math.fsum(own.values())
            picked[d] = _picked(items[d], fixed[d][1], room * share)
            if picked[d] is None:
                return None
        return self._in_picked(placement, items, picked, what)

    def _in_picked(
        self, placement: Placement, items: list[list[_Item]], picked: Mapping[int, Sequence[int] | None], what: str
    ) -> Placement:
        problem = self.problem
        versions = [list(problem.versions_of(placement, copy)) for copy in range(placement.copies)]
        for d, some in picked.items():
            for item, k in zip(items[d], some or (), strict=False):
                versions[item.copy][item.operator] = item.versions[k]
        origin = f"{placement.origin}, {what}"
        return problem.in_versions(replace(placement, origin=origin), tuple(map(tuple, versions)))

    def _items(
        self, placement: Placement, energy_of: Callable[[int, Floats], Floats], way: float = 0.0
    ) -> tuple[list[list[_Item]], list[tuple[float, float]]]:
        """By device: what may be picked, and the seconds and the energy (see ``energy_of``) of all else.

        ``way``: what a second less on the way through F and I is worth.
        """
        problem = self.problem
        items: list[list[_Item]] = [[] for _ in range(problem.n_devices)]
        fixed = [(0.0, 0.0)] * problem.n_devices
        rows = np.arange(problem.n_operators)
        for copy, device_of in enumerate(placement.device_of):
            where = np.array(device_of)
            work, price, energy = [], [], []
            for v, version in enumerate(problem.choices):
                seconds = version.duration[rows, :, where]
                work.append(np.where(problem.on_comm, 0.0, seconds.sum(axis=1)) / placement.copies)
                price.append(work[-1] + (way * seconds[:, :2].sum(axis=1) / placement.copies if way else 0.0))
                energy.append(energy_of(v, seconds) / placement.copies)
            for i, d in enumerate(device_of):
                some = [v for v in problem.versions[i] if problem.choices[v].runs_on[i, d]]
                own = [v for *_, v in hull([(float(price[v][i]), float(energy[v][i]), v) for v in some])]
                if len(own) > 1:
                    figures = (tuple(float(figure[v][i]) for v in own) for figure in (work, price, energy))
                    items[d].append(_Item(copy, i, tuple(own), *figures))
                elif own:
                    fixed[d] = (fixed[d][0] + float(work[own[0]][i]), fixed[d][1] + float(energy[own[0]][i]))
        return items, fixed


def hull(points: list[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """Versions (work, energy, number) on the lower hull: each takes more work and less energy than the one before."""
    found: list[tuple[float, float, int]] = []
    for point in sorted(points):
        if found and point[1] >= found[-1][1]:
            continue
        while len(found) > 1:
            (a, b, _), (c, d, _) = found[-2:]
            if (point[0] - a) * (b - d) <= (c - a) * (b - point[1]):
                found.pop()
            else:
                break
        found.append(point)
    return found


def _picked(items: Sequence[_Item], fixed: float, most: float) -> list[int] | None:
    """The quickest versions (their places on the hulls) with at most so much energy, all else's ``fixed`` among it."""
    picked = [0] * len(items)
    energy = fixed + sum(item.energy[0] for item in items)
    steps = sorted(
        (
            (item.price[k + 1] - item.price[k]) / (item.energy[k] - item.energy[k + 1]),
            k,
            n,
        )
        for n, item in enumerate(items)
        for k in range(len(item.versions) - 1)
    )
    for _, k, n in steps:
        if energy <= most:
            break
        energy -= items[n].energy[k] - items[n].energy[k + 1]
        picked[n] = k + 1
    return picked if energy <= most else None


def _within(items: Sequence[_Item], fixed: tuple[float, float], room: float, period: float) -> bool:
    """Whether a device keeps within a period in some versions, and their bytes x seconds in its room."""
    picked = _picked(items, fixed[1], room * period)
    if picked is None:
        return False
    return fixed[0] + sum(item.work[k] for item, k in zip(items, picked, strict=True)) <= period * (1 + 1e-12)
