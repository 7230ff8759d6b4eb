"""ZB1P (ZB-H1): 1F1B with split backwards; weight gradients fill the gaps at 1F1B's memory.

Qi et al., "Zero Bubble Pipeline Parallelism" (2023), with the memory limit of 1F1B. The order equals the
one that the authors' heuristic and ILP find, and torch's ``ScheduleInterleavedZeroBubble`` with one stage.
"""

from __future__ import annotations

from planner.baselines.action import actions
from planner.baselines.row import Row, Rows, lettered


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every device; stage r on device r."""
    return [_row(r, ranks, microbatches) for r in range(ranks)]


def _row(rank: int, ranks: int, microbatches: int) -> Row:
    """Device r defers r weight gradients, so all devices hold the same number of microbatches."""
    in_flight = min(ranks - rank, microbatches)
    back = min(rank, microbatches)
    # An I for every microbatch; after all but the first few a W, and before all but the last few an F.
    without_w, with_f = back, microbatches - in_flight
    order = "F" * in_flight + "IF" * min(without_w, with_f)
    order += "IWF" * (with_f - without_w) if with_f > without_w else "I" * (without_w - with_f)
    order += "IW" * (microbatches - max(without_w, with_f)) + "W" * back
    return lettered(actions("FIW", rank), order)
