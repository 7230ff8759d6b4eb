"""Work done ahead: begun on a thread of its own before anybody asks for the result.

Only work that depends on nothing found in the meantime can be done ahead, so its result is the same whoever does it and
when. With one thread nothing is: the work is done when its result is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Generic, TypeVar

from planner.common.budget import Control

T = TypeVar("T")


class Later(Generic[T]):
    """A piece of work, and its result once that is there."""

    def __init__(self, work: Callable[[], T], begun: Future[T] | None) -> None:
        self.work, self.begun = work, begun

    def result(self) -> T:
        """The result; where the work has not begun, it is done here and now."""
        if self.begun is None or self.begun.cancel():
            return self.work()
        return self.begun.result()


class Ahead:
    """A thread that works ahead, one piece after the other in the order in which they were begun."""

    def __init__(self, control: Control, threads: int) -> None:
        """The work keeps to the time and effort that ``control`` has left now, and spends nothing of it."""
        self.threads = threads
        self.control = control.rest(1.0)
        self.control.listener = None  # what is tried is what the search tries
        self.control.threads = 1
        self._pool = ThreadPoolExecutor(1, "ahead") if threads > 1 else None
        self._begun: list[Future[object]] = []

    def begin(self, work: Callable[[Control], T]) -> Later[T]:
        """Begin as soon as what was begun before is done."""
        begun = None if self._pool is None else self._pool.submit(work, self.control)
        if begun is not None:
            self._begun.append(begun)  # type: ignore[arg-type]  # of any result
        return Later(lambda: work(replace(self.control, threads=self.free)), begun)

    @property
    def free(self) -> int:
        """Threads for work side by side: all but the one that works ahead."""
        return max(1, self.threads - any(each.running() for each in self._begun))

    def end(self) -> None:
        """Begin no more, and let what is at work end soon: nobody will ask for its result."""
        if self._pool is not None:
            self.control.effort = 0.0
            self._pool.shutdown(wait=False, cancel_futures=True)
