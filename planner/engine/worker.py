"""What runs where the work is done: the limits are kept there, and whatever goes wrong comes back as a reason."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from planner.common.messages import brief
from planner.engine.store import program_version
from planner.engine.work import FAILED, NO_CODE, STOP, Limits, Refused, Work

LOOKS_EACH = 0.25
"""Seconds between two looks at the memory taken, and at whether anybody still waits."""

NEAR = 0.75
"""A process whose data take this share of the limit failed for want of memory, whatever the error says."""

own_process = False
"""Whether this process does one piece of work at a time and nothing else, so that limits can be set on it."""


def begin() -> None:
    """Make this process one that works for its parent alone: it ignores Ctrl-C, and ends when the parent has ended."""
    import multiprocessing
    import signal

    global own_process  # noqa: PLW0603 - one process, one role
    own_process = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides what ends
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def leave_with_it() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=leave_with_it, name="parent", daemon=True).start()


def identify() -> int:
    """The process id."""
    return os.getpid()


def do(work: Work, limits: Limits, version: str) -> dict[str, Any]:
    """Do the work and return what came of it: ``result`` or ``reason`` with ``code``, ``seconds``, ``keep``.

    ``spoilt``: an allocation failed, and where that came in the midst of an import, the process is of no more use.
    """
    begun = time.monotonic()
    watch = _Watch(limits)
    answer: dict[str, Any] = {"result": None, "reason": "", "code": FAILED, "keep": False, "spoilt": False}
    try:
        if version != program_version():
            raise Refused(f"the worker has planner {program_version()}, not {version}: install the same", keep=False)
        with watch.watching(), _limited(limits):
            answer |= {"result": work.run(limits), "code": NO_CODE, "keep": True}
    except Refused as error:
        answer |= {"reason": brief(error.reason) or "no reason was given", "code": error.code, "keep": error.keep}
    except MemoryError:
        answer |= {"reason": _too_much(limits), "spoilt": True}
    except Exception as error:
        if limits.memory is not None and _can_limit() and _data() > NEAR * limits.memory:
            # What becomes of an allocation that fails in C++, or while a library is loaded.
            answer |= {"reason": _too_much(limits), "spoilt": True}
        else:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            answer["reason"] = brief(f"internal error: {what}")
    if watch.exceeded:  # whatever it has found, it was stopped before its end
        answer |= {"result": None, "reason": _too_much(limits), "code": FAILED, "keep": False}
    answer["seconds"] = round(time.monotonic() - begun, 3)
    return answer


def _too_much(limits: Limits) -> str:
    most = "" if limits.memory is None else f" of {limits.memory / 2**30:.4g} GiB"
    return f"it takes more memory than its limit{most}" if most else "there is not enough memory for it"


@contextmanager
def _limited(limits: Limits) -> Iterator[None]:
    """The memory limit set on the process, where it does nothing else: allocations beyond it fail.

    The limit is one of data, not of addresses: compiled code and threads reserve many addresses that they never use.
    """
    if limits.memory is None or not _can_limit():
        yield
        return
    import resource

    _, hard = before = resource.getrlimit(resource.RLIMIT_DATA)
    most = int(limits.memory) if hard == resource.RLIM_INFINITY else min(int(limits.memory), hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _can_limit() -> bool:
    """Whether a limit can be set on this process; else a thread looks at the memory now and then."""
    return own_process and sys.platform != "win32"


class _Watch:
    """A thread that asks the work to stop: it takes too much memory, or the Dask task was cancelled."""

    def __init__(self, limits: Limits) -> None:
        self.memory = None if _can_limit() else limits.memory
        self.stop, self.exceeded = threading.Event(), False
        self.ended = threading.Event()
        self.task = _dask_task()

    @contextmanager
    def watching(self) -> Iterator[None]:
        token = STOP.set(self.stop)
        thread = threading.Thread(target=self._look, name="watch", daemon=True)
        if self.memory is not None or self.task is not None:
            thread.start()
        try:
            yield
        finally:
            STOP.reset(token)
            self.ended.set()

    def _look(self) -> None:
        while not self.ended.wait(LOOKS_EACH):
            if self.memory is not None and _resident() > self.memory:
                self.exceeded = True
                self.stop.set()
            if self.task is not None and not _wanted(*self.task):
                self.stop.set()


def _resident() -> float:
    """Bytes of memory that this process takes; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return float(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0


def _data() -> float:
    """Bytes of data of this process, which the limit counts; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return float(stream.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0


def _dask_task() -> tuple[Any, str] | None:
    """The Dask worker that this thread works for, and the name of its task."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        worker = distributed.get_worker()
        return worker, worker.get_current_task()
    except (ValueError, AttributeError, KeyError):
        return None


def _wanted(worker: Any, task: str) -> bool:
    """Whether anybody still waits for the task: its client may have cancelled it, or be gone."""
    found = worker.state.tasks.get(task)
    return found is not None and found.state != "cancelled"
