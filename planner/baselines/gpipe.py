"""GPipe: all forwards, then all backwards.

Huang et al., "GPipe: Efficient Training of Giant Neural Networks using Pipeline Parallelism" (2019); the
backwards run in the order of the forwards, as in torch's ``ScheduleGPipe``.
"""

from __future__ import annotations

from planner.baselines.call import Rows, call


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every rank; stage r on rank r."""
    return [
        [call("F", r, m) for m in range(microbatches)] + [call("B", r, m) for m in range(microbatches)]
        for r in range(ranks)
    ]
