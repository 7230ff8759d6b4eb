"""DualPipe-V: DualPipe's order with one copy of the parameters, mirrored at the middle into a V.

DeepSeek-AI, ``dualpipev.py`` of https://github.com/deepseek-ai/DualPipe ("cut in half" by Sea AI Lab). Device r
runs stages r and 2P-1-r of one pipeline, in the order of device r of DualPipe on 2P devices. There the second stage
belongs to the other copy, whose microbatches come the other way; here it is the way back of the same microbatches.
"""

from __future__ import annotations

from planner.baselines.action import NotApplicable
from planner.baselines.dualpipe import Flow, row
from planner.baselines.row import Rows


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every device."""
    if microbatches < 2 * ranks:
        raise NotApplicable(
            f"DualPipe-V needs at least two microbatches per device: {2 * ranks} for {ranks} devices, "
            f"not {microbatches}"
        )
    return [row(Flow(r, 0, 0), Flow(2 * ranks - 1 - r, 0, 0), ranks, microbatches) for r in range(ranks)]
