"""ZB1P (ZB-H1): 1F1B with split backwards; weight gradients fill the gaps at 1F1B's memory.

Qi et al., "Zero Bubble Pipeline Parallelism" (2023), with the memory limit of 1F1B. The order equals the
one that the authors' heuristic and ILP find, and torch's ``ScheduleInterleavedZeroBubble`` with one stage.
"""

from __future__ import annotations

from planner.baselines.call import Row, Rows, call


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every rank; stage r on rank r."""
    return [_row(r, ranks, microbatches) for r in range(ranks)]


def _row(rank: int, ranks: int, microbatches: int) -> Row:
    """Rank r keeps r weight gradients back, so all ranks hold the same number of microbatches."""
    in_flight = ranks - rank
    row = [call("F", rank, m) for m in range(min(in_flight, microbatches))]
    for m in range(microbatches):
        row.append(call("I", rank, m))
        if m >= rank:
            row.append(call("W", rank, m - rank))
        if m + in_flight < microbatches:
            row.append(call("F", rank, m + in_flight))
    row += [call("W", rank, m) for m in range(max(0, microbatches - rank), microbatches)]
    return row
