"""Megatron-Core: whole layers, 1F1B and interleaved 1F1B."""

from planner.problem.graph import Collective
from planner.runtimes.runtime import Recomputing, Runtime, Transfers

RUNTIME = Runtime(
    name="megatron",
    title="Megatron-LM (Megatron-Core)",
    sources=(
        "https://docs.nvidia.com/megatron-core/developer-guide/0.15.0/api-guide/pipeline_parallel.html",
        "https://docs.nvidia.com/nemo/megatron-bridge/0.5.0/training/communication-overlap.html",
        "https://arxiv.org/abs/2104.04473",
    ),
    schedules=("1f1b", "interleaved-1f1b"),
    chunks=8,
    hides=frozenset({Collective.WEIGHTS}),
    transfers=Transfers.INTERLEAVED,
    recompute=Recomputing.FIRST_LAYERS,
    groups="as many as there are ranks (--microbatch-group-size-per-virtual-pipeline-stage)",
    launch="torchrun pretrain_gpt.py with the flags of planner export --to megatron",
    left_out=(
        "--tp-comm-overlap (userbuffers), --overlap-moe-expert-parallel-comm (combined 1F1B), split weight gradients "
        "(--delay-wgrad-compute), overlap inside context-parallel attention, microbatch groups above or below the ranks"
    ),
)
