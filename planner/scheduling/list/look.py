"""How far the list scheduler looks ahead. Not in ``kernel``, so that parameters can state it without compiled code."""

from __future__ import annotations

from typing import NamedTuple


class Look(NamedTuple):
    """What the list scheduler waits for instead of starting a task (see ``kernel``)."""

    ahead: float = 0.0  # x the duration of the task that would start instead
    comm_first: bool = False  # whether it sees what follows communication that starts at the same instant


NO_LOOK = Look()
