"""1F1B: one forward for the device and each that follows, then one backward and one forward in turn.

Narayanan et al., "PipeDream" (2019), with a flush at the end of the step as in "Efficient Large-Scale
Language Model Training on GPU Clusters Using Megatron-LM" (2021) and torch's ``Schedule1F1B``.
"""

from __future__ import annotations

from planner.baselines.action import actions
from planner.baselines.row import Row, Rows, lettered


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every device; stage r on device r."""
    return [_row(r, min(ranks - r, microbatches), microbatches) for r in range(ranks)]


def _row(stage: int, in_flight: int, microbatches: int) -> Row:
    order = "F" * in_flight + "BF" * (microbatches - in_flight) + "B" * in_flight
    return lettered(actions("FB", stage), order)
