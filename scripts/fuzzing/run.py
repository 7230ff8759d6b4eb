"""A command line run in this process, as a process of its own would run it."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from types import FrameType
from unittest import mock

from planner.commands import app

LIMIT = 30.0
"""Seconds after which a case counts as one that does not end."""


@dataclass
class Result:
    """What a command line did. ``trouble``: what no command line may do."""

    code: int
    out: str
    err: str
    seconds: float
    trouble: list[str] = field(default_factory=list)


class Left(BaseException):
    """Stands for the end of the process while a solver is still at work."""


class Hung(BaseException):
    """The case did not end."""


def called(arguments: Sequence[str], stdin: bytes | None = b"") -> Result:
    """Run ``planner`` with these arguments in the working directory; stdin None: closed, as ``<&-`` leaves it."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape") for _ in range(2))
    trouble, code, begun = [], -1, monotonic()
    with _streams(stdin, out, err), _alarm(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=ResourceWarning)
        try:
            code = app.main(arguments)
        except Left as left:
            code = int(str(left))
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Hung:
            trouble.append(f"does not end within {LIMIT:.0f} s")
        except BaseException:
            trouble.append(traceback.format_exc())
    trouble += [f"warns: {each.category.__name__}: {each.message} ({each.filename}:{each.lineno})" for each in warned]
    texts = [stream.buffer.getvalue().decode("utf-8", "surrogateescape") for stream in (out, err) if not stream.flush()]  # type: ignore[attr-defined,func-returns-value]
    return Result(code, texts[0], texts[1], monotonic() - begun, trouble)


def _leave(code: int) -> None:
    raise Left(int(code))


@contextmanager
def _streams(stdin: bytes | None, out: io.TextIOWrapper, err: io.TextIOWrapper) -> Iterator[None]:
    """The three streams, an environment that shows tracebacks, and an end of the process that is none."""
    with (
        mock.patch.object(
            sys, "stdin", None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
        ),
        mock.patch.object(sys, "stdout", out),
        mock.patch.object(sys, "stderr", err),
        mock.patch.dict(os.environ, {"PLANNER_DEBUG": "1", "NO_COLOR": "1"}),
        mock.patch("planner.commands.common.leave_now", _leave),
        mock.patch("planner.commands.solve.leave_now", _leave),
    ):
        yield


@contextmanager
def _alarm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def rings(number: int, frame: FrameType | None) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, rings)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
