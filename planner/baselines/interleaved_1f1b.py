"""Interleaved 1F1B: 1F1B with several chunks of the model on each rank, which divides the bubble by their number.

Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM" (2021), in
the order of torch 2.13's ``ScheduleInterleaved1F1B``, which also takes numbers of microbatches that the ranks
do not divide. Rank r runs the stages r, r + P, r + 2P, ...; with one chunk it starts earlier than 1F1B.
"""

from __future__ import annotations

from planner.baselines.call import NotApplicable, Row, Rows, call


def rows(ranks: int, microbatches: int, chunks: int) -> Rows:
    """The order of every rank; stage s on rank s mod ``ranks``."""
    rounds = max(1, microbatches // ranks)
    if microbatches % rounds:
        raise NotApplicable(
            f"interleaved 1F1B runs {microbatches} microbatches on {ranks} ranks in {rounds} equal rounds, and "
            f"{rounds} does not divide {microbatches}"
        )
    return [_row(r, ranks, microbatches, microbatches // rounds, chunks) for r in range(ranks)]


def _row(rank: int, ranks: int, microbatches: int, in_round: int, chunks: int) -> Row:
    # A round of microbatches passes chunk after chunk before the next round begins: by step, chunk and microbatch.
    steps = [
        (chunk, microbatch)
        for first in range(0, microbatches, in_round)
        for chunk in range(chunks)
        for microbatch in range(first, first + in_round)
    ]
    forwards = [call("F", chunk * ranks + rank, m) for chunk, m in steps]
    backwards = [call("B", (chunks - 1 - chunk) * ranks + rank, m) for chunk, m in steps]
    # A round through all chunks but the last, and two forwards for each rank that follows.
    ahead = min(len(steps), (chunks - 1) * in_round + 2 * (ranks - 1 - rank))
    row = forwards[:ahead]
    for forward, backward in zip(forwards[ahead:], backwards, strict=False):
        row += [forward, backward]
    return row + backwards[len(steps) - ahead :]
