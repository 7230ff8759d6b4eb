"""What a published schedule is made of: rows of calls, one row a rank."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class NotApplicable(Exception):
    """The schedule does not fit the problem; the message is the reason, for people."""


class Part(NamedTuple):
    """One stage's pass over one microbatch: F, I, W, or B, the full backward (I and W in one)."""

    kind: str
    stage: int
    copy: int
    microbatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.microbatch}"


class Call(NamedTuple):
    """What a rank runs as one: a single part, or a forward and a backward fused into one block."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        """The notation of torch's pipelining: ``3F0``, ``(0F3;3B5)OVERLAP_F_B``."""
        if len(self.parts) == 1:
            return str(self.parts[0])
        return f"({';'.join(map(str, self.parts))})OVERLAP_F_B"


Row = list[Call]
Rows = list[Row]
"""``rows[r]``: the calls of rank r, first to last."""


@lru_cache(maxsize=1 << 18)
def call(kind: str, stage: int, microbatch: int, copy: int = 0) -> Call:
    """A call of one part; the published schedules share their calls, of which a long step has many."""
    return Call((Part(kind, stage, copy, microbatch),))
