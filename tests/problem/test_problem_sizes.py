"""Large graphs and clusters: read as problems at once, or refused at once."""

from __future__ import annotations

import numpy as np
import pytest
from solver_problems import chain, posed, unit_cluster

from planner.problem import (
    Device,
    DeviceType,
    Graph,
    Link,
    Mode,
    NetworkLevel,
    Operator,
    Pass,
    Problem,
    ProblemError,
)
from planner.problem.cluster import Cluster
from planner.problem.made_from import MadeFrom

LEVELS = (None, NetworkLevel(1e9), NetworkLevel(2e9))


def test_too_many_pairs_are_refused_before_anything_is_computed() -> None:
    """The message says how many there are and what to lower."""
    graph = Graph("long", Mode.TRAINING, 2, tuple(chain(5_000)))
    cluster = unit_cluster(5_000)
    with pytest.raises(ProblemError, match=r"5,000 operators on 5,000 devices are 25,000,000 pairs.*lower repeat"):
        Problem(graph, cluster, 2)


@pytest.mark.parametrize("each", [1, 2, 3])
@pytest.mark.parametrize("within", LEVELS)
@pytest.mark.parametrize("between", LEVELS)
def test_like_devices_without_links_are_found_as_with_links(
    within: NetworkLevel | None, between: NetworkLevel | None, each: int
) -> None:
    """The short way, by nodes, finds the classes that comparing every pair finds."""
    kind = DeviceType("k")
    devices = tuple(Device(f"d{k}", "d", kind, node=f"n{k // each}") for k in range(6))
    graph = Graph("g", Mode.TRAINING, 1, tuple(chain(2)))
    short = Cluster("c", devices, {"k": kind}, within, between)
    # links that change nothing take the long way
    pairs = [(a.name, b.name) for a in devices for b in devices if a is not b]
    links = tuple(Link(a, b, short.level(a, b) or NetworkLevel()) for a, b in pairs)
    long = Cluster("c", devices, {"k": kind}, within, between, links)
    assert Problem(graph, short, 1).device_classes == Problem(graph, long, 1).device_classes


def test_costs_that_are_shared_give_equal_rows() -> None:
    problem = posed(*chain(6, times=(1.0, 2.0, 3.0)), devices=3)
    assert np.array_equal(problem.duration, np.broadcast_to(np.array([1.0, 2.0, 3.0])[None, :, None], (6, 3, 3)))


def test_a_cluster_with_fewer_devices_than_the_graph_has_stages() -> None:
    origin = MadeFrom("llama", tensor=4, data=2, pipeline=8)
    graph = Graph("g", Mode.TRAINING, 1, (Operator("a", {Pass.F: 1.0, Pass.I: 1.0}),), path="g.yaml", made_from=origin)
    kind = DeviceType("h100")
    few, enough = (Cluster("c", tuple(Device(f"d{i}", "d", kind) for i in range(n)), {"h100": kind}) for n in (6, 8))
    told = r"g.yaml: origin.pipeline: .*8 pipeline stages of 8 GPUs each, 64 GPUs in all, and the cluster has 6 devices"
    with pytest.raises(ProblemError, match=told):
        Problem(graph, few, 1)
    assert Problem(graph, enough, 1).n_devices == 8
