"""A solve in a thread of its own, so that signals and the deadline take effect while a solver works."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from planner.common.budget import Control, Progress
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.registry import solve
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.report.words import gap, plain, seconds

GRACE = 3.0
"""Seconds after the deadline or a stop in which the search may return its own plan."""

PATIENCE = 8.0
"""Seconds after a signal if there is no plan yet: the first may be near, and a second signal ends the process."""

START = 0.5
"""Seconds of starting (imports, reading the inputs) that the time limit does not count."""

WRITING = 1.5e-5
"""Seconds in which a task of a plan is written and shown. There is one second for it: of more tasks, that much less for
the search."""

TICK = 0.1


@dataclass
class Signals:
    """Whether a signal asked the search to stop."""

    stop: threading.Event
    received: bool = False


@contextmanager
def signals_caught(stop: threading.Event) -> Iterator[Signals]:
    """The first Ctrl-C or SIGTERM sets ``stop``; a second one ends the process."""
    state = Signals(stop)

    def handle(number: int, frame: FrameType | None) -> None:
        state.received = True
        stop.set()
        for each in caught:
            signal.signal(each, signal.SIG_DFL)

    caught = {}
    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGINT, signal.SIGTERM):
            # Where SIGINT is ignored (nohup, background jobs of a script), it stays ignored.
            if signal.getsignal(each) is not signal.SIG_IGN:
                caught[each] = signal.signal(each, handle)
    try:
        yield state
    finally:
        for each, before in caught.items():
            signal.signal(each, before)


@dataclass(frozen=True)
class Outcome:
    """The plan. ``abandoned``: a solver is still at work, and the process must not wait for it."""

    plan: Plan
    abandoned: bool = False


class Abandoned(NoPlan):
    """The search did not return in time and had found nothing."""


def run_solve(
    problem: Problem, control: Control, options: SolveOptions, signals: Signals, latest: float, progress: bool
) -> Outcome:
    """Solve, and return by the instant ``latest`` whatever the solver does.

    Raises what ``solve`` raises, and ``Abandoned``.
    """
    line = ProgressLine() if progress else None
    if line is not None:
        control.listener = line.listen
    plans: list[Plan] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            plans.append(solve(problem, control, options))
        except BaseException as error:  # the main thread raises it
            errors.append(error)

    worker = threading.Thread(target=work, name="solve", daemon=True)
    worker.start()
    over_since: float | None = None
    try:
        while worker.is_alive():
            worker.join(TICK)
            now = time.monotonic()
            if over_since is None and control.remaining <= 0:  # a limit of effort sets no deadline
                over_since = now
            grace = PATIENCE if signals.received and control.fallback is None else GRACE
            early = 0.0 if control.fallback is None else max(0.0, WRITING * len(control.fallback.tasks) - 1.0)
            if now - control.clock.lost > latest - early or (over_since is not None and now > over_since + grace):
                break
            if line is not None:
                line.draw(control)
    finally:
        if line is not None:
            line.clear()
    if errors:
        raise errors[0]
    if plans:
        return Outcome(_marked(plans[0], signals))
    incumbent = control.fallback
    if incumbent is None:
        raise Abandoned("no plan was found in time")
    return Outcome(_marked(replace(incumbent, solve_seconds=control.elapsed), signals), abandoned=True)


def _marked(plan: Plan, signals: Signals) -> Plan:
    """The plan, marked as interrupted after a signal unless it is optimal."""
    if signals.received and plan.status != "optimal":
        return replace(plan, status="interrupted")
    return plan


class ProgressLine:
    """One line on a terminal, redrawn in place."""

    def __init__(self) -> None:
        self.latest: Progress | None = None
        self.width = 0

    @staticmethod
    def wanted(quiet: bool) -> bool:
        """Whether stderr is a terminal that can show the line."""
        return not quiet and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def listen(self, progress: Progress) -> None:
        """Keep the latest progress; the main thread draws it."""
        self.latest = progress

    def draw(self, control: Control) -> None:
        """Draw the line over the last one."""
        parts = [f"{control.elapsed:.0f} s"]
        if self.latest is not None:
            found = self.latest
            parts.append(f"best {seconds(found.best)}")
            parts.append(f"bound {seconds(found.bound)}")
            parts.append(f"gap {gap(found.gap)}")
            parts.append(plain(found.trying))
        self._write("  ".join(parts))

    def say(self, text: str) -> None:
        """Draw other words over the last line."""
        self._write(plain(text))

    def clear(self) -> None:
        """Leave an empty line."""
        self._write("")
        self._write("")

    def _write(self, text: str) -> None:
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # some terminals say 0
        except OSError:
            columns = 80
        text = text[: max(1, columns - 1)]
        try:
            sys.stderr.write("\r" + text.ljust(min(self.width, columns - 1)) + ("" if text else "\r"))
            sys.stderr.flush()
        except OSError:
            return
        self.width = len(text)
