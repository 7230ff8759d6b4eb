"""Stages for prefill and decode at once, against all cuts one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import pytest

from planner.strategies.inference.cuts import Cuts, Stages
from planner.strategies.inference.phases import Layers

Cost = Callable[[float, float], float]


def random_layers(seed: int, n: int = 8) -> Layers:
    """Layers of two kinds between an embedding and a head, as in models, with some noise."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 10, size=(6, 2))
    kinds = rng.integers(0, 2, size=n)
    prefill, decode, weights, caches, outputs, alone = (
        tuple(float(row[kind]) + (rng.random() if seed % 2 else 0.0) for kind in kinds) for row in rows
    )
    return Layers(1, prefill, alone, decode, weights, caches, outputs, 1.0, 1.0, 1.0)


def every_cut(cuts: Cuts) -> Iterator[Stages]:
    for ends in combinations(range(1, cuts.n), cuts.stages - 1):
        yield cuts.of([*ends, cuts.n])


def weighted(share: float) -> Cost:
    return lambda prefill, decode: prefill + share * decode


@pytest.mark.parametrize("stages", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_best_cut_is_that_of_all(seed: int, share: float, stages: int) -> None:
    """With and without caps of memory and limits of decode; a bound is never above the best, and nothing is None that
    some cut allows."""
    cuts, cost = Cuts(random_layers(seed), stages), weighted(share)
    found = list(every_cut(cuts))
    memories, decodes = sorted(each.bytes for each in found), sorted(each.decode for each in found)
    for cap in (math.inf, memories[len(memories) // 2], memories[0], memories[0] * 0.99):
        for most in (math.inf, decodes[len(decodes) // 2], decodes[0]):
            allowed = [each for each in found if each.bytes <= cap and each.decode <= most]
            best = cuts.best(cost, cap, most)
            if not allowed:
                assert best is None
                continue
            assert best is not None
            chosen, bound = best
            least = min(cost(each.prefill, each.decode) for each in allowed)
            assert cost(chosen.prefill, chosen.decode) == pytest.approx(least, rel=1e-9)
            assert bound <= least * (1 + 1e-9)
            assert bound >= min(e.prefill for e in allowed) + share * min(e.decode for e in allowed) - 1e-9
            assert chosen in found or any(chosen.ends == each.ends for each in found)
            assert chosen.bytes <= cap * (1 + 1e-9)
            assert chosen.decode <= most * (1 + 1e-9)


def test_of_equal_cuts_the_one_whose_fullest_stage_holds_least() -> None:
    """Layers that take no time in either phase but for one: any cut is as fast, and memory decides."""
    layers = Layers(1, (5.0, 0, 0, 0), (5.0, 0, 0, 0), (5.0, 0, 0, 0), (1.0, 1, 1, 1), (0.0,) * 4, (0.0,) * 4, 0, 0, 0)
    best = Cuts(layers, 2).best(weighted(1.0), math.inf, math.inf)
    assert best is not None
    assert best[0].ends == (2, 4)
    assert best[0].bytes == 2.0


def test_more_stages_than_layers_have_no_cut() -> None:
    assert Cuts(random_layers(0, 3), 4).best(weighted(1.0), math.inf, math.inf) is None
