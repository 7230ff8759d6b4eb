"""A bound over all placements of one or two copies of like operators on like devices: what a device can host.

The work of M microbatches cannot be spread as evenly as fractions would allow: a device hosts whole operators of
each copy, and which ones they are decides how long it waits for its first task, for its first gradient where memory
is short, and after its last forward pass. So every device has a *pattern*: how many operators of each copy it hosts,
which of each copy is the earliest in the network and which the latest. For a makespan T only some patterns are left,
and an integer program asks whether the devices can be given such patterns that every operator of every copy is
hosted, none being the earliest or latest of two devices. If that fails for every split of the microbatches, every plan
takes longer than T.

On a chain of P operators, P devices and two copies it yields 3 M + P / 2 - 1 at F = I = W = 1: the work splits evenly
or worse, and the earliest operators, two of each depth, are used up before the last two devices have one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
import numpy.typing as npt

from planner.bounds.memory import gradient_items, idle
from planner.bounds.waits import Waits
from planner.common.budget import Control
from planner.common.highs import Model, Outcome
from planner.common.tolerance import SAME
from planner.problem import Problem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

OPERATORS_AT_MOST = 64
PATTERNS_AT_MOST = 20_000
SPLITS_AT_MOST = 5_000
NODES = 50
CERTAIN = 1e-3
"""Operators count as without a host if at least this much of one is left over."""


def pattern_bound(problem: Problem, control: Control) -> float:
    """Seconds that no plan can beat; 0 where the bound does not apply.

    It applies to at most two copies, devices that are all alike but for the network, and compute operators that take
    the same time for a microbatch, pass by pass.
    """
    if not problem.devices_work_alike or problem.copies > 2 or not problem.runs_on.all():
        return 0.0
    compute = [i for i in problem.topological if not problem.on_comm[i]]
    splits = problem.microbatches // 2 + 1 if problem.copies == 2 else 1
    if not compute or len(compute) > OPERATORS_AT_MOST or splits > SPLITS_AT_MOST:
        return 0.0
    passes = problem.duration[compute, :, 0]
    if not (passes == passes[0]).all() or passes[0].sum() <= 0:
        return 0.0
    return _Patterns.of(problem, compute).bound(control)


@dataclass(frozen=True)
class _Patterns:
    """The compute operators of a problem, all alike; arrays over them in topological order."""

    problem: Problem
    times: Floats  # seconds of F, I, W
    waits: Waits
    forward_rate: float  # most seconds of F for a byte of activation
    backward_rate: float  # most seconds of I and W for a byte
    activation: float  # of a microbatch, the least of all operators
    parameters: float  # the least of all operators
    chain: bool
    hop: float  # seconds of a transfer between operators of the chain on two devices, at least

    @staticmethod
    def of(problem: Problem, operators: list[int]) -> _Patterns:
        """Collect what the patterns need."""
        forward_rate, backward_rate = 0.0, 0.0
        times = problem.duration[operators[0], :, 0]
        for i in operators:
            size = float(problem.activation[i])
            forward_rate = max(forward_rate, times[0] / size if size > 0 else math.inf)
            for seconds, held in gradient_items(problem, [i], 0):
                backward_rate = max(backward_rate, seconds / held if held > 0 else math.inf)
        chain = problem.is_chain and len(operators) == problem.n_operators
        hops = [problem.transfer(i, d, e) for i in operators[:-1] for d, e in permutations(range(problem.n_devices), 2)]
        return _Patterns(
            problem,
            times,
            Waits.of(problem).some(operators),
            forward_rate,
            backward_rate,
            float(problem.activation[operators].min()),
            float(problem.parameters[operators].min()),
            chain,
            min(hops, default=0.0) if chain else 0.0,
        )

    @cached_property
    def n(self) -> int:
        """Number of operators."""
        return len(self.waits.head)

    @cached_property
    def work(self) -> float:
        """Seconds that an operator takes for a microbatch."""
        return float(self.times.sum())

    @cached_property
    def longest(self) -> float:
        """At least as many seconds as all waits of a device together."""
        waits = (self.waits.head, self.waits.turn, self.waits.drain, self.waits.tail)
        return sum(float(w.max()) for w in waits) + 4 * self.n * self.hop

    def bound(self, control: Control) -> float:
        """The least makespan for which some split of the microbatches leaves enough patterns."""
        m, devices = self.problem.microbatches, self.problem.n_devices
        least = m * self.n * self.work / devices
        best = m * math.ceil(self.n / devices) * self.work + self.longest
        asked: dict[bytes, bool] = {}
        for split in self._splits():
            if control.over:
                return 0.0
            if not self._enough(split, best * (1 - SAME), control, asked):
                continue
            low, high = least * (1 - SAME), best  # not enough, enough
            while high - low > SAME * high:
                middle = (low + high) / 2
                if self._enough(split, middle, control, asked):
                    high = middle
                else:
                    low = middle
            best = low
        return best

    def _splits(self) -> Iterator[tuple[int, int]]:
        """Microbatches of the two copies, the most even split first; all in the first where there is one copy."""
        m = self.problem.microbatches
        for few in range(m // 2 if self.problem.copies == 2 else 0, -1, -1):
            yield m - few, few

    def _enough(self, split: tuple[int, int], makespan: float, control: Control, asked: dict[bytes, bool]) -> bool:
        """Whether the patterns that a makespan leaves can host everything; True where that is not decided."""
        counts = self._counts(split, makespan)
        if not len(counts):
            return False
        # where one operator of either copy keeps a device busy for longer than all waits, only loads matter
        alike = split[1] * self.work >= self.longest
        loads = counts @ np.array(split)
        shape = b"".join((counts.tobytes(), loads.tobytes(), np.float64(makespan).tobytes()))
        if alike and shape in asked:
            return asked[shape]
        answer = self._patterns_suffice(counts, split, makespan, control, asked)
        if alike:
            asked[shape] = answer
        return answer

    def _patterns_suffice(
        self, counts: Ints, split: tuple[int, int], makespan: float, control: Control, asked: dict[bytes, bool]
    ) -> bool:
        """The same, for devices that host numbers of operators from ``counts``."""
        most, some = int(counts.max()), []
        for a, b in counts.tolist():
            pairs = self._ends(a), self._ends(b)
            if len(pairs[0]) * len(pairs[1]) > 10 * PATTERNS_AT_MOST:
                return True
            some.append(self._patterns(a, b, pairs, split, makespan, most))
        patterns = np.concatenate(some)
        if len(patterns) > PATTERNS_AT_MOST:
            return True
        key = patterns.tobytes() + bytes([split[1] > 0])
        if key not in asked:
            asked[key] = self._cover(patterns, split, control)
        return asked[key]

    @cached_property
    def _every_count(self) -> tuple[Ints, Ints]:
        """How many operators of each copy one device could host, some at least: of one copy alone, and of two."""
        of_one, of_two = ([[a, b] for a in range(self.n + 1) for b in some] for some in ([0], range(self.n + 1)))
        return np.array(of_one[1:]), np.array(of_two[1:])

    def _counts(self, split: tuple[int, int], makespan: float) -> Ints:
        """Operators of each copy that one device may host, so that all others can take the rest."""
        counts = self._every_count[split[1] > 0]
        load = self.work * (counts @ np.array(split))
        fits = np.flatnonzero(load <= makespan)
        if not len(fits):
            return np.empty((0, 2), dtype=np.int64)
        total = self.work * self.n * sum(split)
        least = (total - (self.problem.n_devices - 1) * load[fits].max()) * (1 - SAME)
        found: Ints = counts[fits[load[fits] >= least]]
        return found

    def _ends(self, hosted: int) -> Ints:
        """The earliest and the latest of so many operators of one copy on one device, by place in the order.

        A device that hosts none has both at ``n``, where the waits are infinite.
        """
        n = self.n
        if hosted == 0:
            return np.array([[n, n]])
        early, late = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
        if hosted == 1:
            good = early == late
        else:
            good = late - early + 1 >= hosted if self.chain else np.ones((n, n), dtype=bool)
        return np.stack([early[good], late[good]], axis=1)

    def _patterns(
        self, a: int, b: int, ends: tuple[Ints, Ints], split: tuple[int, int], makespan: float, most: int
    ) -> Ints:
        """The patterns of devices with a and b operators of the copies that a makespan leaves.

        A pattern is a row: a, b, then the earliest and the latest of copy 0 and of copy 1. No device hosts more than
        ``most`` operators of one copy, so that a chain goes from device to device that often.
        """
        x, y = np.meshgrid(np.arange(len(ends[0])), np.arange(len(ends[1])), indexing="ij")
        pairs = np.concatenate([ends[0][x.ravel()], ends[1][y.ravel()]], axis=1)
        shared = np.full(len(pairs), min(a, b))
        if self.chain:
            overlap = np.minimum(pairs[:, 1], pairs[:, 3]) - np.maximum(pairs[:, 0], pairs[:, 2]) + 1
            shared = np.minimum(shared, np.maximum(0, overlap))
        needed = self._seconds((a * split[0], b * split[1]), a + b - shared, pairs, most)
        kept = pairs[needed <= makespan]
        return np.concatenate([np.tile([a, b], (len(kept), 1)), kept], axis=1)

    def _seconds(self, counts: tuple[int, int], distinct: Ints, pairs: Ints, most: int) -> Floats:
        """Seconds that devices need, by ``pairs``, for ``counts`` microbatches of operators of the two copies."""
        waits, n = self.waits, self.n
        place = np.arange(n)
        around = self.hop * (math.ceil(n / most) - 1 + np.ceil((n - 1 - place) / most))
        head = np.append(waits.head + self.hop * np.ceil(place / most), np.inf)
        turn, drain = (np.append(w + around, np.inf) for w in (waits.turn, waits.drain))
        last = float(waits.tail.min())
        load = sum(counts) * self.work
        first = np.minimum(head[pairs[:, 0]], head[pairs[:, 2]])
        needed = np.asarray(first + load + last)
        room = np.maximum(0.0, float(self.problem.cap_with_slack[0]) - distinct * self.parameters)
        forwards, backwards = self._work_in_memory(room)
        for copies in ((0,), (1,), (0, 1)):
            count = sum(counts[c] for c in copies)
            if not count:
                continue
            others = load - count * self.work
            begin = np.min([head[pairs[:, 2 * c]] for c in copies], axis=0)
            before, after = begin, np.full(len(pairs), last)
            several = np.ones(len(pairs), dtype=bool)
            if self.problem.training:
                before = np.maximum(before, np.min([turn[pairs[:, 2 * c + 1]] for c in copies], axis=0) - forwards)
                if self.chain:
                    ends = np.min([drain[pairs[:, 2 * c + 1]] for c in copies], axis=0)
                    after = np.maximum(after, ends - backwards)
                several = (count * self.activation > room) | (before == begin)
            needed = np.maximum(needed, load + idle(first, last, before, after, others, several))
        return needed

    def _work_in_memory(self, room: Floats) -> tuple[Floats, Floats]:
        """Seconds of F, and of I and W, that run on activations which fit in ``room`` together."""
        forwards, backwards = np.full(len(room), np.inf), np.full(len(room), np.inf)
        if not np.isfinite(room).all():
            return forwards, backwards
        if self.activation > 0:
            forwards = np.minimum(room * self.forward_rate, np.floor(room / self.activation + SAME) * self.times[0])
        if math.isfinite(self.backward_rate):
            backwards = room * self.backward_rate
        return forwards, backwards

    def _cover(self, patterns: Ints, split: tuple[int, int], control: Control) -> bool:
        """Whether the devices can be given patterns that leave no operator without a host, as far as is proven."""
        for integer in (False, True):
            model = Model()
            columns = [model.variable(0.0, self.problem.n_devices, 0.0, integer) for _ in patterns]
            model.row(columns, [1.0] * len(columns), upper=float(self.problem.n_devices))
            for copy in (0, 1) if split[1] else (0,):
                homeless = model.variable(0.0, float(self.n), 1.0)
                hosts = [*map(float, patterns[:, copy]), 1.0]
                model.row([*columns, homeless], hosts, float(self.n), float(self.n))
            for copy in (0, 1):
                for place in range(self.n):
                    here = np.flatnonzero((patterns[:, 2 + 2 * copy : 4 + 2 * copy] == place).any(axis=1)).tolist()
                    if here:
                        model.row([columns[x] for x in here], [1.0] * len(here), upper=1.0)
            # The second, certified solve is needed only if the first finds no hosts.
            nodes = NODES if integer else None
            if all(_homeless(model.solve(control, nodes=nodes, certify=twice)) for twice in (False, True)):
                return False
        return True


def _homeless(outcome: Outcome) -> bool:
    """Whether a solve shows that some operator finds no host."""
    return outcome.infeasible or outcome.bound > CERTAIN
