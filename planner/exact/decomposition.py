"""Both levels together, exactly: logic-based Benders decomposition by branch and bound.

The master problem (level 1) decides where every group of operators runs and how the microbatches are split between
copies. The sub-problem (level 2) decides order and times on one placement. What level 2 proves of a placement goes back
to level 1 as a cut: "a makespan of at least v, here". (Hooker and Ottosson, "Logic-based Benders decomposition", 2003;
She et al. 2025 solve the same two levels, each once, without a proof.)

The master is solved by branch and bound over partial placements (``assignments``), the one with the lowest bound first,
rather than as a MIP with cuts: a bound takes microseconds, and a cut raises the bound of the node it belongs to, so
nothing is solved again. Cuts are strengthened from the other side: level 2 is asked about *partial* placements first,
relaxed to a problem in which the other groups take their least time on devices of their own. What it refutes there is
refuted for all completions. Placements that exchanges of like devices or copies turn into each other are looked at
once. The least bound of what is left is a bound of the problem at any time; when it meets the best schedule, that is
optimal.

Level 2 has two methods. ``sequences`` looks at few states at first, and at more when the turn of the placement comes
again, so that a placement that is hard to refute does not hold up the others. Where that does not decide, the counting
model (a MIP on the grid of all times) is asked for a schedule below the limit; its "no" is solved twice.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count, permutations

import numpy as np
import numpy.typing as npt

from planner.common.budget import Control
from planner.exact.assignments import Level1, Where
from planner.exact.sequences import Answer, shortest
from planner.exact.shop import shop_of
from planner.exact.ticks import NEVER, in_ticks
from planner.problem import Placement, Problem
from planner.scheduling.classes import Classes, Floats, build_classes

TURNS: tuple[int | None, ...] = (300, 3_000, 30_000, 300_000, None, 3_000_000, None, 30_000_000)
"""States that level 2 may look at in a placement, turn by turn; None: the counting model is asked."""

NODES = 50
"""Nodes of the counting model when it is asked first; each further time ten times as many."""

UNWATCHED = 30_000
"""States up to which level 2 does not look at the clock: a tenth of a second."""

ASKING, CLASS, PLACING = 300, 12, 50
"""States that take as long as asking level 2, more for each class, and as the bound of a placement."""

PARTIAL = 200
"""States that level 2 may look at in a partial placement."""

KEPT_BYTES = 200_000_000
"""Memory for the states that level 2 keeps."""

PATIENCE = 0.03
"""How much later a placement comes for each turn that it has had, relative to its bound."""

COUNTED_AT_MOST = 10_000
"""Variables of a counting model that is asked."""


@dataclass(order=True)
class _Node:
    """A partial placement, or a whole one that level 2 has not decided. The lowest ``rank`` comes first."""

    rank: float
    depth: int  # negative: of equal ranks the one with more decisions
    number: int
    bound: int = field(compare=False)
    level1: Level1 = field(compare=False)
    where: Where = field(compare=False)
    turn: int = field(compare=False, default=0)

    @property
    def is_whole(self) -> bool:
        """Whether every group has a device in every copy."""
        return len(self.where) == self.level1.decisions


Found = Callable[[Classes, Floats], None]
"""Told of a schedule: its classes, and starts in ticks."""


class Decomposition:
    """The search over all placements and splits of a problem, which can be cut off and go on later.

    ``below``: only schedules of less ticks (``tick`` seconds each) are of interest; it falls when one is found.
    ``on_grid``: whether all times are whole ticks, so that the counting model may be asked. ``placements``: all that
    are allowed, each with all copies in use; None where every placement is.
    """

    def __init__(
        self,
        problem: Problem,
        tick: float,
        below: int,
        on_grid: bool = True,
        placements: Iterable[Placement] | None = None,
    ) -> None:
        self.problem, self.tick, self.below, self.on_grid = problem, tick, below, on_grid
        self.asked = self.decided = self.counted = 0  # by level 2; placements that the counting model was asked about
        self._tasks = max(1, problem.microbatches * int(problem.has_pass.sum()))
        self.fruitful = True  # for the caller: whether its last run has brought something
        self._numbers = count()
        self._seen: set[tuple[tuple[int, ...], Where]] = set()
        self._heap: list[_Node] = []
        self._refuted: Counter[int] = Counter()  # partial placements by their number of decisions
        self._relaxed_asked: Counter[int] = Counter()
        if placements is None:
            for counts in splits(problem.microbatches, problem.copies):
                self._add(Level1(problem, tick, counts), (), 0)
            return
        ordered = [s for s in splits(problem.microbatches, problem.copies) if len(s) == problem.copies]
        levels = [Level1(problem, tick, c) for c in sorted({c for s in ordered for c in permutations(s)})]
        for placement in placements:
            for level1 in levels:
                for where in level1.everywhere(placement):
                    self._push(level1, where, level1.bound(where), 0)

    @property
    def open(self) -> bool:
        """Whether anything is left that could be shorter."""
        return bool(self._heap)

    @property
    def bound(self) -> int:
        """Ticks that no schedule is shorter than, or ``below`` where none is shorter than that."""
        return min(self.below, min((node.bound for node in self._heap), default=NEVER))

    def describe(self) -> str:
        """What has been decided, and which level holds the gap."""
        whole = [node for node in self._heap if node.is_whole and node.turn > 0]
        asked = f"exact decomposition: level 2 decided {self.decided} of {self.asked} questions"
        if not self._heap:
            return f"{asked}; nothing is left"
        left = f"{len(self._heap)} partial or whole placements are left"
        if min(self._heap, key=lambda node: node.bound) in whole:
            return f"{asked}; {left}, and level 2 holds the gap: order and times on {len(whole)} of them are undecided"
        return f"{asked}; {left}, and level 1 holds the gap: the lowest bound is of one that level 2 has yet to decide"

    def promising(self, most: int) -> list[Placement]:
        """Whole placements that level 2 has not decided, with the lowest bounds."""
        undecided = [node for node in self._heap if node.is_whole and node.turn > 0]
        best = sorted(undecided, key=lambda node: (node.bound, node.number))[:most]
        return [node.level1.placement(node.where, "exact decomposition") for node in best]

    def shorten(self, below: int) -> None:
        """Only schedules of less than ``below`` ticks are of interest from now on."""
        if below < self.below:
            self.below = below
            self._heap = [node for node in self._heap if node.bound < below]
            heapify(self._heap)

    def step(self, found: Found, control: Control) -> float:
        """Take the most promising node: branch, or ask level 2. Returns the effort, in schedules evaluated."""
        node = heappop(self._heap)
        if node.is_whole:
            return self._ask(node, found, control)
        nodes, bound = self._relaxed(node) if self._worth_relaxing(len(node.where)) else (0, node.bound)
        if bound < self.below:
            for where in node.level1.children(node.where):
                self._add(node.level1, where, bound)
                nodes += PLACING
        return nodes / self._tasks

    def _add(self, level1: Level1, where: Where, bound: int) -> None:
        key = (level1.counts, level1.canonical(where))
        if key in self._seen:
            return
        self._seen.add(key)
        if len(where) == level1.decisions and _has_like_copies(level1, where):
            return  # copies in the same place are one copy, which another split has
        self._push(level1, where, max(bound, level1.bound(where)), 0)

    def _push(self, level1: Level1, where: Where, bound: int, turn: int) -> None:
        if bound < self.below:
            rank = bound * (1.0 + PATIENCE * turn)
            heappush(self._heap, _Node(rank, -len(where), next(self._numbers), bound, level1, where, turn))

    def _worth_relaxing(self, decisions: int) -> bool:
        """Whether level 2 often refutes partial placements of so many decisions; else it is asked now and then."""
        asked = self._relaxed_asked[decisions]
        self._relaxed_asked[decisions] += 1
        return decisions > 0 and (asked < 20 or 20 * self._refuted[decisions] >= asked or asked % 20 == 0)

    def _relaxed(self, node: _Node) -> tuple[int, int]:
        """Level 2 on a partial placement, the rest relaxed: states, and a bound of all completions in ticks."""
        level1 = node.level1
        placement = level1.relaxed_placement(node.where)
        classes = build_classes(level1.relaxed, placement, level1.counts)
        if (classes.available < 0).any():
            return _asking(classes), NEVER
        answer = self._sequences(classes, PARTIAL, any_will_do=True)
        self.asked += 1
        self.decided += answer.proven
        self._refuted[len(node.where)] += answer.proven
        return _asking(classes) + answer.nodes, max(node.bound, answer.bound if answer.start is None else 0)

    def _ask(self, node: _Node, found: Found, control: Control) -> float:
        """Level 2 on one placement, with as much effort as its turn allows."""
        placement = node.level1.placement(node.where, "exact decomposition")
        classes = build_classes(self.problem, placement, node.level1.counts)
        self.asked += 1
        if (classes.available < 0).any():
            self.decided += 1
            return _asking(classes) / self._tasks
        states = TURNS[min(node.turn, len(TURNS) - 1)]
        if states is None:
            decided, effort = self._count(classes, node.turn, found, control)
            bound = node.bound
        else:
            answer = self._sequences(classes, states, control=control)
            if answer.start is not None:
                found(classes, answer.start)
                self.shorten(answer.makespan)
            decided, bound = answer.proven, max(node.bound, answer.bound)
            effort = (_asking(classes) + answer.nodes) / self._tasks
        if decided:
            self.decided += 1
        else:
            self._push(node.level1, node.where, bound, node.turn + 1)
        return effort

    def _sequences(
        self, classes: Classes, states: int, any_will_do: bool = False, control: Control | None = None
    ) -> Answer:
        kept = max(1_000, min(states + 1, KEPT_BYTES // (10 * classes.n + 32)))
        shop = shop_of(classes, self.tick)
        if control is None or states <= UNWATCHED:
            return shortest(shop, self.below, states, kept, any_will_do)
        with _watched(control) as stop:
            return shortest(shop, self.below, states, kept, any_will_do, stop)

    def _count(self, classes: Classes, turn: int, found: Found, control: Control) -> tuple[bool, float]:
        """Whether the counting model has shown that there is no schedule below the limit; effort."""
        from planner.scheduling.models.counting import STEPS_AT_MOST, CountingModel

        # The step of the placement may be a multiple of the problem's.
        steps = round(classes.tick / self.tick)
        horizon = (self.below - 1) // steps if steps else 0
        model = CountingModel(classes, horizon) if self.on_grid and 0 < horizon <= STEPS_AT_MOST else None
        if model is None or model.size > COUNTED_AT_MOST:
            return False, _asking(classes) / self._tasks
        self.counted += 1
        nodes = NODES * 10 ** TURNS[:turn].count(None)
        before = control.spent
        answer = model.solve(control, 1, nodes)
        if answer.start is not None:
            start = answer.start * steps
            found(classes, start)
            self.shorten(int((start + in_ticks(classes.seconds, self.tick)[:, None])[start >= 0].max()))
        return answer.impossible, max(1.0, control.spent - before)


def _has_like_copies(level1: Level1, where: Where) -> bool:
    """Whether two copies are in the same place and the same versions, and one of them could be left out."""
    return len({where[copy :: level1.copies] for copy in range(level1.copies)}) < level1.copies


def _asking(classes: Classes) -> int:
    return ASKING + CLASS * classes.n


@contextmanager
def _watched(control: Control) -> Iterator[npt.NDArray[np.bool_]]:
    """A flag that is set when the control says that the search is over, for compiled code to look at."""
    stop, done = np.zeros(1, dtype=np.bool_), threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            stop[0] = control.over

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        done.set()
        watcher.join()


def splits(microbatches: int, copies: int) -> Iterator[tuple[int, ...]]:
    """How many microbatches each copy in use runs, the first copies most: all ways, exchanges of copies aside."""

    def parts(left: int, most: int, copies: int) -> Iterator[tuple[int, ...]]:
        if left == 0:
            yield ()
        elif copies > 0:
            for here in range(min(left, most), 0, -1):
                for rest in parts(left - here, here, copies - 1):
                    yield (here, *rest)

    yield from parts(microbatches, microbatches, copies)
