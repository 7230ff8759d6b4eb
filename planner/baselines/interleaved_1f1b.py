"""Interleaved 1F1B: 1F1B with several chunks of the model on each device, which divides the bubble by their number.

Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM" (2021), in
the order of torch 2.13's ``ScheduleInterleaved1F1B``, which also takes numbers of microbatches that are no multiple of
the number of devices. Device r runs the stages r, r + P, r + 2P, ...; with one chunk it starts earlier than 1F1B.
"""

from __future__ import annotations

import numpy as np

from planner.baselines.action import NotApplicable, action
from planner.baselines.row import Row, Rows, numbered


def rows(ranks: int, microbatches: int, chunks: int) -> Rows:
    """The order of every device; stage s on device s mod ``ranks``."""
    rounds = max(1, microbatches // ranks)
    if microbatches % rounds:
        raise NotApplicable(
            f"interleaved 1F1B runs {microbatches} microbatches on {ranks} devices in {rounds} equal rounds, and "
            f"{rounds} does not divide {microbatches}"
        )
    return [_row(r, ranks, rounds, microbatches // rounds, chunks) for r in range(ranks)]


def _row(rank: int, ranks: int, rounds: int, in_round: int, chunks: int) -> Row:
    # A round of microbatches passes chunk after chunk before the next round begins.
    forwards = np.tile(np.repeat(np.arange(chunks), in_round), rounds)  # chunk by step
    backwards = chunks + (chunks - 1 - forwards)
    # A round through all chunks but the last, and two forwards for each device that follows.
    ahead = min(len(forwards), (chunks - 1) * in_round + 2 * (ranks - 1 - rank))
    steady = len(forwards) - ahead
    one_forward_one_backward = np.stack([forwards[ahead:], backwards[:steady]], axis=1).ravel()
    order = np.concatenate([forwards[:ahead], one_forward_one_backward, backwards[steady:]])
    actions = [action(kind, chunk * ranks + rank, 0) for kind in "FB" for chunk in range(chunks)]
    return numbered(actions, order)
