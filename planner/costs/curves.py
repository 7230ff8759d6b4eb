"""The curves that tables of measured kernels are reduced to, and their evaluation.

Each curve is a frozen dataclass of a few parameters in base units. Evaluation takes floats or numpy arrays of them, so
that the fit and the planner use the same formula. docs/costs.md explains the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]

TILES = ((256, 256), (256, 128), (128, 256), (128, 128), (256, 64), (128, 64), (64, 64), (128, 32))
"""Rows and columns of the output that a multiprocessor computes at a time: usual shapes of cuBLAS and CUTLASS."""

SPLITS = (1, 2, 4, 8)
"""Parts that k may be split into, so that few tiles occupy all multiprocessors."""

QUERY_TILE = 128
"""Queries of a tile of attention, as in FlashAttention-2 and -3."""


def _kernels(tiles: tuple[tuple[int, int], ...]) -> tuple[Values, Values, Values]:
    rows = [(float(a), float(b), float(s)) for (a, b), s in product(tiles, SPLITS)]
    a, b, s = np.array(rows).T
    return a, b, s


_TILED = _kernels(TILES)
_UNTILED = (np.ones(1), np.ones(1), np.ones(1))


@dataclass(frozen=True)
class GemmCurve:
    """Time of C = A B, A of m x k, B of k x n. Rates are those that a GEMM reaches, not those of the data sheet."""

    element: float  # bytes of an element of A and B; C has two, or four where A has four
    launch: float  # seconds before and after the work
    peak: float  # FLOP/s as m, n and k grow
    bandwidth: float  # bytes/s
    tile: float = 0.0  # a tile of a x b runs at 1 / (1 + tile (1/a + 1/b)) of the rate of one without a border
    depth: float = 0.0  # a tile takes as long as one of so many elements of k more
    waves: float = 0.0  # 1: a wave that is not full takes as long as a full one; 0: as its share
    split: float = 0.0  # times that the parts of a split k are moved, four bytes an element
    sharpness: float = 4.0  # exponent that joins compute and memory time; large: the longer one
    cast: float = 0.0  # seconds an element of A that is converted to the type first
    tiled: bool = True  # False: no tiles, a roofline


@dataclass(frozen=True)
class AttentionCurve:
    """Time of flash attention, forward; backward has 2.5 times its FLOP at ``backward`` of its rate."""

    element: float  # bytes of an element of q, k, v and o
    launch: float  # seconds
    peak: float  # FLOP/s of its matrix products, exponentials apart
    bandwidth: float  # bytes/s
    softmax: float = 0.0  # a score takes as long as so many elements more of q and v together
    depth: float = 0.0  # a tile of queries takes as long as one with so many keys more
    longest: float = 1.0  # share of the longest tile's time that the others do not hide
    passes: float = 1.0  # times that q, k, v and o are moved
    backward: float = 1.0  # rate of backward as a share of that of forward


@dataclass(frozen=True)
class LinkCurve:
    """Time of a collective in a node: latency, transfer, and the cost of cutting it into chunks.

    t = latency + per_rank (r - 1) + V / B + 2 sqrt(ramp V / B), where V are the bytes that a rank sends and
    B = bandwidth scale^log2(r / 2). The last term is the cost of the best size of chunks if each takes ``ramp`` more.
    """

    latency: float  # seconds
    per_rank: float  # seconds for each rank but the first
    ramp: float  # seconds
    bandwidth: float  # bytes/s that a rank sends, between two ranks
    scale: float = 1.0  # of the bandwidth, with each doubling of the ranks
    ranks: float = 2.0  # the largest number of ranks measured: beyond, the bandwidth is the same


def joined(a: Any, b: Any, sharpness: float) -> Any:
    """The longer of two times that overlap, smoothly: (a^p + b^p)^(1/p)."""
    longer = np.maximum(a, b)
    shorter = np.minimum(a, b)
    ratio = np.divide(shorter, longer, out=np.zeros_like(longer), where=longer > 0)
    return longer * (1 + ratio**sharpness) ** (1 / sharpness)


def gemm_time(
    curve: GemmCurve,
    units: float,
    m: ArrayLike,
    n: ArrayLike,
    k: ArrayLike,
    groups: ArrayLike = 1.0,
    rate: float = 1.0,
) -> Values:
    """Seconds of GEMMs; ``units`` multiprocessors, at ``rate`` of the peak.

    ``groups`` > 1: grouped GEMMs with m rows in all, shared evenly by that many matrices of k x n.
    The kernel is the fastest one of all tiles and splits, as the library's heuristic would have it.
    """
    rows, columns, inner, parts = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (m, n, k, groups))
    a, b, s = _TILED if curve.tiled else _UNTILED
    units = units if curve.tiled else 1.0
    tiles = parts[:, None] * np.ceil(rows[:, None] / parts[:, None] / a) * np.ceil(columns[:, None] / b) * s
    load = tiles / units
    load = np.maximum((1 - curve.waves) * load + curve.waves * np.ceil(load), 1.0)
    border = (1 + curve.tile * (1 / a + 1 / b)) / (1 + curve.tile * 2 / 256)
    flops = load * units * 2 * a * b * (inner[:, None] / s + curve.depth)
    moved = curve.split * np.where(s > 1, s, 0.0) * 4 * (rows * columns)[:, None]
    compute = (flops * border / (curve.peak * rate) + moved / curve.bandwidth).min(axis=1)
    output = max(curve.element, 2.0)
    size = (rows * inner + parts * inner * columns) * curve.element + rows * columns * output
    time: Values = curve.launch + joined(compute, size / curve.bandwidth, curve.sharpness) + curve.cast * rows * inner
    return time


def attention_time(
    curve: AttentionCurve,
    units: float,
    batch: ArrayLike,
    queries: ArrayLike,
    keys: ArrayLike,
    heads: ArrayLike,
    kv_heads: ArrayLike,
    qk_dim: ArrayLike,
    v_dim: ArrayLike,
    causal: bool = True,
    backward: bool = False,
    rate: float = 1.0,
) -> Values:
    """Seconds of flash attention of ``batch`` sequences, one kernel for all of them.

    Causal: the queries are the last ones of the keys, and each attends to those up to its own place.
    """
    each = (batch, queries, keys, heads, kv_heads, qk_dim, v_dim)
    b, q, kv, h, g, d, e = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in each)
    mean = np.where(q <= kv, kv - (q - 1) / 2, kv * (kv + 1) / (2 * q)) if causal else kv
    products = (3 * d + 2 * e) / curve.backward if backward else d + e
    width = products + curve.softmax * products / (d + e)
    tiles = b * h * np.ceil(q / QUERY_TILE)
    per_key = 2 * QUERY_TILE * width * units / (curve.peak * rate)
    compute = tiles * per_key * (mean + curve.depth) / units + curve.longest * per_key * (kv + curve.depth)
    size = b * (q * h + kv * g) * (d + e) * curve.element * curve.passes * (2 if backward else 1)
    time: Values = curve.launch + compute + size / curve.bandwidth
    return time


def link_time(curve: LinkCurve, size: ArrayLike, ranks: ArrayLike) -> Values:
    """Seconds in which each of ``ranks`` ranks of a node sends ``size`` bytes."""
    sent, r = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (size, ranks))
    transfer = sent / (curve.bandwidth * curve.scale ** np.log2(np.minimum(r, curve.ranks) / 2))
    time: Values = curve.latency + curve.per_rank * (r - 1) + transfer + 2 * np.sqrt(curve.ramp * transfer)
    return time
