"""What a long search asks while it runs: is there time left, and who wants to know how it goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from planner.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a search: seconds elapsed, best makespan and bound so far, what is being tried."""

    elapsed: float
    best: float | None
    bound: float | None
    trying: str

    @property
    def gap(self) -> float | None:
        """(best - bound) / best, None while one of them is missing."""
        if self.best is None or self.bound is None:
            return None
        return 0.0 if self.best == 0 else (self.best - self.bound) / self.best


@dataclass
class Control:
    """A deadline, a stop flag that a signal sets, and a listener for progress."""

    time_limit: float = 60.0
    listener: Callable[[Progress], None] | None = None
    stop_requested: threading.Event = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)
    incumbent: Plan | None = None  # a verified plan to fall back on where a solver does not return in time
    best: float | None = None
    bound: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; 0 where it has passed or a stop was asked for."""
        return 0.0 if self.stop_requested.is_set() else max(0.0, self.time_limit - self.elapsed)

    @property
    def over(self) -> bool:
        """Whether the search has to end now."""
        return self.remaining <= 0.0

    def part(self, share: float) -> Control:
        """A control for the first part of the time, with the same stop and listener."""
        return Control(self.time_limit * share, self.listener, self.stop_requested, self.started)

    def until(self, seconds: float) -> Control:
        """A control for so many seconds from now, with the same stop and listener."""
        limit = min(self.time_limit, self.elapsed + seconds)
        return Control(limit, self.listener, self.stop_requested, self.started, best=self.best, bound=self.bound)

    def report(self, trying: str, best: float | None = None, bound: float | None = None) -> None:
        """Note the best and the bound where they improve, and tell the listener."""
        if best is not None and (self.best is None or best < self.best):
            self.best = best
        if bound is not None and (self.bound is None or bound > self.bound):
            self.bound = bound
        if self.listener is not None:
            self.listener(Progress(self.elapsed, self.best, self.bound, trying))
