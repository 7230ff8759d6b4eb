"""DeepSeek-V3's own training, predicted from what its report says: one figure that is published, not a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from measured_steps.steps import shipped_cluster
from planner.importers.transformer.model import Attention, Head, Layer, Mla, Mlp, Model, Moe, Stack
from planner.prediction.outcome import Prediction
from planner.prediction.table import predictions
from planner.problem.cluster import Cluster

GPUS, NODE = 2048, 8
MEASURED = 1e12 / (180e3 * 3600)
"""Tokens a second and GPU: 180,000 GPU hours of H800 a trillion tokens (arXiv 2412.19437, section 1)."""

STRATEGY: Mapping[str, str] = {
    **{"gpus": str(GPUS), "tp": "1", "pp": "16", "dp": "128", "ep": "64", "mbs": "1"},
    **{"gbs": "15360", "seq": "4096", "recompute": "selective", "zero": "1", "precision": "fp8"},
    **{"schedule": "dualpipe", "runtime": "dualpipe"},
}

ASSUMED = """\
DeepSeek-V3's report (arXiv 2412.19437) states 180,000 H800 GPU hours a trillion tokens, {measured:,.0f} tokens/s/GPU.
Predicted: **{predicted}**.

- From the report: 2,048 H800, pipeline 16, experts over 64 GPUs, ZeRO 1, FP8, DualPipe, no tensor parallelism,
  sequences of 4,096 tokens, 15,360 of them a step after the ramp; norms, activation functions and up-projections of MLA
  recomputed; one module of multi-token prediction.
- Assumed: one sequence a microbatch, so 120 microbatches a replica; the shipped cluster of H800, 160 GB/s in a node and
  50 GB/s a GPU between nodes; balanced experts. The report's average holds restarts and the ramp of the batch, too.
"""


def deepseek_v3() -> Model:
    """Its dimensions (config_671B.json of github.com/deepseek-ai/DeepSeek-V3)."""
    mla = Mla(1536, 512, 128, 64, 128)
    dense = Layer(Attention(128, 128, mla.qk_dim, mla=mla), Mlp(18432))
    sparse = replace(dense, feed_forward=Moe(256, 8, 2048, shared_width=2048, router_bias=True))
    stack = Stack(7168, (dense,) * 3 + (sparse,) * 58, final_norm=7168)
    return Model(129280, stack, Head(tied=False), longest=163840, mtp=1, family="deepseek_v3")


def cluster() -> Cluster:
    """2,048 H800, eight to a node."""
    return shipped_cluster("h800", GPUS, NODE)


def predicted() -> Prediction:
    """The step of the strategy; ``reason`` where it cannot be predicted."""
    (found,) = predictions(deepseek_v3(), cluster(), [STRATEGY])
    return found


def tokens_a_second(seconds: float) -> float:
    """Of one GPU."""
    return int(STRATEGY["gbs"]) * int(STRATEGY["seq"]) / seconds / GPUS


def text(found: Prediction) -> str:
    """The section of the page."""
    said = f"not, {found.reason}"
    if found.seconds is not None:
        rate = tokens_a_second(found.seconds)
        said = f"{rate:,.0f} tokens/s/GPU, {100 * (rate / MEASURED - 1):+.1f} % (goal: within 25 %)"
    return ASSUMED.format(measured=MEASURED, predicted=said)
