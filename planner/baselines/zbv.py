"""ZB-V: two chunks on each device, there and back, at the memory of 1F1B.

Qi et al., "Zero Bubble Pipeline Parallelism" and "Pipeline Parallelism with Controllable Memory" (2024). The
order is that of the authors' heuristic (``zbv.py``: ``try_v_schedule``) with F = I = W and memory for 2P
chunks, where its variants all find the same. torch's ``ScheduleZBVZeroBubble`` has the same forwards and
input gradients, but places some weight gradients of the end differently, and with fewer than 2P - 1
microbatches it leaves out actions of the order for 2P - 1.
"""

from __future__ import annotations

from planner.baselines.greedy import Greedy
from planner.baselines.row import Rows


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every device; stages r and 2P-1-r on device r."""
    host = [*range(ranks), *reversed(range(ranks))]
    play = Greedy(host, 4 * ranks, microbatches)
    _fill(play, ranks, microbatches)
    turn = 0
    while turn < 2 * microbatches:
        turn += play.leap()
        _backwards(play, ranks, microbatches)
        _forwards(play, ranks, microbatches)
        turn += 1
    return play.finish()


def _fill(play: Greedy, ranks: int, microbatches: int) -> None:
    """All forwards before the first backward: there as long as nothing comes back, then there and back in turn."""
    for r in range(ranks):
        for _ in range(min(microbatches, 2 * (ranks - r) - 1)):
            play.run("F", r)
    for r in reversed(range(ranks)):
        play.run("F", 2 * ranks - 1 - r)

    def there_back(rank: int) -> tuple[int, int]:
        return play.count("F", rank), play.count("F", 2 * ranks - 1 - rank)

    back = False
    for r in range(1, ranks):
        # Each device runs as many as the one before it, and one more of those on the way back.
        while sum(there_back(r)) < sum(there_back(r - 1)) or there_back(r)[1] <= there_back(r - 1)[1] < microbatches:
            for later in reversed(range(r, ranks)):
                if there_back(later)[back] < microbatches:
                    play.run("F", 2 * ranks - 1 - later if back else later)
            back = not back


def _backwards(play: Greedy, ranks: int, microbatches: int) -> None:
    """One on each device: the chunk that ends the pass if its gradient is there, else the other one."""
    first: list[int] = []
    last: list[int] = []
    for r in range(ranks):
        begun, ended = play.count("I", 2 * ranks - 1 - r), play.count("I", r)
        ends = ended < begun and (begun == microbatches or play.input_end("I", r) is not None)
        (last if ends else first).append(r)
    for r in reversed(last):
        play.run("I", r)
    for r in first:
        play.run("I", 2 * ranks - 1 - r)


def _forwards(play: Greedy, ranks: int, microbatches: int) -> None:
    """At most one on each device: the chunk on the way back if its input is there, else the other one."""
    for r in range(ranks):
        back = 2 * ranks - 1 - r
        if play.count("F", back) < play.count("F", r) and play.input_end("F", back) is not None:
            play.run("F", back)
        elif play.count("F", r) < microbatches and play.input_end("F", r) is not None:
            play.run("F", r)
