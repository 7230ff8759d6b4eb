"""Orders that were changed are played from the change on: the same schedule as from the beginning, or an early no."""

from __future__ import annotations

import numpy as np
import pytest
from solver_problems import listed

from planner.scheduling.orders.anneal import Orders, follow, shift
from planner.scheduling.orders.play import keep, play, resume, room, row_before

ROWS, EVERY = 40, 2


@pytest.mark.parametrize("block", range(4))
def test_resumed_plays_are_whole_plays(block: int) -> None:
    """Whatever is moved on whatever resource, with and without a limit; what is accepted is the next to be changed."""
    accepted = refused = resumed = 0
    for seed in range(100 * block, 100 * block + 40):
        search = listed(seed, microbatches=(2, 3, 5))
        if search is None:
            continue
        p, rng = search.orders.parts, np.random.default_rng(seed)
        orders = Orders.of(search.ordered, search.best.start, search.best.turn)
        seq_ptr, seq, resources = orders.seq_ptr, orders.seq.copy(), len(orders.seq_ptr) - 1
        n, width, tasks = len(p.tasks), int(p.tasks.max()), int(p.tasks.sum())

        def arrays(n: int = n, width: int = width) -> list[np.ndarray]:
            return [np.full((n, width), np.nan), *(np.zeros((n, width), dtype=np.int64) for _ in range(3))]

        now, then, whole = arrays(), arrays(), arrays()
        rest, places = np.zeros((n, width)), np.zeros((len(p.res), width), dtype=np.int64)
        in_turn, stands = np.zeros(tasks, dtype=np.int64), np.zeros(len(seq), dtype=np.int64)
        seen, taken = room(p, resources, ROWS), room(p, resources, ROWS)
        value, _, rows = resume(p, seq_ptr, seq, np.inf, *now, now[0], np.inf, rest, seen, -1, seen, EVERY)
        assert value <= search.best.makespan
        for _ in range(60):
            follow(p, seq_ptr, seq, now[1], in_turn, stands, places, rest)
            r = int(rng.integers(resources))
            if seq_ptr[r + 1] - seq_ptr[r] < 2:
                continue
            i, j = rng.choice(np.arange(seq_ptr[r], seq_ptr[r + 1]), 2, replace=False)
            shift(seq, i, j)
            low, high = min(i, j), max(i, j)
            after = now[0][stands[high] // width, stands[high] % width]
            limit = value * float(rng.choice([1.0, 1.05, 2.0]))
            row = row_before(seen, rows, r, low)
            found, last, count = resume(
                p, seq_ptr, seq, limit, *then, now[0], after, rest, seen, row, taken, EVERY
            )  # fmt: skip
            right, right_last = play(p, seq_ptr, seq, np.inf, *whole)
            if right < 0 or right > limit:
                assert found < 0 or found > limit
                refused += 1
                shift(seq, j, i)
                continue
            assert (found, last) == (right, right_last)
            begun = int(seen.numbers[row, 0]) if row >= 0 else 0
            for x in in_turn[begun:]:
                for one, other in zip(now, then, strict=True):
                    one[x // width, x % width] = other[x // width, x % width]
            for mine, correct in zip(now, whole, strict=True):
                assert np.array_equal(mine, correct, equal_nan=True)
            keep(seen, taken, row + 1, count)
            value, rows = found, count
            accepted += 1
            resumed += row >= 0
    assert accepted > 100
    assert refused > 100
    assert resumed > 50


def test_what_follows_is_never_more_than_what_is_left() -> None:
    """The longest way after a task ends with the schedule at the latest, and that of a critical task exactly then."""
    for seed in range(40):
        search = listed(seed)
        if search is None:
            continue
        p = search.orders.parts
        orders = Orders.of(search.ordered, search.best.start, search.best.turn)
        run = search.orders.play(orders)
        n, width = run.start.shape
        rest, places = np.zeros((n, width)), np.zeros((len(p.res), width), dtype=np.int64)
        in_turn = np.zeros(int(p.tasks.sum()), dtype=np.int64)
        stands = np.zeros(len(orders.seq), dtype=np.int64)
        follow(p, orders.seq_ptr, orders.seq, run.turn, in_turn, stands, places, rest)
        ends = run.start + p.ticks[:, None] + rest
        assert np.nanmax(ends) == run.makespan
