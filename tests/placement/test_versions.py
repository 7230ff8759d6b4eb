"""Versions at level 1: uniform choices, and those balanced by time and by bytes x seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from solver_problems import chain, posed, unit_cluster

from planner.placement.versions import (
    Energy,
    different_choices,
    flipped,
    hull,
    in_versions,
    is_leanest,
    leanest,
    placements_in_versions,
    uniform_choices,
)
from planner.problem import Operator, Pass, Placement, Problem, Variant


def with_variants(operator: Operator, *names: str) -> Operator:
    """``fused``: as long, holds half; ``recompute``: a forward longer, holds a quarter."""
    forward, back, weight = (float(operator.times[p]) for p in (Pass.F, Pass.I, Pass.W))  # type: ignore[arg-type]
    size = operator.activation
    known = {
        "fused": Variant("fused", {Pass.F: forward, Pass.I: back + weight}, 0.0, size / 2, 0.0),
        "recompute": Variant("recompute", {Pass.F: forward, Pass.I: forward + back + weight}, 0.0, size / 4, 0.0),
    }
    return replace(operator, variants=tuple(known[name] for name in names))


def line(cap: float | None, microbatches: int = 8) -> Problem:
    """Four operators of two kinds on two devices."""
    four = chain(4, activation=4.0)
    some = [with_variants(each, *(("fused", "recompute") if k % 2 else ("recompute",))) for k, each in enumerate(four)]
    return posed(*some, devices=unit_cluster(2, cap), microbatches=microbatches)


def test_uniform_choices() -> None:
    """An operator without a variant of that name stays as it is."""
    problem = line(None)
    assert uniform_choices(problem) == {"base": (0, 0, 0, 0), "recompute": (1, 2, 1, 2), "fused": (0, 1, 0, 1)}
    assert list(different_choices(replace(problem, variants=("base",)))) == ["base"]
    assert leanest(problem) == (1, 2, 1, 2)
    assert is_leanest(problem, leanest(problem))
    assert not is_leanest(problem, problem.first_versions)


def test_the_hull() -> None:
    """Only versions that save something, each worth less than the one before."""
    assert hull([(1.0, 10.0, 0), (1.0, 6.0, 1), (2.0, 5.5, 2), (3.0, 1.0, 3)]) == [(1.0, 6.0, 1), (3.0, 1.0, 3)]
    assert hull([(2.0, 4.0, 0), (1.0, 4.0, 1)]) == [(1.0, 4.0, 1)]


@pytest.mark.parametrize("stretch", [1.0, 2.0])
def test_balanced_versions(stretch: float) -> None:
    """With room for everything nothing is recomputed; the tighter memory, the more; None where nothing fits."""
    placement = Placement.single((0, 0, 1, 1))
    recomputed = []
    for cap in (1000.0, 20.0, 8.0, 3.0):
        found = Energy(line(cap)).balanced(placement, stretch)
        assert found is not None
        versions = line(cap).versions_of(found, 0)
        recomputed.append(sum(v == (2 if i % 2 else 1) for i, v in enumerate(versions)))
    assert recomputed[0] == 0 and recomputed == sorted(recomputed)
    assert recomputed[-1] > 0
    assert Energy(line(0.0)).balanced(placement, stretch) is None


def test_versions_in_which_microbatches_fit() -> None:
    """Two operators a device, eight microbatches of 4 + 2 bytes: ``fused`` costs no time, so it is always taken.

    Recomputing saves 3 bytes of the first and 1 of the second for a second each, so the first comes first.
    """
    placement = Placement.single((0, 0, 1, 1))
    wanted = {64.0: (0, 1), 48.0: (0, 1), 24.0: (1, 1), 16.0: (1, 2)}
    for cap, versions in wanted.items():
        found = Energy(line(cap)).fitting(placement, 8)
        assert found is not None
        assert line(cap).versions_of(found, 0) == (*versions, *versions), cap
        holding = [line(cap).choices[v].activation[i] for i, v in enumerate(versions)]
        assert 8 * sum(holding) <= cap
    assert Energy(line(15.0)).fitting(placement, 8) is None
    assert Energy(line(15.0)).fitting(placement, 7) is not None


def test_versions_for_groups_in_the_warm_up() -> None:
    """Two seconds apart, at most 5, 4, 3 and 2 microbatches hold what the four operators hold for 8, 6, 4 and 2 s.

    ``fused`` takes as long in all as base, but a second longer on the way back: so it is taken only where memory asks
    for it, and before anything is recomputed. Of operator 1 at most 7 / 2 + 1 microbatches then hold 2 bytes each.
    """
    placement = Placement.single((0, 0, 1, 1))
    wanted = {36.0: (0, 0, 0, 0), 29.0: (0, 1, 0, 0), 15.0: (1, 1, 1, 1), 11.0: (1, 2, 1, 1)}
    for cap, versions in wanted.items():
        found = Energy(line(cap)).holding(placement, 8)
        assert found is not None
        assert line(cap).versions_of(found, 0) == versions, cap
    assert Energy(line(10.9)).holding(placement, 8) is None
    assert Energy(line(10.9)).holding(placement, 4) is not None


def test_the_first_stage_recomputes_first() -> None:
    """It holds its microbatches for longest."""
    found = Energy(line(6.0)).balanced(Placement.single((0, 0, 1, 1)), 1.0)
    assert found is not None
    held = [line(6.0).choices[v].activation[i] for i, v in enumerate(line(6.0).versions_of(found, 0))]
    assert sum(held[:2]) < sum(held[2:])


def test_placements_come_in_versions() -> None:
    """Each placement with its versions once; with nothing to choose none names any."""
    found = list(placements_in_versions(line(12.0)))
    assert len({placement.key for placement in found}) == len(found)
    assert {placement.variant_of for placement in found} >= {(), ((1, 2, 1, 2),), ((0, 1, 0, 1),)}
    assert all(
        not placement.variant_of for placement in placements_in_versions(replace(line(12.0), variants=("base",)))
    )
    assert all(line(12.0).allows_copies(placement) for placement in found)


def test_flips_change_versions_alone() -> None:
    """Of one operator, of all that are like it on its device, or of the first or the last such one on each device."""
    problem, rng = line(None), np.random.default_rng(0)
    placement = in_versions(problem, Placement.single((0, 0, 0, 1)), (0, 0, 0, 0))
    changed = set()
    for _ in range(200):
        found = flipped(problem, placement, (0,), rng, 0.5, 0.3)
        assert found is not None and found.device_of == placement.device_of
        versions = problem.versions_of(found, 0)
        changed.add(tuple(i for i, v in enumerate(versions) if v))
    assert changed == {(0,), (1,), (2,), (3,), (0, 2), (1, 3)}
