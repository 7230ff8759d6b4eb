"""Makes the shared helpers beside this file importable from every folder of tests, and windows end soon."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def short_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of the MIP would go on until a search's time is over; a few show whether they work."""
    monkeypatch.setattr("planner.search.neighbourhoods.SESSION", 1_000)
