"""What the list scheduler waits for; apart from it, so that whoever only states it loads no compiled code."""

from __future__ import annotations

from typing import NamedTuple


class Look(NamedTuple):
    """What the list scheduler waits for instead of starting a task (see ``kernel``)."""

    ahead: float = 0.0  # x the duration of the task that would start instead
    comm_first: bool = False  # whether it sees what follows communication that starts at the same instant


NO_LOOK = Look()
