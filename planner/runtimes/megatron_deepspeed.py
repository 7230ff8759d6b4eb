"""Megatron-DeepSpeed: DeepSpeed's PipelineModule, 1F1B, equal numbers of layers."""

from planner.problem.graph import Collective
from planner.runtimes.runtime import Recomputing, Runtime, Transfers

RUNTIME = Runtime(
    name="megatron-deepspeed",
    title="Megatron-DeepSpeed",
    sources=(
        "https://www.deepspeed.ai/tutorials/pipeline/",
        "https://github.com/deepspeedai/DeepSpeed/blob/master/deepspeed/runtime/pipe/module.py",
    ),
    schedules=("1f1b",),
    uneven=False,
    host_seconds=0.0008,
    moved=1.5,
    hides=frozenset({Collective.WEIGHTS}),
    transfers=Transfers.EXPOSED,
    reduces_beside=False,
    recompute=Recomputing.UNIFORM,
    groups="one",
    launch="deepspeed pretrain_gpt.py --pipeline-model-parallel-size P, partition_method type:transformer",
)
