"""nanotron: 1F1B or all forwards before all backwards, blocks placed by their cost."""

from planner.problem.graph import Collective
from planner.runtimes.runtime import Recomputing, Runtime, Transfers

RUNTIME = Runtime(
    name="nanotron",
    title="nanotron",
    sources=("https://github.com/huggingface/nanotron",),
    schedules=("gpipe", "1f1b"),
    balanced=True,
    host_seconds=0.0008,
    moved=4.0,
    hides=frozenset({Collective.WEIGHTS}),
    transfers=Transfers.EXPOSED,
    reduces_beside=False,
    recompute=Recomputing.UNIFORM,
    groups="one",
    launch="torchrun run_train.py with parallelism: {pp, pp_engine: 1f1b or afab, recompute_layer}",
    left_out="tp_linear_async_communication",
)
