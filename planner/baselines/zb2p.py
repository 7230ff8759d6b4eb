"""ZB2P (ZB-H2): 1F1B with split backwards and enough microbatches ahead that no device waits once it has started.

Qi et al., "Zero Bubble Pipeline Parallelism" (2023), with memory for 2P microbatches on each device. The order is
that of the authors' heuristic (``zb.py``: ``initial_solution``) with F = I = W, where none of its variants
beats the one that prefers backwards; their ILP finds the same order.
"""

from __future__ import annotations

from planner.baselines.greedy import Greedy
from planner.baselines.row import Rows


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every device; stage r on device r."""
    play = Greedy(range(ranks), 4 * ranks, microbatches)
    for r in range(ranks):  # all that fits before the first gradient is back
        for _ in range(min(microbatches, 2 * (ranks - r) - 1)):
            play.run("F", r)
    backward = 0
    while backward < microbatches:
        if backward:
            backward += play.leap()
            # A device runs no forward where one after it does not: it would only be further ahead.
            resting = [r for r in range(ranks) if not _forward_now(play, r)]
            for r in range(max(resting, default=-1) + 1, ranks):
                play.run("F", r)
        for r in reversed(range(ranks)):
            if r == 0 and play.count("F", 0) == microbatches:  # nothing is left to wait for but gradients
                while play.may_defer[0]:
                    play.weight(0)
            play.run("I", r)
        backward += 1
    return play.finish()


def _forward_now(play: Greedy, rank: int) -> bool:
    """Whether the device should run a forward before its next backward; one that is well ahead may catch up first."""
    ahead = play.count("F", rank)
    if ahead == play.microbatches:
        return False
    if rank + 1 == len(play.clock) or ahead < play.count("F", rank + 1) + 2:
        return True
    return play.clock[rank] < play.clock[rank + 1] + 2  # until then that one runs a forward and a backward
