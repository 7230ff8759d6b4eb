"""DeepSeek's DualPipe: two copies or the V, overlapped pairs of a forward and a backward."""

from planner.problem.graph import Collective
from planner.runtimes.runtime import Recomputing, Runtime, Transfers

RUNTIME = Runtime(
    name="dualpipe",
    title="DualPipe",
    sources=("https://github.com/deepseek-ai/DualPipe", "https://arxiv.org/abs/2412.19437"),
    schedules=("dualpipe", "dualpipev"),
    chunks=2,
    hides=frozenset({Collective.EXPERT, Collective.WEIGHTS}),
    transfers=Transfers.HIDDEN,
    recompute=Recomputing.STAGE,
    groups="pairs of a forward and a backward",
    launch="your own script: DualPipe(modules).step(...) with the stages of planner export --to torch-csv's partition",
)
