"""What a published schedule is made of: calls, each one or two passes of stages over microbatches."""

from __future__ import annotations

from collections.abc import Iterable
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


def call(kind: str, stage: int, microbatch: int, copy: int = 0) -> Call:
    """A call of one part."""
    return Call((Part(kind, stage, copy, microbatch),))


def calls(kinds: Iterable[str], stage: int) -> dict[str, Call]:
    """The calls of one stage by the letters of their kinds, each for the first microbatch."""
    return {kind: call(kind, stage, 0) for kind in kinds}
