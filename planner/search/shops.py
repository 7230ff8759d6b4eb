"""Job shops: a first plan at once, then branching with learning until a schedule is proven shortest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.plan.timetable import Timetable
from planner.problem import Placement, Problem
from planner.problem.shop import is_job_shop
from planner.schedule.classes import Ints
from planner.search.incumbent import Incumbent

if TYPE_CHECKING:
    from planner.schedule.branching import Branching

PROBED = 100
"""Contradictions after which a limit of the makespan is given up, in the first round. The next has twice as many."""

SHARE = 3
"""Contradictions spent on the next better schedule, x those that a limit far below it gets."""

AT_ONCE = 6_000
"""Contradictions before anything else is tried."""


def offer_first(incumbent: Incumbent) -> None:
    """A plan before anything compiled is loaded.

    The operator that has the most work left after it goes first, to the device on which it ends first.
    """
    problem = incumbent.problem
    shortest = np.where(problem.runs_on, problem.duration[:, 0, :], np.inf).min(axis=1)
    left = shortest.copy()
    for i in reversed(problem.topological):
        left[i] += max((left[j] for j in problem.consumers[i]), default=0.0)
    device_of = [0] * problem.n_operators
    end, free = np.zeros(problem.n_operators), np.zeros((problem.n_devices, 2))
    waiting = {i: len(problem.inputs[i]) for i in range(problem.n_operators)}
    order: list[int] = []
    ready = [i for i, n in waiting.items() if not n]
    while ready:
        i = max(ready, key=lambda i: (left[i], -i))
        ready.remove(i)
        stream = int(problem.on_comm[i])
        begin = max((end[j] for j in problem.inputs[i]), default=0.0)
        ends = np.maximum(begin, free[:, stream]) + np.where(problem.runs_on[i], problem.duration[i, 0], np.inf)
        device_of[i] = d = int(ends.argmin())
        end[i] = free[d, stream] = ends[d]
        order.append(i)
        for j in problem.consumers[i]:
            waiting[j] -= 1
            if not waiting[j]:
                ready.append(j)
    incumbent.offer(in_order(problem, device_of, order, "most work left"), "the operator with most work left first")


def in_order(problem: Problem, device_of: Iterable[int], order: Iterable[int], origin: str) -> Timetable:
    """The timetable in which operators start as early as they can, given devices and an order (inputs first)."""
    placement = Placement.single(tuple(map(int, device_of)), origin)
    device = placement.device_of[0]
    start = np.full((problem.n_operators, 3, 1), np.nan)
    end = [0.0] * problem.n_operators
    free: dict[tuple[int, bool], float] = {}
    for i in order:
        stream = (device[i], bool(problem.on_comm[i]))
        begin = max([free.get(stream, 0.0), *(end[j] for j in problem.inputs[i])])
        start[i, 0, 0] = begin
        end[i] = free[stream] = begin + float(problem.duration[i, 0, device[i]])
    return Timetable(placement, (0,), start, ())


@dataclass
class ShopBranch:
    """The branching on a problem, and where it stands: it may go on after other methods have had their turn."""

    incumbent: Incumbent
    branching: Branching
    lowest: int  # ticks: no schedule is shorter
    most: int  # ticks: what no schedule of interest exceeds
    probed: int = PROBED  # contradictions for a limit in this round
    spent: int = 0
    given_up: bool = False

    @staticmethod
    def of(incumbent: Incumbent) -> ShopBranch | None:
        """Prepare for a problem of which a schedule is known; None where it is no job shop, or too large."""
        if incumbent.best is None or not is_job_shop(incumbent.problem):
            return None
        from planner.schedule.branching import Branching

        branching = Branching.of(incumbent.problem, incumbent.best.makespan)
        if branching is None:
            return None
        return ShopBranch(incumbent, branching, 0, math.ceil(incumbent.best.makespan / branching.unit))

    def run(self, contradictions: float = math.inf) -> None:
        """Go on for so many contradictions, or until the shortest schedule is proven or time is over.

        A large shop is left to other methods while there is a limit.

        Each round asks from below, halving what is open between bound and best, until there is no answer in time;
        then from above, in strides that double with each success. The next round allows twice as much.
        """
        if contradictions < math.inf and self.branching.is_large:
            return
        until = self.spent + contradictions
        self._learn_from_best()
        while self._is_open and self.spent < until:
            while self._is_open and self._ask(self.lowest + (self.most - self.lowest) // 2, self.probed):
                pass
            stride = 1
            while self._is_open:
                before = self.most
                answered = self._ask(max(self.lowest, self.most + 1 - stride), SHARE * self.probed)
                if not answered and stride == 1:
                    break
                stride = 2 * stride if self.most < before else 1
            self.probed *= 2

    @property
    def _is_open(self) -> bool:
        return self.lowest <= self.most and not self.given_up and not self.incumbent.met

    def _learn_from_best(self) -> None:
        """Take over the best schedule and the bound, wherever they come from."""
        incumbent, branching = self.incumbent, self.branching
        best = incumbent.best
        assert best is not None
        self.most = min(self.most, math.floor(incumbent.cutoff / branching.unit))
        self.lowest = max(self.lowest, math.floor(incumbent.bound / branching.unit * (1 + 1e-12)))
        branching.follow(np.array(best.timetable.placement.device_of[0]), best.timetable.start[:, 0, 0])

    def _ask(self, at_most: int, budget: int) -> bool:
        """Whether there was an answer to: is there a schedule of at most so many ticks? It is made use of."""
        incumbent, branching = self.incumbent, self.branching
        incumbent.control.report(f"branching, at most {at_most * branching.unit:g} s")
        answer = branching.ask(at_most, self.most, budget, incumbent.control)
        self.spent += max(1, answer.contradictions)
        self.given_up |= answer.given_up
        if answer.cut or answer.given_up:
            return False
        if answer.start is not None:
            self._offer(answer.device_of, answer.start)
        else:
            self.lowest = (self.most if answer.exhausted else at_most) + 1
            assert incumbent.best is not None
            incumbent.raise_bound(min(self.lowest * branching.unit, incumbent.best.makespan), "branching")
        return True

    def _offer(self, device_of: Ints, start: Ints) -> None:
        """A schedule in ticks becomes one in seconds, in the same order."""
        incumbent, branching = self.incumbent, self.branching
        problem = incumbent.problem
        ticks = branching.ticks[np.arange(problem.n_operators), device_of]
        self.most = min(self.most, int((start + ticks).max()) - 1)
        rank = np.empty(problem.n_operators, dtype=np.int64)
        rank[list(problem.topological)] = np.arange(problem.n_operators)
        order = np.lexsort((rank, ticks > 0, start)).tolist()  # what takes no time comes first
        incumbent.offer(in_order(problem, device_of.tolist(), order, "branching"), "branching")
        self._learn_from_best()
