"""The shipped curves against an excerpt of the measured kernels: tests/data/measured."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from planner.costs.accelerator import accelerator
from planner.costs.collectives import collective_seconds
from planner.costs.kernels import attention_seconds, gemm_seconds
from planner.costs.tables import BYTES_OF, OPERATIONS, TYPES

EXCERPT = Path(__file__).parents[1] / "data" / "measured"

Row = Mapping[str, str]


def rows(name: str) -> list[Row]:
    with (EXCERPT / name).open(newline="") as file:
        return list(csv.DictReader(file))


def of_gemm(row: Row) -> float:
    acc = accelerator(row["gpu"].removesuffix("_sxm"))
    return gemm_seconds(acc, int(row["m"]), int(row["n"]), int(row["k"]), TYPES[row["dtype"]])


def of_attention(row: Row) -> float:
    acc = accelerator(row["gpu"].removesuffix("_sxm"))
    seq, dim = int(row["seq"]), int(row["head_dim"])
    heads = (int(row["heads"]), int(row["kv_heads"]))
    return attention_seconds(acc, int(row["batch"]), seq, seq, *heads, dim, dim, causal=True)


def of_collective(row: Row) -> float:
    acc = accelerator(row["gpu"].removesuffix("_sxm"))
    size = int(row["elements"]) * BYTES_OF[row["dtype"]]
    return collective_seconds(acc, OPERATIONS[row["op"]], size, int(row["num_gpus"]), 8, None)


@pytest.mark.parametrize(
    ("table", "predict", "least", "median", "worst"),
    [
        ("gemm.csv", of_gemm, 37, 0.06, 0.3),
        ("attention_fwd.csv", of_attention, 15, 0.05, 0.1),
        ("nccl.csv", of_collective, 20, 0.06, 0.35),
    ],
)
def test_curves_meet_what_was_measured(table: str, predict: object, least: int, median: float, worst: float) -> None:
    """Median and largest relative error of all rows; docs/costs.md has those of the whole tables."""
    assert callable(predict)
    measured = rows(table)
    assert len(measured) == least
    off = [abs(predict(row) / (float(row["ms"]) / 1e3) - 1) for row in measured]
    assert np.median(off) <= median
    assert max(off) <= worst, measured[int(np.argmax(off))]
