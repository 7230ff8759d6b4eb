"""The order in which everything walks through a graph, against networkx."""

from __future__ import annotations

import random

import networkx as nx
import pytest

from planner.problem import Cluster, Device, DeviceType, Graph, Mode, Operator, Pass, Problem


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_topological_order_that_is_lexicographically_first(seed: int) -> None:
    rng = random.Random(seed)
    n = rng.randrange(1, 40)
    rank = rng.sample(range(n), n)
    density = rng.choice([0.02, 0.1, 0.3])
    inputs = [[j for j in range(n) if rank[j] < rank[i] and rng.random() < density] for i in range(n)]
    operators = tuple(Operator(str(i), {Pass.F: 1.0}, inputs=tuple(map(str, inputs[i]))) for i in range(n))
    kind = DeviceType("any")
    cluster = Cluster("one", (Device("d", "d", kind),), {"any": kind})
    problem = Problem(Graph("random", Mode.INFERENCE, 1, operators), cluster, 1)

    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from((j, i) for i in range(n) for j in inputs[i])
    assert problem.topological == tuple(nx.lexicographical_topological_sort(graph))
