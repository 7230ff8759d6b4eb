"""Hands out work, does again what a dead worker lost, keeps results, and says what has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future
from concurrent.futures import wait as wait_for
from typing import Any, Self

from planner.engine.executors import ExecutorSource
from planner.engine.store import Store, program_version
from planner.engine.work import FAILED, Limits, Outcome, Work
from planner.engine.worker import do

LOOKS_EACH = 1.0
"""Seconds after which a wait without an end looks up, so that signals are heard."""


class Engine:
    """Runs work on an executor. Use it in a ``with`` statement: on an error, and on Ctrl-C, what runs is stopped.

    ``store``: where results are kept, and found again. ``limits`` of each piece of work. ``retries``: how often work
    is done again after its worker died; then that is its reason.
    """

    def __init__(
        self,
        executor: ExecutorSource,
        store: Store | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        retries: int = 2,
    ) -> None:
        self.executor, self.store, self.limits, self.retries = executor, store, limits, retries
        self.waiting: deque[tuple[Work, int]] = deque()  # with how often it was begun
        self.unkept: set[int] = set()  # identities of work under way whose result is not for the store
        self.running: dict[Future[Any], tuple[Work, int]] = {}
        self.ended: list[Outcome] = []
        self.stopped = False

    def __enter__(self) -> Self:
        """The engine itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """End the executor: at once on an error or while something runs, else when its workers have ended."""
        if kind is not None or self.running or self.waiting:
            self.stop()
        elif not self.stopped:
            self.stopped = True
            self.executor.close()

    @property
    def workers(self) -> int:
        """How many pieces of work run side by side."""
        return self.executor.workers

    @property
    def free(self) -> int:
        """How many more pieces of work can be submitted so that every worker is busy."""
        return max(0, self.workers - len(self.running) - len(self.waiting))

    @property
    def pending(self) -> int:
        """How many pieces of work have been submitted of which ``wait`` has said nothing yet."""
        return len(self.running) + len(self.waiting) + len(self.ended)

    def submit(self, work: Work, keep: bool = True) -> None:
        """Do the work when a worker is free; where its result is in the store, it is done at once.

        ``keep``: whether the store is asked, and keeps the result.
        """
        if self.stopped:
            raise RuntimeError("the engine has been stopped")
        found = None if self.store is None or not keep else self.store.read(work)
        if found is not None:
            kept = Outcome(work, found["result"], found["reason"], found["seconds"], True, found["code"])
            self.ended.append(kept)
            return
        if not keep:
            self.unkept.add(id(work))
        self.waiting.append((work, 0))
        self._hand_out()

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """What has ended since the last call, waiting for the first; nothing after ``timeout`` seconds.

        Also nothing where nothing has been submitted. On ``KeyboardInterrupt``, or whatever else a signal raises, what
        runs is stopped before that goes on.
        """
        try:
            while not self.ended and (self.running or self.waiting):
                self._hand_out()
                done = self._first_done(timeout)
                for future in done:
                    self._collect(future)
                if not done and self.executor.gone:
                    self._give_up(self.executor.gone)
                if timeout is not None:
                    break
            self._hand_out()
        except BaseException:
            self.stop()
            raise
        ended, self.ended = self.ended, []
        return ended

    def run(self, works: Iterable[Work], keep: bool = True) -> Iterator[Outcome]:
        """Do all of the work; yield what comes of it in the order in which it ends. ``keep``: as in ``submit``."""
        for work in works:
            self.submit(work, keep)
        while self.pending:
            yield from self.wait()

    def stop(self) -> None:
        """Cancel what has not begun, and stop what runs. What has ended stays in the store."""
        if self.stopped:
            return
        self.stopped = True
        self.waiting.clear()
        self.running.clear()
        self.executor.stop()

    def _first_done(self, timeout: float | None) -> set[Future[Any]]:
        """Futures that are done, after a second at the latest where there is no timeout."""
        return wait_for(self.running, LOOKS_EACH if timeout is None else timeout, FIRST_COMPLETED).done

    def _hand_out(self) -> None:
        """Begin what waits, while a worker is free."""
        while self.waiting and not self.stopped and len(self.running) < self.workers:
            work, begun = self.waiting.popleft()
            try:
                future = self.executor.submit(do, work, self.limits, program_version())
            except (BrokenExecutor, RuntimeError) as error:  # one that was handed in, and has ended
                self._end(work, f"the executor takes no more work: {error}")
                continue
            self.running[future] = work, begun + 1

    def _collect(self, future: Future[Any]) -> None:
        """Keep what came of a call; begin it again where its worker died."""
        work, begun = self.running.pop(future)
        try:
            answer = future.result()
        except CancelledError:
            self._end(work, "it was cancelled, or the connection to its executor was lost")
        except Exception as error:
            if not self.executor.died(error):
                self._end(work, f"it could not be sent or received: {type(error).__name__}: {error}")
            elif begun <= self.retries:
                self.waiting.appendleft((work, begun))
            else:
                times = "its worker died" if begun == 1 else f"its worker died, {begun} times in a row"
                limit = self.limits.memory
                why = "" if limit is None else f"; perhaps its memory limit of {limit / 2**30:.4g} GiB is too small"
                self._end(work, f"{times}{why}")
        else:
            keep = answer.pop("keep") and id(work) not in self.unkept
            if answer.pop("spoilt"):
                self.executor.renew(future)
            self.unkept.discard(id(work))
            if keep and self.store is not None:
                self.store.write(work, answer)
            self.ended.append(
                Outcome(work, answer["result"], answer["reason"], answer["seconds"], False, answer["code"])
            )

    def _give_up(self, reason: str) -> None:
        """End all that is under way: nothing comes back any more."""
        for work, _ in (*self.running.values(), *self.waiting):
            self._end(work, reason)
        self.running.clear()
        self.waiting.clear()

    def _end(self, work: Work, reason: str) -> None:
        self.unkept.discard(id(work))
        self.ended.append(Outcome(work, None, reason, 0.0, False, FAILED))
