"""Work done ahead: begun on a thread of its own before anybody asks for the result.

Only work that depends on nothing found in the meantime can be done ahead, so its result is the same whoever does it and
when. With one thread nothing is: the work is done when its result is asked for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Generic, TypeVar

from planner.common.budget import Control

T = TypeVar("T")


class Later(Generic[T]):
    """A piece of work that somebody does once, and its result once that is there."""

    def __init__(self, work: Callable[[Control], T], ahead: Ahead) -> None:
        self._work, self._ahead = work, ahead
        self._taken = threading.Lock()  # for ever by who does the work
        self._found: Future[T] = Future()

    def do(self, control: Control) -> bool:
        """Do the work here and now; whether nobody had begun before."""
        if not self._taken.acquire(blocking=False):
            return False
        try:
            self._found.set_result(self._work(control))
        except BaseException as error:
            self._found.set_exception(error)
        return True

    def result(self) -> T:
        """The result; work that has not begun is done here and now.

        While it is at work on another thread, this one does what stands behind.
        """
        self.do(self._ahead.own_control())
        while not self._found.done() and self._ahead.help():
            pass
        return self._found.result()


class Ahead:
    """A thread that works ahead, one piece after the other in the order in which they were begun."""

    def __init__(self, control: Control, threads: int) -> None:
        """The work keeps to the time and effort that ``control`` has left now, and spends nothing of it."""
        self.threads = threads
        self.control = control.rest(1.0)
        self.control.listener = None  # what is tried is what the search tries
        self.control.threads = 1
        self._pool = ThreadPoolExecutor(1, "ahead") if threads > 1 else None
        self._begun: list[Future[bool]] = []
        self._behind: deque[Later[Any]] = deque()  # what the thread may not have come to

    def begin(self, work: Callable[[Control], T]) -> Later[T]:
        """Begin as soon as what was begun before is done."""
        later = Later(work, self)
        if self._pool is not None:
            self._begun.append(self._pool.submit(later.do, self.control))
            self._behind.append(later)
        return later

    def help(self) -> bool:
        """Do the first piece that nobody has begun; False where there is none."""
        while self._behind:
            try:
                later = self._behind.popleft()
            except IndexError:  # another thread took the last one
                break
            if later.do(self.own_control()):
                return True
        return False

    def own_control(self) -> Control:
        """For work on the thread of who asks."""
        return replace(self.control, threads=self.free)

    @property
    def free(self) -> int:
        """Threads for work side by side: all but the one that works ahead."""
        return max(1, self.threads - any(each.running() for each in self._begun))

    def end(self) -> None:
        """Begin no more, and let what is at work end soon: nobody will ask for its result."""
        if self._pool is not None:
            self.control.effort = 0.0
            self._pool.shutdown(wait=False, cancel_futures=True)
