"""What a published schedule is made of: rows of calls, one row a rank."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Call:
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


def call(kind: str, stage: int, microbatch: int, copy: int = 0) -> Call:
    """A call of one part."""
    return Call((Part(kind, stage, copy, microbatch),))
