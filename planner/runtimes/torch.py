"""torch.distributed.pipelining: stages at module boundaries, orders of a CSV."""

from planner.problem.graph import Collective
from planner.runtimes.runtime import Cut, Recomputing, Runtime, Transfers

RUNTIME = Runtime(
    name="torch",
    title="torch.distributed.pipelining",
    sources=("https://docs.pytorch.org/tutorials/intermediate/pipelining_tutorial.html",),
    cut=Cut.ANYWHERE,
    schedules=("gpipe", "1f1b", "interleaved-1f1b", "zb1p", "zb2p", "zbv", "v-half", "v-min", "dualpipev"),
    chunks=8,
    balanced=True,
    hides=frozenset({Collective.WEIGHTS}),
    transfers=Transfers.HIDDEN,
    recompute=Recomputing.STAGE,
    groups="as the CSV has them",
    launch="your own script with the CSV of planner export --to torch-csv (scripts/train_exported.py is one)",
    left_out="orders of stage passes that no baseline has",
)
