"""Packings of blocks on two streams."""

import random
from itertools import permutations

import pytest

from planner.baselines.packing import BOTH, Item, _Search, pack


def test_one_stream_packs_without_gaps():
    items = (Item(0, 1.0, ()), Item(0, 1.2, ()), Item(0, 0.8, (1,)))
    assert pack(items).length == pytest.approx(3.0)


def test_communication_hides_behind_the_other_chain():
    """Two chains of compute and communication: each communicates while the other computes."""
    items = (Item(0, 2.0, ()), Item(1, 2.0, (0,)), Item(0, 2.0, ()), Item(1, 2.0, (2,)), Item(0, 2.0, (1,)))
    assert pack(items).length == pytest.approx(6.0)


@pytest.mark.parametrize("seed", range(12))
def test_small_packings_are_optimal_and_valid(seed):
    """Against all lists of six items, each placed at its earliest gap (which contain an optimum); some occupy both."""
    chance = random.Random(seed)
    items = tuple(
        Item(
            chance.randrange(2 + seed % 2),
            chance.randrange(1, 9) / 2,
            tuple(a for a in range(k) if chance.random() < 0.3),
        )
        for k in range(6)
    )
    search = _Search(items)
    lists = (o for o in permutations(range(6)) if all(o.index(a) < o.index(k) for k in o for a in items[k].after))
    best = min(search._length(search._serial(order)) for order in lists)
    packing = pack(items)
    assert packing.bound <= best == pytest.approx(packing.length)
    ends = [start + item.seconds for start, item in zip(packing.starts, items, strict=True)]
    for k, item in enumerate(items):
        assert all(ends[a] <= packing.starts[k] for a in item.after)
        for j in range(k):
            if items[j].stream == item.stream or BOTH in (items[j].stream, item.stream):
                assert ends[j] <= packing.starts[k] or ends[k] <= packing.starts[j]


def test_nothing_to_pack():
    assert pack(()).length == 0.0
