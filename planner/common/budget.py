"""The time and effort that a long search has left, and its progress.

Effort is counted in one unit: a schedule evaluated from its beginning to its end, or a node of a branch-and-bound
tree. Replaying a known order is not counted. Effort is added up when work that ran side by side has ended, so that a
limit of effort cuts a search off at the same place on every machine and with any number of threads.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


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
class Clock:
    """Seconds since a start, without the pauses: what all parts of a search share."""

    started: float
    paused: float = 0.0  # seconds, of pauses that have ended
    since: float | None = None  # when the pause began that there is now

    @property
    def elapsed(self) -> float:
        """Seconds since the start, without pauses."""
        return (time.monotonic() if self.since is None else self.since) - self.started - self.paused

    @property
    def lost(self) -> float:
        """Seconds of all pauses so far."""
        return self.paused + (0.0 if self.since is None else time.monotonic() - self.since)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What takes time here does not count."""
        self.since = time.monotonic()
        try:
            yield
        finally:
            self.paused, self.since = self.lost, None


@dataclass
class Control:
    """A deadline, a limit of effort, a stop flag that a signal sets, and listeners for progress and notes."""

    time_limit: float = 60.0  # seconds; inf: none
    listener: Callable[[Progress], None] | None = None
    stop_requested: threading.Event = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)
    effort: float = math.inf  # units, see above
    fallback: Any = None  # a verified plan to fall back on where a solver does not return in time
    best: float | None = None
    bound: float | None = None
    spent: float = 0.0  # of the effort
    threads: int = 1  # for work side by side
    parent: Control | None = None  # which spends what its parts spend
    notice: Callable[[str], None] | None = None  # told what a user should know at once
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        """Share the clock of the whole."""
        self.clock = Clock(self.started) if self.parent is None else self.parent.clock

    @property
    def elapsed(self) -> float:
        """Seconds since the start, without pauses."""
        return self.clock.elapsed

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; 0 where it has passed or a stop was asked for."""
        return 0.0 if self.stop_requested.is_set() else max(0.0, self.time_limit - self.elapsed)

    @property
    def over(self) -> bool:
        """Whether the search has to end now."""
        return self.effort_left <= 0.0 or self.remaining <= 0.0

    @property
    def effort_left(self) -> float:
        """Units that may still be spent; inf where there is no limit."""
        return self.effort - self.spent

    def at_most(self, units: int) -> int:
        """So many units, or as many as are left."""
        return int(min(units, max(1.0, self.effort_left)))

    def spend(self, units: float) -> None:
        """Add effort. Not while other threads look at this control: where they stop would depend on their speed."""
        self.spent += units
        if self.parent is not None:
            self.parent.spend(units)

    def part(self, share: float) -> Control:
        """A control for the first part of time and effort, with the same stop and listener."""
        return self._limited(self.time_limit * share, self.effort * share - self.spent)

    def rest(self, share: float) -> Control:
        """A control for a share of the time and effort that are left, with the same stop and listener."""
        limited = self._limited(self.elapsed + self.remaining * share, self.effort_left * share)
        limited.best, limited.bound = self.best, self.bound
        return limited

    def _limited(self, time_limit: float, effort: float) -> Control:
        part = Control(time_limit, self.listener, self.stop_requested, self.started, effort, parent=self)
        part.notice, part.threads = self.notice, self.threads
        return part

    def say(self, what: str) -> None:
        """Tell a user something at once."""
        if self.notice is not None:
            self.notice(what)

    def report(self, trying: str, best: float | None = None, bound: float | None = None) -> None:
        """Note the best and the bound where they improve, and tell the listener."""
        if best is not None and (self.best is None or best < self.best):
            self.best = best
        if bound is not None and (self.bound is None or bound > self.bound):
            self.bound = bound
        if self.listener is not None:
            self.listener(Progress(self.elapsed, self.best, self.bound, trying))
