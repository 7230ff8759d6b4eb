"""A bound over all placements: all microbatches turn from forward to backward at one operator, where memory is full.

One device runs all of the operator: its forward passes and input gradients, M of each, between the way through the
network and the way back (as in ``problem.group_bound``). So the M instants u_1 < ... < u_M at which its input gradients
start lie in a window: u_k at least k - 1 of both passes after its beginning, and M - k of these gradients before its
end. Around each of them its microbatch holds activations: operator i from ``until[i]`` before u to ``since[i]`` after
it, at least. Summed over the window that is a concave function of each instant, so least where the first k are as early
and all others as late as they can be: M + 1 cases. In each, bytes x seconds must fit into what all devices together
offer in the window.

In a chain the ways there and back take transfers: all work within the makespan needs some devices, at least, and each
further one two transfers.

Where operators have alternatives, leaner ones hold less, but their input gradients take longer; those on the longest
way back delay the end of the step. A fractional knapsack says by how much, at least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from planner.bounds.waits import Waits, fastest, least_hop
from planner.common.budget import Control
from planner.placement.versions import hull
from planner.problem import Problem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OPERATORS_AT_MOST = 4
"""Operators of the longest turns that are looked at."""

MICROBATCHES_AT_MOST = 512
PRECISION = 2e-4
"""Relative precision of makespans."""

CERTAIN = 1e-9
"""Relative difference from which on a comparison counts."""


def turn_bound(problem: Problem, control: Control) -> float:
    """Seconds that no plan of one copy beats; 0 in inference, without a cap on every device, or with many microbatches.

    It stops early, with what is proven by then, when ``control`` is over.
    """
    capped = bool(np.isfinite(problem.cap).all())
    if not problem.training or problem.copies > 1 or not capped or problem.microbatches > MICROBATCHES_AT_MOST:
        return 0.0
    waits, seconds = Waits.of(problem.relaxed), fastest(problem.relaxed)
    turns = waits.head + waits.after + problem.microbatches * (seconds[:, 0] + seconds[:, 1])
    longest = np.argsort(-turns, kind="stable")[:OPERATORS_AT_MOST]
    best = 0.0
    for h in longest.tolist():
        if not control.over:
            best = max(best, _Turn.of(problem, waits, seconds, h).bound(best, control))
    return best


@dataclass(frozen=True)
class _Turn:
    """One operator at which microbatches turn. Arrays are over the operators that lead to it, itself among them."""

    microbatches: int
    forward: float  # seconds of its F
    gradient: float  # and of its I
    reached: float  # earliest start of its first I
    rest: float  # from the start of an I to the end of the step, at least
    until: Floats  # seconds from the start of F to the turn, at least
    since: Floats  # and from the turn to the end of I
    held: Floats  # bytes of a microbatch in the quickest version
    whose: Ints  # steps to leaner versions: whose,
    longer: Floats  # by how much they lengthen the way back,
    fewer: Floats  # and how many bytes fewer they hold
    room: float  # bytes for activations of all devices
    hop: float  # seconds of a transfer that takes the way to the next device, at least, where all of it is a chain
    work: float  # seconds of compute of the step, at least

    @staticmethod
    def of(problem: Problem, waits: Waits, seconds: Floats, h: int) -> _Turn:
        until, since = np.full(problem.n_operators, -np.inf), np.full(problem.n_operators, -np.inf)
        until[h], since[h] = seconds[h, 0], seconds[h, 1]
        for i in reversed(problem.topological):
            for j in problem.consumers[i]:
                until[i] = max(until[i], seconds[i, 0] + until[j])
                since[i] = max(since[i], seconds[i, 1] + since[j])
        leading = np.flatnonzero(until > -np.inf)
        back, first = _way_back(problem, waits, seconds, h)
        computing = [i for i in problem.topological if not problem.on_comm[i]]
        through = computing and computing[-1] == h and not problem.inputs[first]
        held, steps = np.zeros(len(leading)), list[tuple[int, float, float]]()
        for k, i in enumerate(leading.tolist()):
            some = [problem.choices[v] for v in problem.versions[i]]
            slower = [_least(v.duration[i, 1], v.runs_on[i]) - seconds[i, 1] if i in back else 0.0 for v in some]
            points = [
                (max(0.0, more), float(version.activation[i]), v)
                for v, (more, version) in enumerate(zip(slower, some, strict=True))
                if math.isfinite(more)
            ]
            own = hull(points)
            held[k] = own[0][1]
            steps += [(k, b[0] - a[0], a[1] - b[1]) for a, b in pairwise(own)]
        whose, longer, fewer = np.array(steps).reshape(-1, 3).T
        return _Turn(
            problem.microbatches,
            float(seconds[h, 0]),
            float(seconds[h, 1]),
            float(waits.head[h] + seconds[h, 0]),
            float(seconds[h, 1] + waits.after[h]),
            until[leading],
            since[leading],
            held,
            whose.astype(np.int64),
            longer,
            fewer,
            math.fsum(problem.cap_with_slack) - math.fsum(problem.relaxed.parameters),
            least_hop(problem) if through else 0.0,
            problem.microbatches * float(seconds[computing].sum()),
        )

    def bound(self, known: float, control: Control) -> float:
        """The longest makespan shown to be too short, of those above what is ``known``."""
        low = max(known, self.reached + self.rest)
        high = 2.0 * max(low, self.reached + self.rest + self.microbatches * (self.forward + self.gradient))
        if self._fits(low * (1 + PRECISION)):
            return known
        while not control.over and not self._fits(high):
            low, high = high, 2.0 * high
            if self.room <= 0:
                return known  # nothing fits at all, which others prove
        while not control.over and high - low > PRECISION * high:
            middle = (low + high) / 2
            if self._fits(middle):
                high = middle
            else:
                low = middle
        return low

    def _fits(self, makespan: float) -> bool:
        """Whether memory may hold what microbatches hold around their turns in a step of that length."""
        hops = 2 * math.ceil(self.work / makespan - 1 - CERTAIN) if self.hop else 0
        window = makespan - self.reached - self.rest - hops * self.hop
        spare = window - (self.microbatches - 1) * (self.forward + self.gradient)
        if spare < -CERTAIN * makespan:
            return False
        before = self._packed(self.until, self.since, window, self.forward + self.gradient)
        behind = self._packed(self.since, self.until, window, self.gradient)
        return any(
            self._delay(before[:, k] + behind[:, self.microbatches - k], window) <= spare + CERTAIN * makespan
            for k in range(self.microbatches + 1)
        )

    def _packed(self, near: Floats, far: Floats, window: float, apart: float) -> Floats:
        """``[i, k]``: seconds in the window in which i is held, with k turns packed at one end of it, so far apart.

        ``near``: how long it is held on the side of that end, ``far``: on the other.
        """
        at = np.minimum(apart * np.arange(self.microbatches), max(0.0, window))
        each = np.minimum(at, near[:, None]) + np.minimum(window - at, far[:, None])
        return np.concatenate([np.zeros((len(near), 1)), np.cumsum(each, axis=1)], axis=1)

    def _delay(self, seconds: Floats, window: float) -> float:
        """By how much the way back is longer, at least, if operators are held for so many ``seconds`` in the window."""
        lacking = float(self.held @ seconds) * (1 - CERTAIN) - self.room * window
        if lacking <= 0:
            return 0.0
        freed = self.fewer * seconds[self.whose]
        some = np.flatnonzero(freed > 0)
        order = some[np.argsort(self.longer[some] / freed[some], kind="stable")]
        total = np.cumsum(freed[order])
        n = int(np.searchsorted(total, lacking))
        if n == len(order):
            return math.inf
        part = (lacking - (total[n - 1] if n else 0.0)) / freed[order[n]]
        return float(self.longer[order[:n]].sum() + part * self.longer[order[n]])


def _least(seconds: Floats, runs_on: npt.NDArray[np.bool_]) -> float:
    """Seconds on the fastest device that runs it; inf where none does."""
    return float(np.where(runs_on, seconds, np.inf).min())


def _way_back(problem: Problem, waits: Waits, seconds: Floats, h: int) -> tuple[set[int], int]:
    """The operators whose input gradients are the longest chain after that of operator h, and the last of them.

    It is left out where its W follows: a version without W takes the time of both in its I.
    """
    found: set[int] = set()
    i = h
    while problem.inputs[i]:
        j = max(problem.inputs[i], key=lambda j: seconds[j, 1] + waits.after[j])
        if seconds[j, 1] + waits.after[j] < waits.after[i] * (1 - CERTAIN):
            break  # its own W and step tasks take longer
        found.add(j)
        i = j
    return (found - {i} if seconds[i, 2] > 0 else found), i
