"""Laws of collectives: bandwidth and latency inside a node and across nodes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from planner.costs.accelerator import accelerator, known
from planner.costs.collectives import OPERATIONS, Network, collective_seconds, send_seconds, sent_bytes

RAIL = Network(bandwidth=50e9, latency=8e-6, efficiency=0.8)
GIB = 2**30


@pytest.mark.parametrize("name", known())
@pytest.mark.parametrize("op", OPERATIONS)
def test_time_grows_with_bytes_and_ranks_in_latency(name: str, op: str) -> None:
    acc = accelerator(name)
    for ranks, network in ((2, None), (4, None), (16, RAIL)):
        times = [collective_seconds(acc, op, size, ranks, 4, network) for size in (0, 1e3, 1e6, 1e9)]
        assert times == sorted(times) and times[0] > 1e-6
    small = [collective_seconds(acc, op, 0, ranks, 4, RAIL) for ranks in (1, 2, 4, 16, 64)]
    assert small[0] == 0.0 and small == sorted(small)


@pytest.mark.parametrize("op", ["all_gather", "reduce_scatter", "all_reduce"])
def test_across_nodes_each_rail_carries_its_share(op: str) -> None:
    """Eight rails: an eighth of what a rank sends each; twice the rail, half the time."""
    acc = accelerator("h100")
    volume = sent_bytes(op, 8 * GIB, 64)
    times = [collective_seconds(acc, op, 8 * GIB, 64, 8, Network(rate, 8e-6, 0.8)) for rate in (25e9, 50e9)]
    assert times[1] == pytest.approx(volume / 8 / (50e9 * 0.8), rel=0.01)
    assert times[0] == pytest.approx(2 * times[1], rel=0.01)
    single = collective_seconds(acc, op, 8 * GIB, 8, 1, RAIL)  # one rank a node: one rail
    assert single == pytest.approx(sent_bytes(op, 8 * GIB, 8) / RAIL.rate, rel=0.01)


def test_all_to_all_sends_what_is_for_other_nodes_over_its_own_rail() -> None:
    acc = accelerator("h100")
    time = collective_seconds(acc, "all_to_all", GIB, 64, 8, RAIL)
    assert time == pytest.approx(GIB * 56 / 64 / RAIL.rate, rel=0.01)


def test_a_fast_network_leaves_the_links_of_the_node() -> None:
    """The part inside the node hides what is faster than it, and nothing else."""
    acc = accelerator("h100")
    infinite = Network(1e15, 0.0, 1.0)
    for op in OPERATIONS:
        inside = collective_seconds(acc, op, GIB, 8, 8, None)
        across = collective_seconds(acc, op, GIB, 16, 8, infinite)
        assert inside / 2.5 < across < 1.2 * inside


def test_latency_of_a_ring_grows_with_nodes_and_of_all_reduce_with_their_logarithm() -> None:
    """A tree replaces the ring of all_reduce where buffers are small and nodes are many."""
    acc, nodes = accelerator("h100"), 128
    gather = collective_seconds(acc, "all_gather", 1, nodes, 1, RAIL)
    reduce = collective_seconds(acc, "all_reduce", 1, nodes, 1, RAIL)
    assert gather == pytest.approx(acc.launch + (nodes - 1) * RAIL.latency, rel=1e-3)
    assert reduce == pytest.approx(acc.launch + 2 * math.log2(nodes) * RAIL.latency, rel=1e-3)


def test_h800_has_fewer_links_and_the_same_kernels() -> None:
    """200 of 450 GB/s each way; a send reaches the 160 GB/s of DeepSeek-V3 (arXiv 2412.19437, section 3.2.2)."""
    full, cut = accelerator("h100"), accelerator("h800")
    assert cut.gemm == full.gemm and cut.attention == full.attention
    for op, curve in full.links.items():
        assert cut.links[op].bandwidth / curve.bandwidth == pytest.approx(200 / 450, rel=1e-3)
    assert GIB / send_seconds(cut, GIB, True, None) == pytest.approx(160e9, rel=0.05)


def test_a_send() -> None:
    acc = accelerator("h100")
    assert send_seconds(acc, GIB, False, RAIL) == pytest.approx(GIB / 40e9 + 8e-6 + acc.launch)
    assert send_seconds(acc, GIB, True, RAIL) < send_seconds(acc, GIB, False, RAIL) / 5


def test_what_cannot_be_is_refused() -> None:
    acc = accelerator("h100")
    with pytest.raises(ValueError, match="broadcast"):
        collective_seconds(acc, "broadcast", 1, 2, 8, None)
    with pytest.raises(ValueError, match="network"):
        collective_seconds(acc, "all_gather", 1, 16, 8, None)
    with pytest.raises(ValueError, match="network"):
        send_seconds(acc, 1, False, None)
    with pytest.raises(ValueError, match="no curve of all_gather"):
        collective_seconds(replace(acc, links={}), "all_gather", 1, 2, 8, None)
    for size, ranks in ((-1, 2), (1, 0)):
        with pytest.raises(ValueError, match="negative or 0"):
            collective_seconds(acc, "all_gather", size, ranks, 8, None)
