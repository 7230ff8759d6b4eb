"""Measured tables to a calibration: fits each curve to four fifths of the kernels, and states its error on the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from planner.costs.accelerator import ELEMENT, FP32_SHARE, Accelerator
from planner.costs.collectives import sent_bytes
from planner.costs.curves import (
    AttentionCurve,
    GemmCurve,
    LinkCurve,
    Values,
    attention_time,
    gemm_time,
    link_time,
)
from planner.costs.fitting import Errors, errors, fitted, held_out
from planner.costs.tables import Table

LEAST = 20
"""Kernels that a curve needs: fewer than its parameters several times over say nothing."""

SOFTMAX = 30.0
"""``softmax`` where only one width of heads was measured, which cannot tell it from the rate of the products.

On H100 the fit gives about twice that; an A100 has the same exponentials a clock at a third of the matrix FLOP.
"""

GEMM_BOUNDS = {
    "launch": (1e-7, 1e-3),
    "peak": (1e9, 1e18),
    "bandwidth": (1e8, 1e15),
    "tile": (0.1, 200.0),
    "depth": (1.0, 1000.0),
    "waves": (0.01, 1.0),
    "split": (0.01, 50.0),
    "sharpness": (1.0, 10.0),
    "cast": (1e-15, 1e-9),
}
ATTENTION_BOUNDS = {
    "launch": (1e-7, 1e-3),
    "peak": (1e9, 1e18),
    "softmax": (1.0, 256.0),  # at most the products of heads of 128: beyond, it trades for the peak
    "depth": (1.0, 5000.0),
    "longest": (0.01, 3.0),
    "passes": (0.1, 20.0),
}
LINK_BOUNDS = {
    "latency": (1e-7, 1e-3),
    "per_rank": (1e-9, 1e-4),
    "ramp": (1e-9, 1e-3),
    "bandwidth": (1e8, 1e13),
    "scale": (0.2, 5.0),
}

Rows = NDArray[np.bool_]
Curve = TypeVar("Curve", GemmCurve, AttentionCurve, LinkCurve)


class TooFew(ValueError):
    """A table has too few kernels to fit a curve to."""


@dataclass(frozen=True)
class Calibration:
    """An accelerator, and the error of each of its curves: ``gemm.bf16``, ``links.all_gather``."""

    accelerator: Accelerator
    errors: Mapping[str, Errors]


def calibrate(
    name: str,
    units: int,
    gemms: Mapping[str, Table],
    attentions: Mapping[str, Table],
    collectives: Mapping[str, Table],
    sends: Table | None = None,
    backward: float = 0.8,
    grouped: float = 1.0,
    link_share: float = 1.0,
) -> Calibration:
    """Fit all curves. Raises ``TooFew`` where a table has too few kernels, or none of BF16.

    ``units``: multiprocessors. ``backward``: the rate of attention backward as a share of that of forward, which no
    table has. ``link_share``: bandwidth of the links as a share of that of the measured ones.
    """
    if "bf16" not in gemms:
        raise TooFew("the table of GEMMs has none of BF16, from which the bandwidth of memory is taken")
    off: dict[str, Errors] = {}
    gemm: dict[str, GemmCurve] = {}
    for kind, table in gemms.items():
        gemm[kind], off[f"gemm.{kind}"] = fit_gemm(kind, units, table)
    main = gemm["bf16"]
    gemm["fp32"] = replace(main, element=ELEMENT["fp32"], peak=main.peak * FP32_SHARE)
    attention: dict[str, AttentionCurve] = {}
    for kind, table in attentions.items():
        fit, off[f"attention.{kind}"] = fit_attention(kind, units, table, main.bandwidth)
        attention[kind] = replace(fit, backward=backward)
    links: dict[str, LinkCurve] = {}
    for op, table in collectives.items():
        sizes = sent_bytes(op, table.columns["bytes"], table.columns["ranks"])
        links[op], off[f"links.{op}"] = fit_link(sizes, table.columns["ranks"], table.seconds)
    if sends is not None:
        size = sends.columns["bytes"]
        links["send"], off["links.send"] = fit_link(size, np.full(len(size), 2.0), sends.seconds)
    elif "all_to_all" in links:
        links["send"] = links["all_to_all"]  # between two ranks it is a send each way
    links = {op: replace(link, bandwidth=link.bandwidth * link_share) for op, link in links.items()}
    made = Accelerator(name, units, main.bandwidth, main.launch, gemm, attention, links, grouped)
    return Calibration(made, off)


def fit_gemm(kind: str, units: float, table: Table) -> tuple[GemmCurve, Errors]:
    """The curve of GEMMs of a type, and its error on the held-out fifth."""
    m, n, k = (table.columns[name] for name in ("m", "n", "k"))
    shape = GemmCurve(ELEMENT[kind], launch=0.0, peak=1.0, bandwidth=1.0)
    bytes_moved = (m * k + k * n) * shape.element + m * n * 2
    start = {
        "launch": float(np.percentile(table.seconds, 1)),
        "peak": float(np.percentile(2 * m * n * k / table.seconds, 99)),
        "bandwidth": float(np.percentile(bytes_moved / table.seconds, 95)),
        "tile": 20.0,
        "depth": 64.0,
        "waves": 0.5,
        "split": 1.0,
        "sharpness": 3.0,
    }
    if shape.element < 2:  # measured with the conversion of its input, which BF16 does not need
        start["cast"] = 1e-13

    def predict(values: Mapping[str, float], rows: Rows) -> Values:
        return gemm_time(_with(shape, values), units, m[rows], n[rows], k[rows])

    values, off = _fit(f"GEMMs of {kind}", table.keys, table.seconds, predict, start, GEMM_BOUNDS)
    return _with(shape, values), off


def fit_attention(kind: str, units: float, table: Table, bandwidth: float) -> tuple[AttentionCurve, Errors]:
    """The curve of causal attention forward of a type, and its error on the held-out fifth."""
    batch, seq, heads, kv, dim = (table.columns[x] for x in ("batch", "seq", "heads", "kv_heads", "head_dim"))
    shape = AttentionCurve(ELEMENT[kind], launch=0.0, peak=1.0, bandwidth=bandwidth, softmax=SOFTMAX)
    start = {
        "launch": float(np.percentile(table.seconds, 1)) / 2,
        "peak": float(np.percentile(2 * batch * seq * (seq + 1) * heads * dim / table.seconds, 99)),
        "depth": 100.0,
        "longest": 0.5,
        "passes": 2.0,
    }
    if len(np.unique(dim)) > 1:
        start["softmax"] = SOFTMAX

    def predict(values: Mapping[str, float], rows: Rows) -> Values:
        b, s, h, g, d = (column[rows] for column in (batch, seq, heads, kv, dim))
        return attention_time(_with(shape, values), units, b, s, s, h, g, d, d)

    values, off = _fit(f"attention of {kind}", table.keys, table.seconds, predict, start, ATTENTION_BOUNDS)
    return _with(shape, values), off


def fit_link(sizes: Values, ranks: Values, seconds: Values) -> tuple[LinkCurve, Errors]:
    """The curve of a collective in a node, from the bytes that a rank sends, and its error on the held-out fifth."""
    shape = LinkCurve(latency=0.0, per_rank=0.0, ramp=0.0, bandwidth=1.0, ranks=float(ranks.max()))
    start = {
        "latency": float(np.percentile(seconds, 1)),
        "ramp": 1e-6,
        "bandwidth": float(np.percentile(sizes / seconds, 99)),
    }
    if ranks.max() > ranks.min():
        start |= {"per_rank": 1e-6, "scale": 1.0}

    def predict(values: Mapping[str, float], rows: Rows) -> Values:
        return link_time(_with(shape, values), sizes[rows], ranks[rows])

    keys = list(zip(sizes.tolist(), ranks.tolist(), strict=True))
    values, off = _fit("collectives", keys, seconds, predict, start, LINK_BOUNDS)
    return _with(shape, values), off


def _fit(
    what: str,
    keys: Sequence[tuple[float, ...]],
    seconds: Values,
    predict: Callable[[Mapping[str, float], Rows], Values],
    start: Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]],
) -> tuple[Mapping[str, float], Errors]:
    """Fit on what is not held out. Parameters are rounded as the file has them before errors are taken."""
    out = held_out(keys)
    if (~out).sum() < LEAST or not out.any():
        raise TooFew(f"the table has {len(keys)} {what}: a curve needs {LEAST * 5 // 4} or more")
    values = fitted(lambda at: predict(at, ~out), seconds[~out], start, bounds)
    rounded = {name: float(f"{value:.4g}") for name, value in values.items()}
    return rounded, errors(predict(rounded, out), seconds[out])


def _with(curve: Curve, values: Mapping[str, Any]) -> Curve:
    return replace(curve, **values)
