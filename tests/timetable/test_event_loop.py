"""A network played by the interpreter and by compiled code."""

from __future__ import annotations

import random

import numpy as np
import pytest

from planner.baselines import BASELINES, baseline_timetable
from planner.problem import (
    PASS_ORDER,
    Cluster,
    Device,
    DeviceType,
    Graph,
    Mode,
    NetworkLevel,
    Operator,
    Problem,
    Stream,
)
from planner.timetable import network
from planner.timetable.event_loop import compiled, interpreted
from planner.timetable.replay import orders_of, replay
from planner.timetable.timetable import Timetable


def random_chain(seed: int) -> Problem:
    rng = random.Random(seed)
    kinds = [DeviceType(f"t{d}", memory=40.0, exclusive_transfers=rng.random() < 0.3) for d in range(4)]
    devices = tuple(Device(f"d{d}", "d", kind) for d, kind in enumerate(kinds))
    network = NetworkLevel(None, rng.random()) if rng.random() < 0.7 else None
    cluster = Cluster("random", devices, {kind.name: kind for kind in kinds}, network)
    operators = [
        Operator(
            f"o{i}",
            {each: rng.uniform(0.5, 2.0) for each in PASS_ORDER},
            inputs=(f"o{i - 1}",) if i else (),
            activation=1.0,
            held_for_weight_grad=0.5,
            stream=Stream.COMM if rng.random() < 0.2 else Stream.COMPUTE,
        )
        for i in range(9)
    ]
    return Problem(Graph("chain", Mode.TRAINING, 8, tuple(operators)), cluster, 8)


def both_ways(seed: int, name: str) -> tuple[Timetable, Timetable | None]:
    """The replay of a baseline, and of its orders under caps with memory to wait for."""
    problem = random_chain(seed)
    timetable = baseline_timetable(name, problem)
    caps = [7.0] * problem.n_devices
    orders = orders_of(timetable, problem)
    return timetable, replay(problem, timetable.placement, timetable.copy_of, orders, caps=caps)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("seed", range(3))
def test_both_give_the_same_instants_to_the_last_bit(seed: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "simulation", lambda nodes: interpreted)
    first = both_ways(seed, name)
    monkeypatch.setattr(network, "simulation", lambda nodes: compiled())
    second = both_ways(seed, name)
    for one, other in zip(first, second, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(one.start, other.start)
            assert one.transfers == other.transfers
