"""V-Min: two chunks on each device, there and back, at about a third of the activations of 1F1B.

Qi et al., "Pipeline Parallelism with Controllable Memory" (2024); ``stable_pattern_v_min`` of the authors'
implementation (see ``building_block``).
"""

from __future__ import annotations

from planner.baselines import building_block
from planner.baselines.row import Rows


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every device; stages r and 2P-1-r on device r."""
    return building_block.rows(_block, ranks, microbatches)


def _block(rank: int, ranks: int) -> tuple[int, int, int, int]:
    """One device every slot, out and back, for F and I alike."""
    pause = 0 if ranks % 3 else 2  # keeps the four passes apart, modulo the period, where 3 divides P
    gradients = 2 * ranks + pause
    return rank, 2 * ranks - 1 - rank, gradients + rank, gradients + 2 * ranks - 1 - rank
