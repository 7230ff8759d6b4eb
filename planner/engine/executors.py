"""Where work runs: processes of this machine, a Dask cluster, or any executor that a program hands in."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import Any, Protocol

from planner.common.version import extra_hint
from planner.engine.worker import begin, identify
from planner.files.errors import shown
from planner.files.flag_values import UsageFault

ANSWERS_WITHIN = 10.0
"""Seconds in which a Dask scheduler has to answer, and have a worker."""


class ExecutorSource(Protocol):
    """An executor, and what it takes to go on where one of its workers has died."""

    @property
    def workers(self) -> int:
        """How many pieces of work run side by side, at least 1."""
        ...

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run the call somewhere. At most ``workers`` calls are under way at a time."""
        ...

    def died(self, error: BaseException) -> bool:
        """Whether the error of a call says that its worker died, so that the call can be made again."""
        ...

    @property
    def gone(self) -> str:
        """Why nothing that was submitted comes back any more; empty where all is well."""
        ...

    def renew(self, future: Future[Any]) -> None:
        """Replace the process that made this call, where it is the executor's own: it is of no more use."""
        ...

    def stop(self) -> None:
        """End now, with what runs."""
        ...

    def close(self) -> None:
        """End after all calls have returned."""
        ...


def cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return os.cpu_count() or 1 if affinity is None else len(affinity(0))


def processes(n: int) -> ExecutorSource:
    """So many processes of this machine, each a pool of its own: where one is killed, the others work on."""
    if n < 1:
        raise ValueError("there must be one process at least")
    return _Processes(n)


def dask(address: str) -> ExecutorSource:
    """The workers of the Dask cluster whose scheduler is at ``address``, such as tcp://10.0.0.1:8786.

    Raises ``UsageFault`` where the package is missing, no scheduler answers, or it has no worker.
    """
    try:
        import distributed
    except ImportError:
        raise UsageFault(f"Dask is not installed: {extra_hint('dask')}") from None
    try:
        client = distributed.Client(address, timeout=ANSWERS_WITHIN, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageFault(f"no Dask scheduler answers at {shown(address)}: {error or type(error).__name__}") from error
    try:
        client.wait_for_workers(1, timeout=ANSWERS_WITHIN)
    except TimeoutError:
        client.close()
        raise UsageFault(f"the Dask scheduler at {shown(address)} has no worker") from None
    return _Dask(client)


def handed(executor: Executor, workers: int | None = None) -> ExecutorSource:
    """An executor of the calling program (mpi4py, Ray, a pool of its own), which stays its own to shut down.

    ``workers``: how many calls it runs side by side; default: what it says, else the cores of this machine.
    """
    return _Handed(executor, workers)


class _Slot:
    """One process, in a pool of its own."""

    def __init__(self) -> None:
        # Not forked: compiled code and solvers have threads, which a fork would lose while they hold locks.
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=begin)
        self.process: Future[int] = self.pool.submit(identify)
        self.call: Future[Any] | None = None

    @property
    def free(self) -> bool:
        return self.call is None or self.call.done()

    @property
    def broken(self) -> bool:
        calls = [each for each in (self.process, self.call) if each is not None and each.done()]
        return any(not each.cancelled() and isinstance(each.exception(), BrokenExecutor) for each in calls)

    def kill(self) -> None:
        """End the process now; one that is still starting ends when it finds nothing to do."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        if self.process.done() and not self.process.cancelled() and self.process.exception() is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.result(), signal.SIGKILL)


class _Processes:
    """Slots with one process each, made when they are needed."""

    def __init__(self, n: int) -> None:
        self.workers, self.gone = n, ""
        self.slots: list[_Slot] = []

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        slot = self._free()
        try:
            slot.call = slot.pool.submit(call, *arguments)
        except BrokenExecutor:  # it died while it had nothing to do
            self.slots.remove(slot)
            return self.submit(call, *arguments)
        return slot.call

    def _free(self) -> _Slot:
        self.slots = [slot for slot in self.slots if not slot.broken]
        found = next((slot for slot in self.slots if slot.free), None)
        if found is None:
            found = _Slot()
            self.slots.append(found)
        return found

    def died(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor)

    def renew(self, future: Future[Any]) -> None:
        for slot in [slot for slot in self.slots if slot.call is future]:
            self.slots.remove(slot)
            slot.kill()

    def stop(self) -> None:
        for slot in self.slots:
            slot.kill()
        self.slots = []

    def close(self) -> None:
        for slot in self.slots:
            slot.pool.shutdown(wait=True)
        self.slots = []


class _Lent:
    """An executor that other work may use, too: only calls of this one are cancelled."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.pending: set[Future[Any]] = set()

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        made = self.executor.submit(call, *arguments)
        self.pending.add(made)
        made.add_done_callback(self.pending.discard)
        return made

    def renew(self, future: Future[Any]) -> None:
        """Leave the worker as it is: no limit was set on it."""

    def stop(self) -> None:
        """Cancel all calls."""
        for future in tuple(self.pending):
            future.cancel()


class _Dask(_Lent):
    """The executor of a Dask client. Its scheduler itself gives what a dead worker had to another one."""

    def __init__(self, client: Any) -> None:
        super().__init__(client.get_executor(pure=False))
        self.client = client

    @property
    def workers(self) -> int:
        """The threads of all workers at this moment: workers come and go."""
        try:
            return max(1, sum(map(int, self.client.nthreads().values())))
        except (
            OSError,
            RuntimeError,
            AttributeError,
        ):  # what a client raises while it loses its scheduler: see ``gone``
            return 1

    @property
    def gone(self) -> str:
        """The client gives up on its scheduler after some seconds; then its futures never end."""
        return "" if self.client.status in ("running", "connecting") else "the Dask scheduler has gone"

    def died(self, error: BaseException) -> bool:
        from distributed.scheduler import KilledWorker

        return isinstance(error, KilledWorker)

    def stop(self) -> None:
        """Cancel all calls; workers notice that at one that runs (see ``worker``)."""
        super().stop()
        self.client.close()

    def close(self) -> None:
        self.client.close()


class _Handed(_Lent):
    """The executor of another program."""

    def __init__(self, executor: Executor, workers: int | None) -> None:
        super().__init__(executor)
        told = workers or getattr(executor, "num_workers", None) or getattr(executor, "_max_workers", None)
        self.workers, self.gone = max(1, int(told or os.cpu_count() or 1)), ""

    def died(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor)

    def close(self) -> None:
        """Leave it to its owner."""
