"""Baselines made of a building block: one pattern of slots, repeated every microbatch, then tightened at both ends.

Qi et al., "Pipeline Parallelism with Controllable Memory" (2024), in the order of the authors' implementation
(``zbv_greedy.py``: ``schedule_from_pattern`` in github.com/sail-sg/zero-bubble-pipeline-parallelism). Stages r
and 2P-1-r run on device r; a forward, an input gradient and a weight gradient take one slot each. The distances
between the passes of a microbatch decide what a device holds. In warm-up and drain, passes are pulled to earlier
free slots, as long as no device then holds more than the fullest one did.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from planner.baselines.action import action
from planner.baselines.row import Row, Rows, numbered

PERIOD = 6
"""Slots from one microbatch to the next: two each of F, I and W."""

FORTH, BACK, GRADIENT_FORTH, GRADIENT_BACK, WEIGHT_FORTH, WEIGHT_BACK = range(6)
"""The passes of a microbatch on a device: F of stage r, then of 2P-1-r; I of 2P-1-r, then of r; their W."""


class Task(NamedTuple):
    """One pass of one microbatch."""

    pass_: int
    microbatch: int


Slots = list[Task | None]
"""What one device runs, slot by slot."""

Starts = list[list[list[int]]]
"""``starts[rank][pass][microbatch]``: the slots of the first four passes."""


def rows(block: Callable[[int, int], Sequence[int]], ranks: int, microbatches: int) -> Rows:
    """The order of every device; ``block(r, ranks)``: the slots of microbatch 0's first four passes on device r."""
    # Warm-up and drain take some 3/2 P microbatches: more of them only repeat the steady state.
    played = min(microbatches, 2 * ranks + 8)
    grid = [_with_weights(_repeated(block(r, ranks), played)) for r in range(ranks)]
    _Pull(grid, played, filling=True).run()
    grid = [_without_weights(slots) for slots in _squeezed(grid, played)]
    # Again, with weight gradients wherever a slot is free, not where they stood: this shortens the drain further.
    _Pull(grid, played, filling=False).run()
    grid = _squeezed([_with_weights(slots) for slots in grid], played)
    out = []
    for r, slots in enumerate(grid):
        tasks = [task for task in _with_weights(_without_weights(slots)) if task is not None]
        out.append(_row(_prolonged(tasks, microbatches - played), r, ranks))
    return out


def _prolonged(tasks: list[Task], more: int) -> list[int]:
    """The passes of the order with more microbatches: the period in its middle is repeated."""
    passes = [task.pass_ for task in tasks]
    if not more:
        return passes
    cut = len(tasks) // 2
    period = tasks[cut : cut + PERIOD]
    assert tasks[cut - PERIOD : cut] == [Task(p, m - 1) for p, m in period], "an order that has not settled"
    return passes[:cut] + passes[cut : cut + PERIOD] * more + passes[cut:]


def _repeated(offsets: Sequence[int], microbatches: int) -> Slots:
    slots: Slots = [None] * (max(offsets) + PERIOD * (microbatches - 1) + 1)
    for p, offset in enumerate(offsets):
        for m in range(microbatches):
            slots[offset + PERIOD * m] = Task(p, m)
    return slots


def _with_weights(slots: Slots) -> Slots:
    """Each free slot takes a deferred weight gradient, of stage 2P-1-r before those of r; the rest follow."""
    waiting: tuple[deque[int], deque[int]] = (deque(), deque())
    out: Slots = []

    def weight() -> Task | None:
        for p, those in zip((WEIGHT_FORTH, WEIGHT_BACK), waiting, strict=True):
            if those:
                return Task(p, those.popleft())
        return None

    for task in slots:
        if task is not None and task.pass_ >= GRADIENT_FORTH:
            waiting[task.pass_ - GRADIENT_FORTH].append(task.microbatch)
        out.append(weight() if task is None else task)
    while (task := weight()) is not None:
        out.append(task)
    return out


def _without_weights(slots: Slots) -> Slots:
    return [None if task is None or task.pass_ >= WEIGHT_FORTH else task for task in slots]


def _starts(grid: Sequence[Slots], microbatches: int) -> Starts:
    starts = [[[0] * microbatches for _ in range(4)] for _ in grid]
    for slots, there in zip(grid, starts, strict=True):
        for slot, task in enumerate(slots):
            if task is not None and task.pass_ < WEIGHT_FORTH:
                there[task.pass_][task.microbatch] = slot
    return starts


def _earliest(starts: Starts, rank: int, task: Task) -> int:
    """The first slot after the pass's input, the pass before it on the device, and the microbatch before it."""
    p, m = task
    before = rank - 1 if p in (FORTH, GRADIENT_FORTH) else rank + 1
    slot = starts[before][p][m] + 1 if 0 <= before < len(starts) else 0
    if p > 0:
        slot = max(slot, starts[rank][p - 1][m] + 1)
    return max(slot, starts[rank][p][m - 1] + 1) if m > 0 else slot


def _squeezed(grid: Sequence[Slots], microbatches: int) -> list[Slots]:
    """The same order on every device, everything as early as possible."""
    starts = _starts(grid, microbatches)
    out: list[Slots] = [[] for _ in grid]
    for slot in range(max(map(len, grid))):
        for rank, slots in enumerate(grid):
            task = slots[slot] if slot < len(slots) else None
            if task is not None:
                if task.pass_ < WEIGHT_FORTH:
                    out[rank] += [None] * (_earliest(starts, rank, task) - len(out[rank]))
                    starts[rank][task.pass_][task.microbatch] = len(out[rank])
                out[rank].append(task)
    return out


class _Pull:
    """Pulls passes of a grid to earlier slots, in order of slots; what is held on a device stays under a limit.

    Nothing moves in the steady state, from the first microbatch's last gradient on device 0 to the last one's forward.
    ``filling``: weight gradients are in the grid and are pulled, too, and the warm-up is tightened; else a free slot
    counts as a weight gradient if one is deferred, and only the drain is tightened.
    """

    def __init__(self, grid: list[Slots], microbatches: int, filling: bool) -> None:
        self.grid, self.microbatches, self.filling = grid, microbatches, filling
        self.starts = _starts(grid, microbatches)
        self.gradients = [sorted(there[GRADIENT_FORTH] + there[GRADIENT_BACK]) for there in self.starts]
        self.weights = [0] * len(grid)  # how many of a device's weight gradients have been looked at
        self.last_weight = [-1] * len(grid)
        self.held: list[list[tuple[int, int]]] = []  # chunks held and weight gradients waiting after each slot
        for slots in grid:
            state, states = (0, 0), []
            for task in slots:
                state = self._after(task, *state)
                states.append(state)
            self.held.append(states)
        self.limit = max(held for states in self.held for held, _ in states)

    def run(self) -> None:
        steady = draining = False
        for slot in range(max(map(len, self.grid))):
            for rank, slots in enumerate(self.grid):
                task = slots[slot] if slot < len(slots) else None
                if task is None:
                    continue
                steady |= rank == 0 and task.pass_ == GRADIENT_BACK
                moves = draining if steady else self.filling
                draining |= steady and task == (FORTH, self.microbatches - 1)
                self._settle(rank, slot, task, moves)

    def _settle(self, rank: int, slot: int, task: Task, moves: bool) -> None:
        weight = task.pass_ >= WEIGHT_FORTH
        at = slot
        if moves:
            if weight:
                first = max(self.gradients[rank][self.weights[rank]], self.last_weight[rank]) + 1
            else:
                first = _earliest(self.starts, rank, task)
            slots = self.grid[rank]
            at = next((t for t in range(first, slot) if slots[t] is None and self._moved(rank, slot, t)), slot)
        if weight:
            self.weights[rank] += 1
            self.last_weight[rank] = at
        elif at < slot:
            self.starts[rank][task.pass_][task.microbatch] = at
            if task.pass_ >= GRADIENT_FORTH:
                del self.gradients[rank][bisect_left(self.gradients[rank], slot)]
                insort(self.gradients[rank], at)

    def _moved(self, rank: int, old: int, new: int) -> bool:
        """Moves a task to an earlier slot if the device then never holds more than the limit."""
        slots, states = self.grid[rank], self.held[rank]
        state = states[new - 1] if new > 0 else (0, 0)
        changed = []
        for slot in range(new, len(slots)):
            task = slots[old] if slot == new else None if slot == old else slots[slot]
            state = self._after(task, *state)
            if state[0] > self.limit:
                return False
            if slot >= old and state == states[slot]:
                break
            changed.append(state)
        states[new : new + len(changed)] = changed
        slots[new], slots[old] = slots[old], None
        return True

    def _after(self, task: Task | None, held: int, waiting: int) -> tuple[int, int]:
        if task is None:
            return (held, waiting) if self.filling or not waiting else (held - 1, waiting - 1)
        if task.pass_ < GRADIENT_FORTH:
            return held + 1, waiting
        return (held, waiting + 1) if task.pass_ < WEIGHT_FORTH else (held - 1, waiting - 1)


def _row(passes: Sequence[int], rank: int, ranks: int) -> Row:
    back = 2 * ranks - 1 - rank
    actions = (("F", rank), ("F", back), ("I", back), ("I", rank), ("W", back), ("W", rank))
    return numbered([action(*each, 0) for each in actions], passes)
