"""GPipe: all forwards, then all backwards.

Huang et al., "GPipe: Efficient Training of Giant Neural Networks using Pipeline Parallelism" (2019); the
backwards run in the order of the forwards, as in torch's ``ScheduleGPipe``.
"""

from __future__ import annotations

from planner.baselines.action import actions
from planner.baselines.row import Rows, lettered


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every device; stage r on device r."""
    return [lettered(actions("FB", r), "F" * microbatches + "B" * microbatches) for r in range(ranks)]
