"""The counting model: identical microbatches, so only how many have started matters.

``C[a, t]``: tasks of class a started up to grid step t. No microbatch index, no big M, a tight LP:

* one start a step at most, all within the window that heads, tails and the horizon leave;
* ``C[b, t] <= C[a, t - duration of a]`` for a before b (the k-th start is microbatch k); what comes once waits for all
  of a: ``n C[b, t] <= C[a, t - duration of a]`` where a runs n times;
* on every stream and channel, what started within its own duration up to t is at most one;
* on every device, memory taken less memory released is at most what is available: linear in C.

It asks whether a schedule of at most so many steps exists. The grid is the exact common step of all durations, so that
an answer "no" is a proof for the placement with one copy. With several copies, mirrored or not, only an answer "yes"
means something.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from planner.common.budget import Control
from planner.common.highs import Model, Outcome
from planner.scheduling.classes import Classes, Floats, Hold

VARIABLES_AT_MOST = 40_000
STEPS_AT_MOST = 2_000


@dataclass(frozen=True)
class Answer:
    """Starts in ticks (classes, largest count) where a schedule was found; ``impossible`` where there is none."""

    start: Floats | None
    impossible: bool


class CountingModel:
    """One feasibility question: all tasks within ``horizon`` steps; one method a family of constraints."""

    def __init__(self, classes: Classes, horizon: int) -> None:
        self.classes = classes
        self.horizon = horizon
        self.length = classes.ticks.astype(np.int64)
        head = np.rint(classes.head / classes.tick).astype(np.int64)
        tail = np.rint(classes.tail / classes.tick).astype(np.int64)
        self.first = head  # first step at which the first task can start
        self.last = horizon - tail - self.length  # last step at which the last one can
        self.impossible = bool((self.last < self.first).any() or (classes.available < 0).any())

    @property
    def size(self) -> int:
        """Number of variables."""
        return int(np.maximum(0, self.last - self.first + 1).sum())

    def solve(self, control: Control, nodes: int | None = None, certify: bool = True) -> Answer:
        """Answer the question, or neither where time ran out; ``certify`` where a "no" is to be a proof."""
        if self.impossible:
            return Answer(None, True)
        self.model = Model()
        if not self.starts_within_windows():
            return Answer(None, True)
        self.one_start_a_step_at_most()
        self.tasks_follow_their_inputs()
        self.streams_run_one_task_at_a_time()
        self.memory_suffices()
        outcome = self.model.solve(control, nodes=nodes, certify=certify)
        control.spend(outcome.nodes)
        if outcome.infeasible:
            return Answer(None, True)
        return Answer(self._starts(outcome), False)

    def starts_within_windows(self) -> bool:
        """C[a, t] between what must and what can have started by t; False where that leaves nothing."""
        count, length = self.classes.count, np.maximum(self.length, 0)
        self.column = np.full(self.classes.n, -1, dtype=np.int64)
        for a in range(self.classes.n):
            steps = np.arange(self.first[a], self.last[a] + 1)
            if length[a]:
                can = np.minimum(count[a], (steps - self.first[a]) // length[a] + 1)
                left = np.maximum(0, self.last[a] - steps + length[a] - 1) // length[a]
                must = np.maximum(0, count[a] - left)
            else:
                can = np.full(len(steps), count[a])
                must = np.where(steps == self.last[a], count[a], 0)
            if (must > can).any():
                return False
            self.column[a] = len(self.model.cost)
            for low, high in zip(must.tolist(), can.tolist(), strict=True):
                self.model.variable(float(low), float(high), 0.0, True)
        return True

    def count_at(self, a: int, t: int) -> tuple[int, float]:
        """C[a, t] as (column, constant): column -1 where it is constant."""
        if t < self.first[a]:
            return -1, 0.0
        if t >= self.last[a]:
            return -1, float(self.classes.count[a])
        return int(self.column[a] + t - self.first[a]), 0.0

    def _row(
        self, terms: Iterable[tuple[int, int, float]], upper: float, extra: Iterable[tuple[int, float]] = ()
    ) -> None:
        """Sum of value x C[a, t] <= upper, for terms (a, t, value), and of value x column for ``extra``."""
        total: dict[int, float] = dict(extra)
        for a, t, value in terms:
            column, constant = self.count_at(a, t)
            if column < 0:
                upper -= value * constant
            else:
                total[column] = total.get(column, 0.0) + value
        total = {c: v for c, v in total.items() if v}
        if total or upper < 0:
            self.model.row(list(total), list(total.values()), upper=upper)

    def one_start_a_step_at_most(self) -> None:
        """0 <= C[a, t] - C[a, t - 1] <= 1 (any number at once where the task takes no time)."""
        for a in range(self.classes.n):
            for t in range(int(self.first[a]), int(self.last[a]) + 1):
                self._row([(a, t - 1, 1.0), (a, t, -1.0)], 0.0)
                if self.length[a] and t > self.first[a]:
                    self._row([(a, t, 1.0), (a, t - 1, -1.0)], 1.0)

    def tasks_follow_their_inputs(self) -> None:
        """C[b, t] <= C[a, t - duration of a], times the tasks of a that b waits for."""
        for b in range(self.classes.n):
            for a in self.classes.preds[b]:
                each = float(self.classes.count[a] // self.classes.count[b])
                for t in range(int(self.first[b]), int(self.last[b]) + 1):
                    self._row([(b, t, each), (a, t - int(self.length[a]), -1.0)], 0.0)

    def streams_run_one_task_at_a_time(self) -> None:
        """What has started within its own duration up to t, on each stream and channel."""
        members: dict[int, list[int]] = {}
        for a, resources in enumerate(self.classes.resources):
            for r in resources:
                if self.length[a]:
                    members.setdefault(r, []).append(a)
        for here in members.values():
            begin, end = min(self.first[here]), max(self.last[here])
            for t in range(int(begin), int(end) + 1):
                terms = [(a, t, 1.0) for a in here] + [(a, t - int(self.length[a]), -1.0) for a in here]
                self._row(terms, 1.0)

    def memory_suffices(self) -> None:
        """Taken less released, at every step at which something may be taken."""
        classes = self.classes
        for d in range(classes.problem.n_devices):
            holds = [h for h in classes.holds if h.device == d]
            room = float(classes.available[d])
            if not np.isfinite(room) or not holds:
                continue
            if sum(h.size * float(classes.count[h.alloc]) for h in holds) <= room:
                continue
            unit = max(h.size for h in holds)
            takers = sorted({h.alloc for h in holds})
            begin, end = min(self.first[takers]), max(self.last[takers])
            for t in range(int(begin), int(end) + 1):
                self._memory_row(holds, t, room / unit, unit)

    def _memory_row(self, holds: list[Hold], t: int, room: float, unit: float) -> None:
        """Memory at step t; a hold with several releasers gets a variable for the fewest of them that have ended."""
        terms = [(h.alloc, t, h.size / unit) for h in holds]
        extra: list[tuple[int, float]] = []
        for h in holds:
            if len(h.releases) == 1:
                a = h.releases[0]
                terms.append((a, t - int(self.length[a]), -h.size / unit))
                continue
            fewest = self.model.variable(0.0, float(self.classes.count[h.alloc]))
            for a in h.releases:
                column, constant = self.count_at(a, t - int(self.length[a]))
                if column < 0:
                    self.model.row([fewest], [1.0], upper=constant)
                else:
                    self.model.row([fewest, column], [1.0, -1.0], upper=0.0)
            extra.append((fewest, -h.size / unit))
        self._row(terms, room, extra)

    def _starts(self, outcome: Outcome) -> Floats | None:
        if outcome.values is None:
            return None
        classes = self.classes
        start = np.full((classes.n, int(classes.count.max())), np.nan)
        for a in range(classes.n):
            steps = np.arange(self.first[a], self.last[a] + 1)
            counts = np.rint(outcome.values[self.column[a] : self.column[a] + len(steps)]).astype(np.int64)
            counts[-1] = classes.count[a]
            start[a, : classes.count[a]] = np.repeat(steps, np.diff(counts, prepend=0))
        return start
