"""What of a plan of very many tasks is drawn: its start and its end, so that the page stays small."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.events.nodes import Flags, Floats, Nodes
from planner.report.html.phases import Phases

TASKS_AT_MOST = 300_000
"""On one page, all of its plans together. The tables count everything."""
BYTES_AT_MOST = 2_800_000
"""Of packed data on one page: less than 3 MB with style, script and tables."""
FEWEST_TASKS = 5_000
"""Of a plan: with fewer, what is left to draw is not worth the bytes saved."""
AT_THE_END = 0.25
"""Part of the tasks that is kept from the end of the step."""


class LeftOut(NamedTuple):
    """The interval of which the page draws nothing, in seconds, and how many tasks lie in it."""

    start: float
    end: float
    tasks: int

    def keeps(self, start: Floats, end: Floats) -> Flags:
        """Which intervals are drawn, those that reach into what is left out among them."""
        return (start < self.start) | (end > self.end)


def left_out(nodes: Nodes, phases: Phases | None, at_most: int) -> LeftOut | None:
    """The middle of the step, where it has more than ``at_most`` tasks; never what the page opens on."""
    k = nodes.n_tasks
    if k <= at_most:
        return None
    start, end = np.sort(nodes.start[:k]), np.sort(nodes.end[:k])
    since = float(start[round(at_most * (1 - AT_THE_END))])
    if phases is not None:
        since = max(since, phases.until)
    until = float(end[k - 1 - round(at_most * AT_THE_END)])
    gone = int(np.count_nonzero((nodes.start[:k] >= since) & (nodes.end[:k] <= until)))
    return LeftOut(since, until, gone) if until > since and gone else None
