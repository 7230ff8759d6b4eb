"""Work done ahead: the same results with any number of threads, and nothing that holds up the end of a search."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial

import pytest

from planner.common.ahead import Ahead
from planner.common.budget import Control

PATIENCE = 20.0
"""Seconds after which a thread that should have ended counts as hanging."""


def left(name: int, control: Control) -> tuple[int, float]:
    """Work that tells its name and the effort that it has."""
    return name, control.effort_left


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_do_not_depend_on_threads(threads: int) -> None:
    """In any order of asking; the work keeps to the effort that was left at the beginning, whatever is spent then."""
    control = Control(math.inf, effort=100.0)
    control.spend(40.0)
    ahead = Ahead(control, threads)
    later = [ahead.begin(partial(left, k)) for k in range(5)]
    control.spend(30.0)
    assert [later[k].result() for k in (3, 0, 4, 1, 2)] == [(k, 60.0) for k in (3, 0, 4, 1, 2)]
    assert control.spent == 70.0
    ahead.end()


def test_one_thread_does_nothing_ahead() -> None:
    """Nothing is done before its result is asked for, and nothing that nobody asks for."""
    ahead, done = Ahead(Control(), 1), []
    ahead.begin(lambda _: done.append("never asked for"))
    asked = ahead.begin(lambda _: done.append("asked for"))
    assert ahead.free == 1 and not done
    asked.result()
    ahead.end()
    assert done == ["asked for"]


def waiting(begun: threading.Event, go_on: threading.Event) -> Callable[[Control], str]:
    """Work that says when it begins, waits, and names its thread."""

    def work(_: Control) -> str:
        begun.set()
        assert go_on.wait(PATIENCE)
        return threading.current_thread().name

    return work


def test_who_asks_does_what_has_not_begun() -> None:
    """While the thread is busy one thread less is free, and what stands behind is done by who needs it."""
    ahead, begun, go_on = Ahead(Control(), 3), threading.Event(), threading.Event()
    first = ahead.begin(waiting(begun, go_on))
    second = ahead.begin(lambda own: (threading.current_thread().name, own.threads))
    assert begun.wait(PATIENCE)
    assert ahead.free == 2
    assert second.result() == (threading.current_thread().name, 2)
    go_on.set()
    assert first.result() != threading.current_thread().name
    ahead.end()


def test_who_waits_does_what_stands_behind() -> None:
    """One piece is at work on the thread, and lets nobody go on before the next one has been done by who waits."""
    ahead, begun, go_on = Ahead(Control(), 2), threading.Event(), threading.Event()
    first = ahead.begin(waiting(begun, go_on))

    def behind(own: Control) -> str:
        go_on.set()
        return threading.current_thread().name

    second, third = ahead.begin(behind), ahead.begin(behind)
    assert begun.wait(PATIENCE)
    assert first.result() != threading.current_thread().name
    assert second.result() == threading.current_thread().name
    assert third.result()
    ahead.end()


def test_the_end_of_a_search_stops_what_is_at_work() -> None:
    """Work that asks its control is told that the search is over; what stands behind never begins."""
    ahead, begun, ended, done = Ahead(Control(), 2), threading.Event(), threading.Event(), []

    def work(own: Control) -> None:
        begun.set()
        while not own.over:
            pass
        ended.set()

    ahead.begin(work)
    ahead.begin(lambda _: done.append("behind"))
    assert begun.wait(PATIENCE)
    ahead.end()
    assert ended.wait(PATIENCE) and not done


def test_errors_reach_who_asks() -> None:
    """With a thread that works ahead and without."""
    for threads in (1, 2):
        ahead = Ahead(Control(), threads)
        with pytest.raises(ZeroDivisionError):
            ahead.begin(lambda _: 1 // 0).result()
        ahead.end()
