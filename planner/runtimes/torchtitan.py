"""TorchTitan: whole layers, the schedules of torch.distributed.pipelining that it names."""

from planner.problem.graph import Collective
from planner.runtimes.runtime import Recomputing, Runtime, Transfers

RUNTIME = Runtime(
    name="torchtitan",
    title="TorchTitan",
    sources=(
        "https://github.com/pytorch/torchtitan",
        "https://docs.pytorch.org/tutorials/intermediate/pipelining_tutorial.html",
        "https://arxiv.org/abs/2410.06511",
    ),
    schedules=("gpipe", "1f1b", "interleaved-1f1b", "zbv", "dualpipev"),
    chunks=8,
    hides=frozenset({Collective.WEIGHTS}),
    transfers=Transfers.HIDDEN,
    recompute=Recomputing.UNIFORM,
    zero=(0, 2, 3),
    groups="as many as there are ranks",
    launch="torchrun with the TOML of planner export --to torchtitan",
    left_out="asynchronous tensor parallelism, orders of a CSV (runtime torch has those of the baselines)",
)
