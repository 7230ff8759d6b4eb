"""Orders found by playing a step through on equal costs: what the heuristics of zero bubble have in common.

Qi et al., "Zero Bubble Pipeline Parallelism" (2023), and their implementation
https://github.com/sail-sg/zero-bubble-pipeline-parallelism. Every F, I and W takes one unit of time, transfers
none; F takes two units of memory, of which I and W release one each. A weight gradient runs where its rank
waits for an input, or where memory is short.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from planner.baselines.call import Rows, call


class Greedy:
    """What the ranks have run so far. ``host[s]`` is the rank of stage s, ``room`` the memory of a rank."""

    def __init__(self, host: Sequence[int], room: int) -> None:
        ranks = max(host) + 1
        self.host, self.room = host, room
        self.rows: Rows = [[] for _ in range(ranks)]
        self.clock = [0] * ranks
        self.held = [0] * ranks
        self.put_off: list[deque[tuple[int, int]]] = [deque() for _ in range(ranks)]  # stages, microbatches without W
        self._ends: dict[str, list[list[int]]] = {kind: [[] for _ in host] for kind in "FI"}

    def count(self, kind: str, stage: int) -> int:
        """How many microbatches have had their F or I on the stage."""
        return len(self._ends[kind][stage])

    def input_end(self, kind: str, stage: int) -> int | None:
        """When the input of the stage's next F or I is there; None where its maker has not yet been put in order."""
        maker = stage - 1 if kind == "F" else stage + 1
        if not 0 <= maker < len(self.host):
            return 0
        ends, k = self._ends[kind][maker], self.count(kind, stage)
        return ends[k] if k < len(ends) else None

    def run(self, kind: str, stage: int) -> None:
        """The stage's next F or I, after the weight gradients that make room for it or fill the time until then."""
        rank, microbatch = self.host[stage], self.count(kind, stage)
        while kind == "F" and self.held[rank] + 2 > self.room:
            self.weight(rank)
        ready = self.input_end(kind, stage)
        assert ready is not None, "an input that nobody makes in time"
        while self.put_off[rank] and self.clock[rank] < ready:
            self.weight(rank)
        self.rows[rank].append(call(kind, stage, microbatch))
        self.clock[rank] = max(self.clock[rank], ready) + 1
        self._ends[kind][stage].append(self.clock[rank])
        self.held[rank] += 2 if kind == "F" else -1
        if kind == "I":
            self.put_off[rank].append((stage, microbatch))

    def weight(self, rank: int) -> None:
        """The oldest weight gradient that the rank has put off."""
        stage, microbatch = self.put_off[rank].popleft()
        self.rows[rank].append(call("W", stage, microbatch))
        self.clock[rank] += 1
        self.held[rank] -= 1

    def finish(self) -> Rows:
        """All that was put off, and the rows."""
        for rank, waiting in enumerate(self.put_off):
            while waiting:
                self.weight(rank)
        return self.rows
