"""How far many pieces of work are, and when they will be done."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from planner.engine.work import Outcome


@dataclass
class Pace:
    """Counts pieces of work of ``total`` as they end, on so many workers."""

    total: int
    workers: int
    done: int = 0
    taken: list[float] = field(default_factory=list)  # seconds of each that was done now, not read from a store
    begun: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Count one that has ended."""
        self.done += 1
        if not outcome.kept:
            self.taken.append(outcome.seconds)

    @property
    def left(self) -> float | None:
        """Seconds until all are done, as the mean of those done now tells; None before the first."""
        if not self.taken:
            return None
        side_by_side = max(1, min(self.workers, self.total - self.done))
        return sum(self.taken) / len(self.taken) * (self.total - self.done) / side_by_side

    def words(self, noun: str, now: str = "") -> str:
        """``7 of 24 points, 62 s, about 150 s left``; ``now``: what runs."""
        parts = [f"{self.done} of {self.total} {noun}", f"{time.monotonic() - self.begun:.0f} s"]
        if self.left is not None and self.done < self.total:
            parts.append(f"about {max(1.0, self.left):.0f} s left")
        return ", ".join(parts) + (f"  {now}" if now else "")
