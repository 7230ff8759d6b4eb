"""Seconds of kernels by shape, type and accelerator. Pure functions; results are cached by shape."""

from __future__ import annotations

import math
from functools import lru_cache

from planner.costs.accelerator import Accelerator
from planner.costs.curves import AttentionCurve, GemmCurve, attention_time, gemm_time

DECODE_ROWS = 64
"""Least rows of a tile of attention in decode: those of one instruction of Hopper's tensor cores (wgmma)."""

Sizes = tuple[float, float, float, float, float, float, float]


def gemm_seconds(acc: Accelerator, m: float, n: float, k: float, dtype: str = "bf16", groups: int = 1) -> float:
    """Seconds of a GEMM of (m x k) and (k x n), a launch included.

    ``groups`` > 1: a grouped GEMM, one kernel, m rows in all shared evenly by ``groups`` matrices of k x n.
    FP8 and FP4 include the conversion of the left operand. Raises ``ValueError`` for a type without a curve.
    """
    curve = acc.gemm.get(dtype)
    if curve is None:
        raise ValueError(f"{acc.name} has no curve of GEMMs of {dtype!r}: there are {', '.join(acc.gemm)}")
    if min(m, n, k) < 0 or groups < 1:
        raise ValueError(f"a GEMM of {m} x {n} x {k} in {groups} groups: no size may be negative, groups at least 1")
    if not m * n * k:
        return curve.launch
    return _gemm(curve, acc.units, m, n, k, groups, acc.derate * (acc.grouped if groups > 1 else 1.0))


def attention_seconds(
    acc: Accelerator,
    batch: float,
    queries: float,
    keys: float,
    heads: float,
    kv_heads: float,
    qk_dim: float,
    v_dim: float,
    causal: bool = True,
    backward: bool = False,
    dtype: str = "bf16",
) -> float:
    """Seconds of flash attention, one pass of ``batch`` sequences with ``heads`` query heads on this GPU.

    Forward has two products for each pair of query and key, backward five (FlashAttention-2, arXiv 2307.08691, section
    3.1). Causal: the queries are the last of the keys. FP8 runs at the rate of BF16, since training attends in BF16.
    A window: ``causal=False`` with the mean number of keys a query sees. Raises ``ValueError`` for other types.
    """
    curve = acc.attention.get(dtype) or (acc.attention.get("bf16") if dtype in ("fp8", "fp8_block", "nvfp4") else None)
    if curve is None:
        raise ValueError(f"{acc.name} has no curve of attention of {dtype!r}: there are {', '.join(acc.attention)}")
    if min(batch, queries, keys, heads, kv_heads, qk_dim, v_dim) < 0:
        raise ValueError("attention: no size may be negative")
    if not batch * queries * keys * heads * (qk_dim + v_dim):
        return curve.launch
    sizes = (batch, queries, keys, heads, kv_heads, qk_dim, v_dim)
    return _attention(curve, acc.units, sizes, causal, backward, acc.derate)


def decode_seconds(
    acc: Accelerator,
    sequences: float,
    keys: float,
    heads: float,
    kv_heads: float,
    qk_dim: float,
    v_dim: float,
    size: float,
    dtype: str = "bf16",
) -> float:
    """Seconds of attention of one query a sequence and head to ``keys`` cached keys, which moves ``size`` bytes.

    Flash decoding (Dao et al. 2023) cuts the keys into parts that occupy all multiprocessors, so that reading the cache
    or the products take the time, whichever is longer. The heads that share keys are the rows of a tile of DECODE_ROWS.
    No measured curve is behind it: rates are those of kernels without reuse, and of flash attention.
    """
    curve = acc.attention.get(dtype)
    if curve is None:
        raise ValueError(f"{acc.name} has no curve of attention of {dtype!r}: there are {', '.join(acc.attention)}")
    if min(sequences, keys, heads, kv_heads, qk_dim, v_dim, size) < 0:
        raise ValueError("attention: no size may be negative")
    groups = max(kv_heads, 1.0)
    rows = groups * math.ceil(heads / groups / DECODE_ROWS) * DECODE_ROWS
    flops = 2 * sequences * rows * keys * (qk_dim + v_dim)
    return curve.launch + max(flops / (curve.peak * acc.derate), size / acc.memory_bandwidth)


def memory_seconds(acc: Accelerator, bytes: float, kernels: float = 1) -> float:
    """Seconds of ``kernels`` kernels without reuse (norm, activation, embedding, loss, optimizer) that move ``bytes``.

    Bytes read and written in all; each kernel has a launch.
    """
    if bytes < 0 or kernels < 0:
        raise ValueError(f"{bytes} bytes in {kernels} kernels: neither may be negative")
    return acc.launch * kernels + bytes / acc.memory_bandwidth


def launch_seconds(acc: Accelerator) -> float:
    """Seconds on the GPU of a kernel that does next to nothing. What the host takes to launch it is not in it."""
    return acc.launch


@lru_cache(maxsize=100_000)
def _gemm(curve: GemmCurve, units: float, m: float, n: float, k: float, groups: int, rate: float) -> float:
    return float(gemm_time(curve, units, m, n, k, groups, rate)[0])


@lru_cache(maxsize=100_000)
def _attention(curve: AttentionCurve, units: float, sizes: Sizes, causal: bool, backward: bool, rate: float) -> float:
    return float(attention_time(curve, units, *sizes, causal, backward, rate)[0])
