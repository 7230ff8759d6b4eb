"""The device model as it is: whatever a plan may do."""

from planner.problem.graph import Collective
from planner.runtimes.names import ANY
from planner.runtimes.runtime import Cut, Recomputing, Runtime, Transfers

RUNTIME = Runtime(
    name=ANY,
    title="no framework: the device model as it is",
    sources=("docs/formats.md",),
    cut=Cut.ANYWHERE,
    hides=frozenset(Collective),
    transfers=Transfers.HIDDEN,
    recompute=Recomputing.OPERATOR,
    zero=(0, 1, 2, 3),
    groups="any",
    launch="no framework runs every plan; what one would gain that did",
)
