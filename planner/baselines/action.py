"""The actions of baselines, each one or two passes of stages over microbatches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class NotApplicable(Exception):
    """The baseline does not fit the problem; the message is the reason, for people."""


class StagePass(NamedTuple):
    """One stage's pass over one microbatch: F, I, W, or B, the full backward (I and W in one)."""

    kind: str
    stage: int
    copy: int
    microbatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.microbatch}"


class Action(NamedTuple):
    """What a device runs as one: a stage pass, or a forward and a backward fused into one block."""

    passes: tuple[StagePass, ...]

    def __str__(self) -> str:
        """The notation of torch's pipelining: ``3F0``, ``(0F3;3B5)OVERLAP_F_B``."""
        if len(self.passes) == 1:
            return str(self.passes[0])
        return f"({';'.join(map(str, self.passes))})OVERLAP_F_B"


def action(kind: str, stage: int, microbatch: int, copy: int = 0) -> Action:
    """An action of one stage pass."""
    return Action((StagePass(kind, stage, copy, microbatch),))


def actions(kinds: Iterable[str], stage: int) -> dict[str, Action]:
    """The actions of one stage by the letters of their kinds, each for the first microbatch."""
    return {kind: action(kind, stage, 0) for kind in kinds}
