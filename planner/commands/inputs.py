"""From the options of a command to the problem: the two files, and what overrides them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from planner.commands.common import not_an_input, note
from planner.commands.flags import memory_size
from planner.files import read_cluster, read_graph
from planner.files.flag_values import UsageFault
from planner.files.graph_file import MAX_MICROBATCHES
from planner.files.whole import ensure_writable
from planner.problem import Cluster, Graph, Mode, Pass, Problem, Spot
from planner.problem.pass_times import unknown_device

NOTED_AT_MOST = 4
"""Unknown names of devices; the others are counted."""


class Inputs(Protocol):
    """The options of a command that plans for a graph on a cluster."""

    @property
    def graph(self) -> Path:
        """The graph.yaml."""

    @property
    def cluster(self) -> Path:
        """The cluster.yaml."""

    @property
    def microbatches(self) -> int | None:
        """None: the graph's."""

    @property
    def chunks(self) -> int | None:
        """Chunks per device; None: the layout's default."""

    @property
    def memory_cap(self) -> str | None:
        """As text; None: the cluster's."""

    @property
    def quiet(self) -> bool:
        """No notes; the report is one line."""


def check_output(output: str | None, graph: Path, cluster: Path) -> None:
    """Raise now if the plan could not be written later, or if both inputs are stdin."""
    if str(graph) == str(cluster) == "-":
        raise UsageFault("graph and cluster cannot both come from stdin: name a file for one of them")
    if output is not None and output != "-":
        not_an_input(output, {"graph": graph, "cluster": cluster})
        ensure_writable(output)


def problem_of(flags: Inputs, **more: Any) -> Problem:
    """The problem of the two files and the options."""
    graph, cluster = read_graph(flags.graph), read_cluster(flags.cluster)
    problem = problem_from(graph, cluster, flags, **more)
    note_unknown_devices(graph, cluster)
    return problem


def problem_from(graph: Graph, cluster: Cluster, flags: Inputs, **more: Any) -> Problem:
    """The problem of graph and cluster, read before, and the options."""
    cap = None if flags.memory_cap is None else memory_size("--memory-cap", flags.memory_cap)
    microbatches = graph.microbatches if flags.microbatches is None else flags.microbatches
    if microbatches > MAX_MICROBATCHES:
        raise UsageFault(f"--microbatches must be at most {MAX_MICROBATCHES}")
    return Problem(graph, cluster, microbatches, memory_cap=cap, chunks=flags.chunks, **more)


def note_unknown_devices(graph: Graph, cluster: Cluster) -> None:
    """Note names in pass times that the cluster does not have: measured elsewhere, or misspelt.

    They change the plan, so that the note comes under ``--quiet`` too. Each name is noted once, where it first stands.
    """
    known = cluster.names()
    unknown: dict[str, Spot] = {}
    for operator in graph.operators:
        for which, _, _, spots in operator.origin.times if operator.origin else ():
            if graph.mode is Mode.TRAINING or which is Pass.F:
                unknown |= {name: spot for name, spot in spots.items() if name not in known and name not in unknown}
    for k, (name, spot) in enumerate(unknown.items()):
        if k == NOTED_AT_MOST:
            note(f"{graph.path}: {len(unknown) - k} more names in pass times are unknown to the cluster")
            return
        note(f"{graph.path}:{spot.line}: {spot.field}: is ignored: {unknown_device(name, cluster, known)}")
