"""Time and effort of a search: pauses do not count, parts share clock and effort with the whole."""

from __future__ import annotations

import time

import pytest

from planner.common.budget import Control


def test_a_pause_does_not_count() -> None:
    """For the whole and for every part of it; while it lasts, no deadline passes."""
    control = Control(0.2)
    part = control.part(0.5)
    with control.clock.pause():
        before = part.elapsed
        time.sleep(0.3)
        assert part.elapsed == control.elapsed == pytest.approx(before, abs=0.05)
        assert not part.over
    assert control.clock.lost >= 0.3
    assert part.elapsed < 0.1
    assert not control.over
    time.sleep(0.25)
    assert control.over


def test_effort_of_parts_is_effort_of_the_whole() -> None:
    """A part ends with its share; what it spends is gone for the whole."""
    control = Control(effort=100.0)
    part = control.rest(0.5)
    assert (part.effort_left, part.at_most(80), part.at_most(30)) == (50.0, 50, 30)
    part.spend(60)
    assert part.over and not control.over
    assert (control.effort_left, control.rest(0.5).effort_left) == (40.0, 20.0)
    control.spend(40)
    assert control.over


def test_what_is_said_reaches_the_listener_of_the_whole() -> None:
    told: list[str] = []
    control = Control()
    control.say("nobody listens")
    control.notice = told.append
    control.part(0.5).say("compiling")
    assert told == ["compiling"]
