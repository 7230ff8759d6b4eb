"""Segments that cuts may separate, with labels: against networkx, and what stands apart."""

from __future__ import annotations

import random

import networkx as nx
import pytest

from planner.problem.segments import Segments, gathered, merged, segments_of


def drawn(seed: int) -> tuple[list[int], list[list[int]], list[tuple[int, ...]]]:
    """A random graph whose order is that of its numbers, and labels on some of its operators."""
    rng = random.Random(seed)
    n, labels = rng.randrange(2, 25), rng.randrange(1, 8)
    density = rng.choice([0.05, 0.15, 0.4])
    inputs = [[j for j in range(i) if rng.random() < density] for i in range(n)]
    label = [rng.randrange(labels) if rng.random() < 0.6 else labels + i for i in range(n)]
    by_label: dict[int, list[int]] = {}
    for i in range(n):
        by_label.setdefault(label[i], []).append(i)
    return list(range(n)), inputs, [tuple(members) for members in by_label.values()]


@pytest.mark.parametrize("block", range(4))
def test_against_strongly_connected_components(block: int) -> None:
    """Joined segments are the strong components of the graph with a cycle per label; the order is topological."""
    apart = 0
    for seed in range(100 * block, 100 * block + 100):
        order, inputs, groups = drawn(seed)
        segments = segments_of(order, inputs, groups)
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(order)
        graph.add_edges_from((j, i) for i in order for j in inputs[i])
        graph.add_edges_from((a, b) for g in groups for a, b in zip(g, (*g[1:], g[0]), strict=True))
        assert {frozenset(p) for p in segments.joined} == {
            frozenset(p) for p in nx.strongly_connected_components(graph)
        }
        flat = [i for segment in segments.joined for i in segment]
        place = {i: k for k, i in enumerate(flat)}
        assert sorted(flat) == order, seed
        assert flat == [i for segment in segments.loose for i in segment]
        assert all(place[j] < place[i] for i in order for j in inputs[i]), seed
        for members in groups:
            pieces_with_it = sum(bool(set(members) & set(segment)) for segment in segments.loose)
            assert pieces_with_it == 1 or members in segments.spread, seed
        apart += len(segments.spread)
    assert apart


def test_without_labels_every_operator_is_a_segment() -> None:
    """In the order that was given."""
    segments = segments_of([2, 0, 1], [[], [0], []], [(0,), (1,), (2,)])
    assert segments == Segments(((2,), (0,), (1,)), ((2,), (0,), (1,)), ())


def test_a_label_stands_together_where_nothing_lies_between() -> None:
    """Two labels on two chains side by side, numbered in turn: two segments, not one."""
    segments = segments_of(range(4), [[], [], [0], [1]], [(0, 2), (1, 3)])
    assert segments.joined == segments.loose == ((0, 2), (1, 3))


def test_ends_of_a_chain() -> None:
    """One label on the first and the last of five, another inside: joined all, loose but for the inner label."""
    groups = [(0, 4), (1, 2), (3,)]
    segments = segments_of(range(5), [[], [0], [1], [2], [3]], groups)
    assert segments.joined == ((0, 1, 2, 3, 4),)
    assert segments.loose == ((0,), (1, 2), (3,), (4,))
    assert segments.spread == ((0, 4),)
    assert merged(segments.loose, [(0, 3)]) == [(0, 1, 2, 3), (4,)]
    assert gathered(segments, [1.0, 1.0, 1.0, 1.0, 2.0]) == [((0, 4), (1, 2), (3,)), ((1, 2), (3,), (0, 4))]
    heaviest_is_between = segments_of(range(5), [[], [0], [1], [2], [3]], [(0, 2, 4), (1,), (3,)])
    assert ((1,), (0, 2, 4), (3,)) in gathered(heaviest_is_between, [1.0, 1.0, 5.0, 1.0, 2.0])
