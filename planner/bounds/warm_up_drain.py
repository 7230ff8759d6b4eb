"""A bound over all placements of one or two copies on like devices: each device has a warm-up and a drain.

In the warm-up, before the first input gradient on a device, its compute stream only runs forward passes, and nothing is
released: only so many fit in memory. In the drain, after the last forward pass there, it only runs gradients of what is
then in memory. How early the warm-up can end and how late the drain can begin depends on the deepest group of operators
that the device hosts; and no two devices host the same one. So, for a makespan T, an integer program asks whether the
devices can be given deepest groups and numbers of groups of each kind such that every group of every copy has a host.
If that fails for every split of the microbatches, every plan takes longer than T.

What a device can run on so much memory is a fractional knapsack. The program uses its dual: for any price of a byte, no
more than the memory at that price plus what each hosted group's passes are worth above it. ``patterns`` needs operators
that are all alike; this bound takes any mix of them, and any graph. Where operators have alternatives, a group may be
hosted in any combination of versions, with the work and the bytes of these: the program trades time for bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from planner.bounds.memory import Item, forward_items, gradient_items
from planner.bounds.waits import Waits, least_hop
from planner.common.budget import Control
from planner.common.highs import Model
from planner.problem import Problem

Floats = npt.NDArray[np.float64]
Split = tuple[int, int]
"""Microbatches of the two copies."""

GROUPS_AT_MOST = 512
SPLITS_AT_MOST = 101
PRICES_AT_MOST = 4
NODES = 20
CERTAIN = 1e-3
"""Groups count as without a host if at least this much of one is left over."""

COMBINATIONS_AT_MOST = 9
"""Combinations of versions of a group; with more of them each operator takes its least."""

PRECISION, COARSE = 5e-5, 5e-4
"""Relative precision of makespans; the second where there are alternatives: the program is several times as large."""

FIRST_STEP, EFFORT = 1e-3, 4_000
"""By how much (relatively) the integer program first raises the makespan, and the simplex iterations of all its
questions after which no more are asked (some seconds)."""


@dataclass(frozen=True)
class Kind:
    """Groups that differ only in their place in the network."""

    work: float  # seconds of compute a microbatch
    parameters: float
    activation: float  # bytes a microbatch, of operators on the compute stream
    forwards: tuple[Item, ...]
    backwards: tuple[Item, ...]


@dataclass(frozen=True)
class Host:
    """Columns of one type of device: whether there is one, and how many groups (kind, copies) it hosts."""

    there: int
    hosted: dict[tuple[int, tuple[int, ...]], int]


def warm_up_drain_bound(problem: Problem, control: Control) -> float:
    """Seconds that no plan can beat; 0 where the bound does not apply or was not decided in time.

    It applies to training on devices that are all alike but for the network and have a memory cap, with at most two
    copies.
    """
    alike = problem.devices_work_alike and all(version.runs_on.all() for version in problem.choices)
    if not alike or not problem.training or problem.copies > 2 or not math.isfinite(problem.cap[0]):
        return 0.0
    splits = problem.microbatches // 2 + 1 if problem.copies == 2 else 1
    turns = _WarmUpDrain(problem)
    if splits > SPLITS_AT_MOST or not turns.groups or len(turns.groups) > GROUPS_AT_MOST:
        return 0.0
    return turns.bound(control)


@dataclass
class _WarmUpDrain:
    """The groups of compute operators, the earliest first gradient first."""

    problem: Problem
    spent: int = 0  # simplex iterations

    @cached_property
    def groups(self) -> list[list[int]]:
        """The compute operators of each colocated group that has some; the deepest first."""
        comm = self.problem.on_comm
        found = [
            sorted((i for i in members if not comm[i]), key=self.order.__getitem__) for members in self.problem.groups
        ]
        turn = self.waits.turn
        return sorted((g for g in found if g), key=lambda g: (min(turn[g]), -self.order[g[-1]]))

    @cached_property
    def waits(self) -> Waits:
        """Longest paths of the problem."""
        return Waits.of_any(self.problem)

    @cached_property
    def least(self) -> Problem:
        """The problem in which every operator takes the least of its versions."""
        return self.problem.relaxed

    @cached_property
    def turn(self) -> Floats:
        """Earliest first gradient of each group."""
        return np.array([min(self.waits.turn[g]) for g in self.groups])

    @cached_property
    def drain(self) -> Floats:
        """What follows the last forward pass of a device whose deepest group this is, at least."""
        own = [min(self.waits.drain[g]) for g in self.groups]
        return np.minimum.accumulate(np.array(own)[::-1])[::-1]

    @cached_property
    def hop(self) -> float:
        """Seconds of a transfer between two devices, at least; 0 but for one copy of a chain."""
        return least_hop(self.problem)

    @cached_property
    def order(self) -> dict[int, int]:
        """The place of each operator in the topological order."""
        return {i: k for k, i in enumerate(self.problem.topological)}

    @property
    def precision(self) -> float:
        """Relative precision of makespans."""
        return COARSE if self.problem.free else PRECISION

    @property
    def places(self) -> int:
        """How many groups are distinguished as the deepest of a device; all others count as the next one."""
        return 2 * self.problem.n_devices

    @cached_property
    def kinds(self) -> tuple[list[Kind], list[int], list[int]]:
        """The kinds in every combination of versions, the kind of each, and which kind each group is of."""
        first: list[tuple[Kind, ...]] = []
        of: list[int] = []
        for g in self.groups:
            some = tuple(dict.fromkeys(self._kind(own, g) for own in self._versions_of(g)))
            if some not in first:
                first.append(some)
            of.append(first.index(some))
        return [kind for some in first for kind in some], [k for k, some in enumerate(first) for _ in some], of

    @cached_property
    def worth(self) -> tuple[list[tuple[float, list[float]]], list[tuple[float, list[float]]]]:
        """Prices of a byte in the warm-up and in the drain, and what a microbatch of each kind is worth above them."""
        kinds = self.kinds[0]
        return _worth([kind.forwards for kind in kinds]), _worth([kind.backwards for kind in kinds])

    @cached_property
    def _combined(self) -> tuple[list[Problem], dict[int, int]]:
        """The n-th combination of versions of all groups together, as problems; and how many each group has."""
        problem = self.problem
        counts: dict[int, int] = {}
        rows: list[list[int]] = []
        for members in problem.groups:
            some = list(product(*(problem.versions[i] for i in members)))
            if len(some) > COMBINATIONS_AT_MOST:
                continue
            counts[members[0]] = len(some)
            for n, versions in enumerate(some):
                if n == len(rows):
                    rows.append(list(problem.first_versions))
                for i, v in zip(members, versions, strict=True):
                    rows[n][i] = v
        return [problem.chosen(row) if problem.free else problem.default for row in rows], counts

    def _versions_of(self, members: list[int]) -> list[Problem]:
        """Problems in which a group is in each of its combinations of versions; or else takes the least of all."""
        combined, counts = self._combined
        whole = next(group for group in self.problem.groups if members[0] in group)
        return combined[: counts[whole[0]]] if whole[0] in counts else [self.least]

    def _kind(self, problem: Problem, members: list[int]) -> Kind:
        whole = next(group for group in problem.groups if members[0] in group)
        return Kind(
            float(problem.duration[members, :, 0].sum()),
            float(problem.parameters[list(whole)].sum()),
            float(problem.activation[members].sum()),
            tuple(forward_items(problem, members, 0)),
            tuple(gradient_items(problem, members, 0)),
        )

    def bound(self, control: Control) -> float:
        """The least makespan, up to ``PRECISION``, for which some split of the microbatches leaves enough hosts."""
        kinds, base, of = self.kinds
        work = [min(kind.work for kind, b in zip(kinds, base, strict=True) if b == k) for k in range(len(set(base)))]
        total = self.problem.microbatches * sum(work[k] for k in of)
        best = total + float(self.turn.max() + self.drain.max())  # on one device
        least = total / self.problem.n_devices
        # the linear relaxation first: it narrows the range at little cost; with two copies the program gains nothing
        high = math.inf
        for split in self._splits():
            if not math.isinf(high) and not self._enough(split, high * (1 - self.precision), False, control):
                continue
            enough = self._doubled(split, least, best, control) if math.isinf(high) and self.problem.free else best
            low, decided = self._least(split, least, enough if math.isinf(high) else high, False, control)
            if not decided:
                return low if self.problem.copies == 1 else 0.0
            high = min(high, low)
        return self._integer(high, best, control) if self.problem.copies == 1 and not self.problem.free else high

    def _doubled(self, split: Split, least: float, best: float, control: Control) -> float:
        """A makespan that leaves enough hosts: the first that does of 1.25, 1.5, 2, 3, ... times the least."""
        more = 0.25
        while least * (1 + more) < best and not control.over:
            if self._enough(split, least * (1 + more), False, control):
                return least * (1 + more)
            more *= 2
        return best

    def _integer(self, low: float, best: float, control: Control) -> float:
        """What the integer program shows beyond the relaxation, which says ``low``; one copy.

        It often gains nothing, and its questions take longer the longer the makespan is. So makespans go up from
        ``low`` in steps that double.
        """
        (split,) = self._splits()
        step, self.spent = FIRST_STEP * low, 0
        while low + step < best:
            if control.over or self.spent > EFFORT:
                return low
            if self._enough(split, low + step, True, control):
                return self._least(split, low, low + step, True, control)[0]
            low, step = low + step, 2 * step
        return low

    def _least(self, split: Split, low: float, enough: float, integer: bool, control: Control) -> tuple[float, bool]:
        """The longest makespan known to leave too few hosts, and whether the next longer is known to leave enough."""
        while enough - low > self.precision * enough:
            if control.over or (integer and self.spent > EFFORT):
                return low, False
            middle = low + (enough - low) * 0.5
            if self._enough(split, middle, integer, control):
                enough = middle
            else:
                low = middle
        return low, True

    def _splits(self) -> Iterator[Split]:
        """Microbatches of the two copies, the most even split first; all in the first where there is one copy."""
        m = self.problem.microbatches
        for few in range(m // 2 if self.problem.copies == 2 else 0, -1, -1):
            yield m - few, few

    def _enough(self, split: Split, makespan: float, integer: bool, control: Control) -> bool:
        """Whether hosts can be found for all groups within a makespan, as far as is proven."""
        model, (kinds, base, of) = Model(), self.kinds
        copies = (0, 1) if split[1] else (0,)
        states = ((0,), (1,), (0, 1)) if split[1] else ((0,),)
        hosts: list[tuple[int, Host]] = []  # the place of the deepest group, and the columns
        for place in range(min(self.places, len(of))):
            for copy in copies:
                both: list[int] = []
                for apart in (False, True):
                    host = self._host(model, kinds, states, integer, 1.0)
                    deeper = [h for p, h in hosts if p < place] if self.hop else []
                    hosts.append((place, host))
                    self._limit(model, host, place, split, makespan, apart, deeper)
                    mine = [x for (k, s), x in host.hosted.items() if base[k] == of[place] and copy in s]
                    model.row([*mine, host.there], [*([1.0] * len(mine)), -1.0], lower=0.0)
                    both.append(host.there)
                model.row(both, [1.0, 1.0], upper=1.0)  # a copy of a group is the deepest of one device only
        if self.places < len(of):
            for apart in (False, True):
                host = self._host(model, kinds, states, integer, float(self.problem.n_devices))
                hosts.append((self.places, host))
                self._limit(model, host, self.places, split, makespan, apart)
        model.row([h.there for _, h in hosts], [1.0] * len(hosts), upper=float(self.problem.n_devices))
        self._cover(model, hosts, copies)
        outcome = model.solve(control, nodes=NODES if integer else None, certify=True)
        self.spent += outcome.iterations
        return not (outcome.infeasible or outcome.bound > CERTAIN)

    def _host(
        self, model: Model, kinds: list[Kind], states: tuple[tuple[int, ...], ...], integer: bool, devices: float
    ) -> Host:
        """Columns of at most so many ``devices``."""
        there = model.variable(0.0, devices, 0.0, integer)
        most = float(len(self.groups)) * devices
        return Host(there, {(k, s): model.variable(0.0, most, 0.0, integer) for k in range(len(kinds)) for s in states})

    def _limit(
        self,
        model: Model,
        host: Host,
        place: int,
        split: Split,
        makespan: float,
        apart: bool,
        deeper: Sequence[Host] = (),
    ) -> None:
        """What a device whose deepest group is at ``place`` can host within a makespan.

        ``apart``: not all its forward passes fit in memory at once, so that it waits at either end of the step;
        else it waits at one of them at least. ``deeper``: the devices with a deeper group. In a chain the path to the
        end of the network and back crosses every one of them. The path from its beginning also crosses those that host
        earlier groups, as they must if they host more groups than there are deeper ones.
        """
        kinds, cap = self.kinds[0], float(self.problem.cap_with_slack[0])
        scale = 1.0 / makespan
        last = float(self.waits.tail.min())
        first = float(self.waits.head.min())
        hosted = [(k, x, self._count(copies, split)) for (k, copies), x in host.hosted.items()]
        begins = [(True, self.turn[place], *worth) for worth in self.worth[0]]
        ends = [(False, self.drain[place], *worth) for worth in self.worth[1]]
        if apart:
            pairs = [[b, e] for b in begins for e in ends]
        else:
            pairs = []
            self._all_fit(model, host, split)
        for waits in [[], *([b] for b in begins), *([e] for e in ends), *pairs]:
            fixed = makespan - (first if not waits or not waits[0][0] else 0.0)
            fixed -= last if not waits or waits[-1][0] else 0.0
            value = {x: count * kinds[k].work for k, x, count in hosted}
            for _, wait, price, above in waits:
                fixed += price * cap - wait
                for k, x, count in hosted:
                    value[x] += price * kinds[k].parameters - count * above[k]
            hops = {h.there: 2.0 * self.hop * len(waits) for h in deeper}
            least = min(kind.work for kind in kinds) * self.problem.microbatches
            before = self.hop * len(waits) * least / makespan if deeper else 0.0
            hops |= {x: before for h in deeper for x in h.hosted.values()}
            # without such a device the row is slack
            most = 2.0 * self.hop * len(waits) * self.problem.n_devices + before * len(self.groups) if deeper else 0.0
            columns = [*value, host.there, *hops]
            values = [*value.values(), most - fixed - before * place, *hops.values()]
            model.row(columns, [v * scale for v in values], upper=most * scale)

    def _all_fit(self, model: Model, host: Host, split: Split) -> None:
        cap, kinds = float(self.problem.cap_with_slack[0]), self.kinds[0]
        if cap <= 0:
            return
        taken = {
            x: (kinds[k].parameters + self._count(s, split) * kinds[k].activation) / cap
            for (k, s), x in host.hosted.items()
        }
        model.row([*taken, host.there], [*taken.values(), -1.0], upper=0.0)

    @staticmethod
    def _count(copies: tuple[int, ...], split: Split) -> float:
        """Microbatches of some copies."""
        return float(sum(split[c] for c in copies))

    def _cover(self, model: Model, hosts: list[tuple[int, Host]], copies: tuple[int, ...]) -> None:
        """Every group of every copy has a host whose deepest group is no less deep; groups without one are the cost."""
        _, base, of = self.kinds
        for copy in copies:
            for k in range(len(set(base))):
                homeless = model.variable(0.0, float(len(of)), 1.0)
                hosting = [(p, x) for p, h in hosts for (kk, s), x in h.hosted.items() if base[kk] == k and copy in s]
                seen = 0
                for place, kind in enumerate(of):
                    seen += kind == k
                    ends = place + 1 == len(of) or self.turn[place + 1] > self.turn[place]
                    if not seen or not ends:
                        continue
                    columns = [x for p, x in hosting if p <= place]
                    whole = place + 1 == len(of)
                    model.row(
                        [*columns, homeless],
                        [1.0] * (len(columns) + 1),
                        float(seen),
                        float(seen) if whole else math.inf,
                    )


def _worth(items: Sequence[tuple[Item, ...]]) -> list[tuple[float, list[float]]]:
    """Prices of a byte (seconds) at which the knapsack's dual bends: what items are worth for their memory.

    With each of them what the items of every kind are worth above it.
    """
    worth = sorted({seconds / size for those in items for seconds, size in those if size > 0}, reverse=True)
    step = max(1, math.ceil(len(worth) / PRICES_AT_MOST))
    return [
        (price, [sum(max(0.0, seconds - price * size) for seconds, size in those) for those in items])
        for price in worth[::step]
    ]
