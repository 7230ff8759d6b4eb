"""DualPipe: two pipelines in opposite directions over the same ranks, forwards fused with backwards.

DeepSeek-AI, "DeepSeek-V3 Technical Report" (2024), and the reference implementation ``dualpipe.py`` of
https://github.com/deepseek-ai/DualPipe. Rank r runs stage r of copy 0 (the first half of the microbatches)
and stage P-1-r of copy 1 (the second half).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from planner.baselines.call import Call, NotApplicable, Part, Row, Rows


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every rank."""
    if ranks % 2:
        raise NotApplicable(f"DualPipe needs an even number of ranks, not {ranks}")
    if microbatches % 2:
        raise NotApplicable(f"DualPipe needs an even number of microbatches, not {microbatches}")
    if microbatches < 2 * ranks:
        raise NotApplicable(
            f"DualPipe needs at least two microbatches a rank: {2 * ranks} for {ranks} ranks, not {microbatches}"
        )
    half = microbatches // 2
    out = []
    for r in range(ranks):
        near, far = sorted((Flow(r, 0, 0), Flow(ranks - 1 - r, 1, half)))
        out.append(row(near, far, ranks // 2, half))
    return out


class Flow(NamedTuple):
    """One direction of a pipeline on a rank: its stage there, the copy it belongs to, and its first microbatch."""

    stage: int
    copy: int
    first: int


def row(near: Flow, far: Flow, middle: int, microbatches: int) -> Row:
    """One rank's order, of two flows of as many microbatches that meet between two halves of ``middle`` ranks.

    ``near`` is the one that enters the pipeline at this rank's end.
    """
    return _Rank(near, far, middle, microbatches).row()


class _Rank:
    """One rank's order in the making. The near copy enters the pipeline at this end, the far one leaves."""

    def __init__(self, near: Flow, far: Flow, middle: int, microbatches: int) -> None:
        self.depth = near.stage  # ranks between this one and the nearer end
        self.to_middle = middle - 1 - self.depth
        self.steady = microbatches - 2 * middle + self.depth + 1
        self.flow = {"near": near, "far": far}
        self.forwards = {which: flow.first for which, flow in self.flow.items()}
        self.backwards = dict(self.forwards)
        self.put_off: deque[Part] = deque()  # weight gradients, first in first out
        self.calls: Row = []

    def row(self) -> Row:
        for _ in range(2 * self.to_middle):  # the near copy fills the pipeline
            self._run(self._f("near"))
        for _ in range(self.depth + 1):  # the far copy arrives
            self._run(self._f("near"))
            self._run(self._f("far"))
        for _ in range(self.to_middle):  # its first backwards, split: nothing to fuse with yet
            self._run(self._i("far"))
            self._run(self.put_off.popleft())
            self._run(self._f("far"))
        for k in range(self.steady):
            if k == 0 and self.to_middle == 0:  # the middle ranks have just run the forward they need
                self._run(self._f("near"))
                self._run(self._b("far"))
            else:
                self._run(self._f("near"), self._b("far"))
            self._run(self._f("far"), self._b("near"))
        for _ in range(self.to_middle):  # the near copy has no forwards left
            self._run(self._b("far"))
            self._run(self._f("far"), self._b("near"))
        # Backwards only: whole ones in the first half, then split ones, whose gradient travels sooner.
        remaining = 2 * (self.depth + 1)
        for k in range(remaining):
            which = "far" if k % 2 == 0 else "near"
            self._run(self._b(which) if k <= self.depth else self._i(which))
        for _ in range(self.to_middle):
            self._run(self.put_off.popleft())
            self._run(self._i("near"))
        while self.put_off:
            self._run(self.put_off.popleft())
        return self.calls

    def _run(self, *parts: Part) -> None:
        self.calls.append(Call(parts))

    def _f(self, which: str) -> Part:
        self.forwards[which] += 1
        flow = self.flow[which]
        return Part("F", flow.stage, flow.copy, self.forwards[which] - 1)

    def _b(self, which: str) -> Part:
        self.backwards[which] += 1
        flow = self.flow[which]
        return Part("B", flow.stage, flow.copy, self.backwards[which] - 1)

    def _i(self, which: str) -> Part:
        b = self._b(which)
        self.put_off.append(b._replace(kind="W"))
        return b._replace(kind="I")
