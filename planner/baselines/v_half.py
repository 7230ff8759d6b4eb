"""V-Half: two chunks on each device, there and back, at about half of the activations of 1F1B.

Qi et al., "Pipeline Parallelism with Controllable Memory" (2024); ``stable_pattern_v_half`` of the authors'
implementation (see ``building_block``).
"""

from __future__ import annotations

from planner.baselines import building_block
from planner.baselines.row import Rows


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every device; stages r and 2P-1-r on device r."""
    return building_block.rows(_block, ranks, microbatches)


def _block(rank: int, ranks: int) -> tuple[int, int, int, int]:
    """One device every two slots on the way out, every slot on the way back, for F and I alike."""
    pause = 0 if ranks % 2 else 3  # keeps the four passes apart, modulo the period, where P is even
    turn, gradients = 3 * ranks - 2, 3 * ranks - 1 + pause
    return 2 * rank, turn - rank, gradients + 2 * rank, gradients + turn + 1 - rank
