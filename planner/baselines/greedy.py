"""Orders from simulating a step on equal costs: the common part of the zero-bubble heuristics.

Qi et al., "Zero Bubble Pipeline Parallelism" (2023), and their implementation
https://github.com/sail-sg/zero-bubble-pipeline-parallelism. Every F, I and W takes one unit of time, transfers
none; F takes two units of memory, of which I and W release one each. A weight gradient runs where its device
waits for an input, or where memory is short.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from planner.baselines.action import action
from planner.baselines.row import Rows, numbered

PASSES = "FIW"


class _Round(NamedTuple):
    """When a round began: the lengths of the orders, the gradients of the last stage, and the clock of device 0."""

    number: int
    lengths: list[int]
    microbatch: int
    time: int


class Greedy:
    """What the devices have run so far. ``host[s]`` is the device of stage s, ``room`` the capacity of a device."""

    def __init__(self, host: Sequence[int], room: int, microbatches: int) -> None:
        ranks = max(host) + 1
        self.host, self.room, self.microbatches = host, room, microbatches
        self.orders: list[list[int]] = [[] for _ in range(ranks)]  # 3 x stage + pass
        self.clock = [0] * ranks
        self.held = [0] * ranks
        self.may_defer: list[deque[int]] = [deque() for _ in range(ranks)]  # stages that have a W to run
        self._counts = {kind: [0] * len(host) for kind in "FI"}
        # When the inputs of the next F or I of a stage were made, if they were; empty for a stage without input.
        self._inputs: dict[str, list[deque[int]]] = {kind: [deque() for _ in host] for kind in "FI"}
        self._seen: dict[object, _Round] = {}

    def count(self, kind: str, stage: int) -> int:
        """How many microbatches have had their F or I on the stage."""
        return self._counts[kind][stage]

    def input_end(self, kind: str, stage: int) -> int | None:
        """When the input of the stage's next F or I is there; None where its producer is not yet in the order."""
        if stage == (0 if kind == "F" else len(self.host) - 1):
            return 0
        made = self._inputs[kind][stage]
        return made[0] if made else None

    def run(self, kind: str, stage: int) -> None:
        """The stage's next F or I, after the weight gradients that free memory for it or fill the time until then."""
        rank = self.host[stage]
        while kind == "F" and self.held[rank] + 2 > self.room:
            self.weight(rank)
        ready = self.input_end(kind, stage)
        assert ready is not None, "an input that is not made in time"
        while self.may_defer[rank] and self.clock[rank] < ready:
            self.weight(rank)
        self.orders[rank].append(3 * stage + PASSES.index(kind))
        self.clock[rank] = max(self.clock[rank], ready) + 1
        self._counts[kind][stage] += 1
        if self._inputs[kind][stage]:
            self._inputs[kind][stage].popleft()
        reader = stage + 1 if kind == "F" else stage - 1
        if 0 <= reader < len(self.host):
            self._inputs[kind][reader].append(self.clock[rank])
        self.held[rank] += 2 if kind == "F" else -1
        if kind == "I":
            self.may_defer[rank].append(stage)

    def weight(self, rank: int) -> None:
        """The oldest weight gradient that the device has deferred."""
        self.orders[rank].append(3 * self.may_defer[rank].popleft() + PASSES.index("W"))
        self.clock[rank] += 1
        self.held[rank] -= 1

    def leap(self) -> int:
        """Append at once the rounds that would only repeat the last ones; returns their number.

        To be called before a round. The rest of the order depends on the distances between stages, in microbatches and
        in time, and not on their progress, as long as none has run all microbatches. So once the distances are those
        before an earlier round, everything since then repeats until a stage runs its last microbatch.
        """
        microbatch, time = self._counts["I"][-1], self.clock[0]
        now = _Round(len(self._seen), list(map(len, self.orders)), microbatch, time)
        before = self._seen.setdefault(self._distances(microbatch, time), now)
        if before is now:
            return 0
        later = microbatch - before.microbatch
        times = (self.microbatches - 1 - max(max(counts) for counts in self._counts.values())) // later
        self._seen.clear()
        if times <= 0:
            return 0
        for order, begun in zip(self.orders, before.lengths, strict=True):
            order.extend(order[begun:] * times)
        self.clock = [clock + times * (time - before.time) for clock in self.clock]
        for kind, counts in self._counts.items():
            self._counts[kind] = [count + times * later for count in counts]
            self._inputs[kind] = [
                deque(end + times * (time - before.time) for end in made) for made in self._inputs[kind]
            ]
        return times * (now.number - before.number)

    def _distances(self, microbatch: int, time: int) -> object:
        """All that decides what the devices do next, relative to a microbatch and an instant."""
        return (
            tuple(count - microbatch for counts in self._counts.values() for count in counts),
            tuple(clock - time for clock in self.clock),
            tuple(self.held),
            tuple(map(tuple, self.may_defer)),
            tuple(tuple(end - time for end in made) for those in self._inputs.values() for made in those),
        )

    def finish(self) -> Rows:
        """Run all deferred weight gradients, and return the rows."""
        for rank, waiting in enumerate(self.may_defer):
            while waiting:
                self.weight(rank)
        actions = [action(kind, stage, 0) for stage in range(len(self.host)) for kind in PASSES]
        return [numbered(actions, order) for order in self.orders]
