"""What fits is found, what cannot fit is proven, and the reason names the amount."""

from __future__ import annotations

import itertools
import re
import time

import numpy as np
import pytest
from solver_problems import chain, checked, config, operator, posed, random_problem, solved, unit_cluster

from planner.common.budget import Control
from planner.placement.fit import find_fit, fits
from planner.placement.memory import Need, microbatch_need, parameters_on
from planner.problem import Cluster, Device, DeviceType, Impossible, Placement, Problem

LAYER = 3_486_050_304 + 1_263_017_984  # bytes of one layer of DeepSeek-V3: parameters and one activation


def least_addition(problem: Problem) -> float:
    """The least whole bytes by which all devices would have to be larger for some placement to fit."""
    best = np.inf
    for device_of in itertools.product(range(problem.n_devices), repeat=problem.n_operators):
        if problem.allows(device_of):
            room = problem.cap_with_slack - parameters_on(problem, Placement.single(device_of))
            extra = 0
            while extra < best and not isinstance(microbatch_need(problem, device_of, room + extra), Need):
                extra += 1
            best = min(best, extra)
    return best


def shortfall(message: str) -> float:
    """The bytes that a message says are missing on the worst device."""
    each = re.search(r"at least ([\d.,]+) B.* on one of them", message)
    found = each or re.search(r"([\d.,]+) B(?: \([^)]*\))? short", message)
    assert found, message
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize("block", range(6))
def test_against_every_placement(block: int) -> None:
    """A fit is found exactly where there is one; where not, no more is said to be missing than is."""
    seen = set()
    for seed in range(40 * block, 40 * block + 40):
        problem = random_problem(seed, operators=5, devices=3, copies=(1,))
        if problem is None or (problem.activation != np.rint(problem.activation)).any() or problem.activation.max() > 9:
            continue
        lacking = least_addition(problem)
        try:
            placement = find_fit(problem, Control())
        except Impossible as error:
            assert lacking > 0, (seed, str(error))
            assert 0 < shortfall(str(error)) <= lacking, (seed, str(error))
            seen.add("impossible")
        else:
            assert lacking == 0, seed
            assert placement is not None, seed
            assert all(problem.allows(copy) for copy in placement.device_of), seed
            assert fits(problem, placement), seed
            seen.add("fits")
    assert seen == {"impossible", "fits"}


def test_one_unit_too_little() -> None:
    """A stage of DualPipe's setting needs 2; with 1 it is 1 short, and the message says which and how much."""
    with pytest.raises(
        Impossible, match=r"'stage0' needs 2 B of memory.* offers 1 B of memory: 1 B short; --memory-cap"
    ):
        solved(config("dualpipe-4x8", memory_cap=1))
    assert checked(config("dualpipe-4x8", memory_cap=2), solved(config("dualpipe-4x8", memory_cap=2), 1.0)) == []


def test_one_byte_too_little_for_deepseek() -> None:
    """Four layers a device and one activation of each: a byte less is proven impossible at once."""
    begin = time.monotonic()
    with pytest.raises(Impossible, match=r"8 B short in all, at least 1 B on one of them; --memory-cap"):
        solved(config("deepseek-v3-h800", memory_cap=4 * LAYER - 1))
    assert time.monotonic() - begin < 20


def test_exactly_enough_for_deepseek() -> None:
    """At the very minimum a placement is found, and a verified plan on it."""
    problem = config("deepseek-v3-h800", memory_cap=4 * LAYER, microbatches=2)
    placement = find_fit(problem, Control())
    assert placement is not None
    assert fits(problem, placement)
    assert checked(problem, solved(problem, 1.0)) == []


def test_exactly_enough_where_only_one_order_of_heads_fits() -> None:
    """A trunk with two heads on one device, memory for the trunk and one head at a time."""
    trunk = operator("trunk", activation=1.0, parameters=1.0)
    heads = [operator(f"head{k}", "trunk", activation=4.0) for k in (0, 1)]
    problem = posed(trunk, *heads, devices=unit_cluster(1, 6.0), microbatches=3)
    plan = solved(problem, 2.0)
    assert checked(problem, plan) == []
    assert plan.makespan == pytest.approx(27.0)
    with pytest.raises(Impossible, match="1 B short"):
        solved(posed(trunk, *heads, devices=unit_cluster(1, 5.0), microbatches=3))


def test_parts_that_no_device_can_share() -> None:
    """Three operators of 2 on two devices of 3: one device would have to hold 4."""
    parts = [operator(f"p{k}", parameters=2.0) for k in range(3)]
    with pytest.raises(Impossible, match=r"is 1 B short"):
        solved(posed(*parts, devices=unit_cluster(2, 3.0)))


@pytest.mark.parametrize("larger", [0, 1])
def test_what_a_small_device_cannot_hold_a_large_one_may(larger: int) -> None:
    """Inference, a colocated pair of 2 bytes each, held together while the second runs: only the device of 4 can."""
    kind = DeviceType("unit")
    caps = [4.0 if d == larger else 3.0 for d in (0, 1)]
    cluster = Cluster("two", tuple(Device(f"g{d}", "g", kind, None, cap) for d, cap in enumerate(caps)))
    pair = chain(2, times=(1.0,), activation=2.0, colocate="x")
    placement = find_fit(posed(*pair, devices=cluster, training=False), Control())
    assert placement is not None
    assert placement.device_of == ((larger, larger),)


def test_a_layout_may_be_impossible_where_others_fit() -> None:
    """Stages of 1, 1, 6 and 6: in a line of two, no cut leaves both devices within 8."""
    sizes = (6.0, 1.0, 1.0, 6.0)
    parts = [operator(f"p{k}", *([f"p{k - 1}"] if k else []), parameters=size) for k, size in enumerate(sizes)]
    assert solved(posed(*parts, devices=unit_cluster(2, 7.0)), 1.0).makespan > 0
    parts = [operator(p.name, *p.inputs, parameters=s) for p, s in zip(parts, (6.0, 6.0, 1.0, 1.0), strict=True)]
    free = posed(*parts, devices=unit_cluster(2, 7.0))
    assert checked(free, solved(free, 1.0)) == []
    with pytest.raises(Impossible, match="linear"):
        solved(posed(*parts, devices=unit_cluster(2, 7.0), layout="linear"), 5.0)


def test_without_caps_anything_fits() -> None:
    """No device has a cap: any placement that is allowed."""
    problem = posed(*chain(3, parameters=1e15), devices=2)
    placement = find_fit(problem, Control())
    assert placement is not None
    assert problem.allows(placement.device_of[0])
