"""Contiguous stages: balanced, then cheap to cut, then even."""

import random
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from baseline_problems import chain, cluster, deepseek, operator, problem

from planner.problem import ByDevice, Cluster, Device, DeviceType, NetworkLevel, Operator
from planner.problem.partition import atoms, partition


def forward(name: str, seconds: object, **fields: object) -> Operator:
    return operator(name, (seconds, 0.0), **fields)  # type: ignore[arg-type]


def one_a_device(count: int) -> list[tuple[int]]:
    return [(d,) for d in range(count)]


def test_equal_operators_spread_evenly():
    assert [len(s) for s in partition(chain(4, 1, length=8), one_a_device(4))] == [2, 2, 2, 2]
    assert sorted(len(s) for s in partition(chain(4, 1, length=9), one_a_device(4))) == [2, 2, 2, 3]


def test_deepseek_layers_are_not_cut():
    stages = partition(deepseek(), one_a_device(8))
    assert [s[0] % 4 for s in stages] == [0] * 8
    assert {len(s) for s in stages} == {16}


@pytest.mark.parametrize("seed", range(8))
def test_largest_load_is_the_smallest_of_all_cuts(seed):
    """Random chains on devices of two speeds, against every way to cut."""
    chance = random.Random(seed)
    kinds = {"fast": DeviceType("fast"), "slow": DeviceType("slow")}
    where = Cluster("c", tuple(Device(f"d{k}", "d", kinds["slow" if k == 1 else "fast"]) for k in range(3)), kinds)
    times = [chance.randrange(1, 20) for _ in range(9)]
    operators = [
        forward(f"o{k}", ByDevice({"fast": t, "slow": t * 3.0}), inputs=(f"o{k - 1}",) if k else ())
        for k, t in enumerate(times)
    ]
    speed = (1.0, 3.0, 1.0)

    def worst(cuts):
        return max(speed[s] * sum(times[a:b]) for s, (a, b) in enumerate(pairwise(cuts)))

    best = min(worst((0, a, b, 9)) for a, b in combinations(range(1, 9), 2))
    stages = partition(problem(operators, where, 1), one_a_device(3))
    assert worst((0, stages[1][0], stages[2][0], 9)) == best


def test_among_equal_loads_the_cheaper_cut_wins():
    sizes = [9.0, 9.0, 1.0, 9.0]
    operators = [
        operator(f"o{k}", (t, 0.0), (f"o{k - 1}",) if k else (), output=size)
        for k, (t, size) in enumerate(zip([3.0, 1.0, 0.0, 4.0], sizes, strict=True))
    ]
    where = replace(cluster(2), within_node=NetworkLevel(bandwidth=1.0))
    assert partition(problem(operators, where, 1), one_a_device(2)) == ((0, 1, 2), (3,))


def test_a_colocate_group_is_never_cut():
    operators = [
        operator(f"o{k}", (1.0, 1.0), (f"o{k - 1}",) if k else (), colocate="x" if k in (1, 3) else None)
        for k in range(6)
    ]
    p = problem(operators, cluster(3), 1)
    assert atoms(p) == ((0,), (1, 2, 3), (4,), (5,))
    assert partition(p, one_a_device(3)) == ((0,), (1, 2, 3), (4, 5))


def test_devices_that_may_not_run_an_operator_shift_the_cuts():
    operators = [forward(f"o{k}", 1.0, inputs=(f"o{k - 1}",) if k else ()) for k in range(6)]
    operators[4] = forward("o4", 1.0, inputs=("o3",), devices=("d0", "d2"))
    assert partition(problem(operators, cluster(3), 1), one_a_device(3)) == ((0, 1), (2, 3), (4, 5))
    operators[2] = forward("o2", 1.0, inputs=("o1",), devices=("d0",))
    assert partition(problem(operators, cluster(3), 1), one_a_device(3)) == ((0, 1, 2), (3,), (4, 5))


def test_too_few_segments():
    assert partition(chain(4, 1, length=3), one_a_device(4)) is None
