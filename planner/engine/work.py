"""What a piece of work is, the limits that it runs under, and what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

NO_CODE = 0
"""The code of an outcome that has a result."""
FAILED = 1
"""The code of work that failed: its worker died, it took too much memory, or it has a fault."""


@dataclass(frozen=True)
class Limits:
    """``threads`` of each piece of work; ``memory``: bytes of the process that does it, None: no limit."""

    threads: int = 1
    memory: float | None = None


class Work(Protocol):
    """A piece of work: a frozen dataclass, so that it can be pickled."""

    @property
    def key(self) -> Mapping[str, object]:
        """What the result depends on, as JSON; with the program's version it names the result in the store."""
        ...

    @property
    def label(self) -> str:
        """Its name in progress and reasons."""
        ...

    def run(self, limits: Limits) -> dict[str, Any]:
        """The result, as a JSON document. Raises ``Refused`` where there is none, for a reason to be told."""
        ...


class Refused(Exception):
    """There is no result, for this reason. ``code``: the exit code that a command has for it.

    ``keep``: whether doing it again would end in the same way, so that the store keeps it.
    """

    def __init__(self, reason: str, code: int = FAILED, keep: bool = True) -> None:
        super().__init__(reason, code, keep)  # all of them, for pickle
        self.reason, self.code, self.keep = reason, code, keep


@dataclass(frozen=True)
class Outcome:
    """What came of a piece of work: a result, or a reason and the code of ``Refused``.

    ``seconds`` that it took. ``kept``: it was read from the store, and the seconds are those of back then.
    """

    work: Work
    result: dict[str, Any] | None
    reason: str
    seconds: float
    kept: bool
    code: int = NO_CODE


STOP: ContextVar[threading.Event] = ContextVar("STOP")


def stop_event() -> threading.Event:
    """Set when the work that runs in this thread should end: it takes too much memory, or nobody waits for it."""
    try:
        return STOP.get()
    except LookupError:
        return threading.Event()
