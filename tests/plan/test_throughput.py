"""Tokens a second and MFU, computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from handmade import cluster

from planner.plan.plan import Throughput
from planner.plan.throughput import throughput_of
from planner.problem import Cluster, Device, DeviceType
from planner.problem.made_from import MadeFrom

MODEL = MadeFrom("m", sequence=100, micro_batch=3, tensor=2, context=1, data=4, flops_per_token=6e9)
FAST, SLOW = DeviceType("fast", peak_flops=2e12), DeviceType("slow", peak_flops=1e12)


def devices(*types: DeviceType) -> Cluster:
    return Cluster("c", tuple(Device(f"d{k}", "d", kind) for k, kind in enumerate(types)))


def test_by_hand() -> None:
    """5 microbatches of 3 sequences on 4 replicas, in 2 s; 3 devices stand for 2 x 4 GPUs each.

    60 sequences, 6000 tokens, 3000 tokens/s on 24 GPUs. Peak: 8 x (2 + 2 + 1) TFLOP/s = 40e12. MFU: 6e9 x 3000 / 40e12.
    """
    assert throughput_of(MODEL, devices(FAST, FAST, SLOW), 5, 2.0) == Throughput(
        gpus=24,
        sequences=60,
        tokens=6000,
        tokens_per_second=3000.0,
        tokens_per_second_per_gpu=125.0,
        peak_flops=40e12,
        mfu=pytest.approx(0.45),
    )


@pytest.mark.parametrize(
    ("model", "kinds", "peak"),
    [
        (MODEL, (FAST, DeviceType("unknown")), None),
        (replace(MODEL, flops_per_token=None), (FAST, SLOW), 24e12),
        (MODEL, (DeviceType("still", peak_flops=0.0),), 0.0),
    ],
)
def test_without_a_peak_or_the_work_of_a_token_there_is_no_mfu(
    model: MadeFrom, kinds: tuple[DeviceType, ...], peak: float | None
) -> None:
    found = throughput_of(model, devices(*kinds), 5, 2.0)
    assert found is not None
    assert (found.tokens, found.peak_flops, found.mfu) == (6000, peak, None)


def test_tokens_or_time_that_are_not_known() -> None:
    assert throughput_of(None, cluster(2), 5, 2.0) is None
    assert throughput_of(replace(MODEL, sequence=None), cluster(2), 5, 2.0) is None
    assert throughput_of(MODEL, cluster(2), 5, 0.0) is None
