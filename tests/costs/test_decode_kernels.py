"""Kernels of decode steps: products with few rows beside measured ones, and laws of attention to a cache."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest

from planner.costs.accelerator import accelerator, known
from planner.costs.kernels import decode_seconds, gemm_seconds

PRODUCTS = ((1280, 8192), (8192, 1024), (7168, 8192), (8192, 3584))
"""n and k of a layer of Llama-2-70B on eight tensor ranks: queries, keys and values; output; up and gate; down."""

MEASURED = {
    1: (13, 9, 43.5, 22),
    8: (12, 9, 44, 22),
    16: (13, 9, 44, 22.5),
    32: (13, 9, 48, 27),
    64: (13, 10, 45, 25),
    96: (16, 14, 48, 32),
    128: (15, 11, 52, 27),
}
"""Microseconds on an H100 by rows, medians in data/profiling/compute/h100/meta-llama/Llama-2-70b-hf/mlp.csv of
microsoft/vidur (MIT), whose clock ticks in microseconds."""


def test_products_with_few_rows_take_what_was_measured() -> None:
    h100 = accelerator("h100")
    ratios = [
        gemm_seconds(h100, rows, n, k) * 1e6 / measured
        for rows, row in MEASURED.items()
        for (n, k), measured in zip(PRODUCTS, row, strict=True)
    ]
    assert statistics.median(ratios) == pytest.approx(1, abs=0.1)
    assert all(0.6 < ratio < 1.1 for ratio in ratios)
    largest = ratios[2::4]
    assert all(0.87 < ratio < 1.03 for ratio in largest)


@pytest.mark.parametrize("name", known())
def test_attention_to_a_cache_grows_with_it_and_is_no_faster_than_memory(name: str) -> None:
    acc = accelerator(name)
    sizes = [(keys, 16 * keys * 2048 * 2.0) for keys in (128, 1024, 8192, 65536)]
    times = [decode_seconds(acc, 16, keys, 32, 8, 128, 128, size) for keys, size in sizes]
    assert all(a < b for a, b in pairwise(times))
    assert all(time >= size / acc.memory_bandwidth for time, (_, size) in zip(times, sizes, strict=True))
    assert times[-1] == pytest.approx(sizes[-1][1] / acc.memory_bandwidth, rel=0.05)


def test_what_no_cache_has() -> None:
    h100 = accelerator("h100")
    with pytest.raises(ValueError, match="no size may be negative"):
        decode_seconds(h100, 1, -1, 32, 8, 128, 128, 0.0)
    with pytest.raises(ValueError, match="no curve of attention of 'int3'"):
        decode_seconds(h100, 1, 1, 32, 8, 128, 128, 0.0, "int3")
