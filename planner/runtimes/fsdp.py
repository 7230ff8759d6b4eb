"""Fully sharded data parallelism: no pipeline, weights gathered layer by layer ahead of computation."""

from planner.problem.graph import Collective
from planner.runtimes.runtime import Recomputing, Runtime, Transfers

RUNTIME = Runtime(
    name="fsdp",
    title="PyTorch FSDP",
    sources=(
        "https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html",
        "https://arxiv.org/abs/2304.11277",
    ),
    schedules=("1f1b",),
    pipeline=False,
    hides=frozenset({Collective.WEIGHTS}),
    transfers=Transfers.HIDDEN,
    recompute=Recomputing.UNIFORM,
    zero=(0, 2, 3),
    groups="one",
    launch="torchrun with fully_shard on every layer",
)
