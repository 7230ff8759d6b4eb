"""Names in a graph that the cluster, or the graph itself, must know."""

from __future__ import annotations

from collections.abc import Sequence

from planner.common.messages import did_you_mean, listed, shown
from planner.problem.cluster import Cluster
from planner.problem.graph import BASE, Graph, Mode, Operator, Pass, Spot
from planner.problem.pass_times import unknown_device


class ProblemError(ValueError):
    """The graph and the cluster do not fit together (an unknown device, a co-location that contradicts)."""


def reject_unknown_variants(graph: Graph, names: Sequence[str] | None) -> None:
    """Raise ``ProblemError`` for a name that no variant of any operator has."""
    known = {BASE, *(variant.name for operator in graph.operators for variant in operator.variants)}
    for name in names or ():
        if name not in known:
            raise ProblemError(
                f"no operator of graph {shown(graph.name)} has a variant {shown(name)}: "
                f"{did_you_mean(name, sorted(known))}"
            )


def reject_unknown_names(graph: Graph, cluster: Cluster) -> None:
    """Every name in ``devices`` must be known, and of a pass time by device at least one; else ``ProblemError``.

    Of pass times only those of a file are checked: in a part of the cluster (see ``subset``), an operator whose names
    are all elsewhere is one that no device may run.
    """
    known = cluster.names()
    seen: set[int] = set()  # pass times by identity: repetitions of a block share them
    for operator in graph.operators:
        for name in operator.devices or ():
            if name not in known:
                spot = None if operator.origin is None else operator.origin.devices.get(name)
                raise ProblemError(f"{_at(graph, operator, spot)}: {unknown_device(name, cluster, known)}")
        if operator.origin is None:
            continue
        for which, cost, spot, _ in operator.origin.times:
            if id(cost) in seen or not (graph.mode is Mode.TRAINING or which is Pass.F):
                continue
            seen.add(id(cost))
            if known.isdisjoint(cost.seconds):
                names = listed(map(repr, cost.seconds), 4)
                raise ProblemError(
                    f"{_at(graph, operator, spot)}: names no device of cluster {shown(cluster.name)} "
                    f"(got {names}): {did_you_mean(next(iter(cost.seconds)), sorted(known))}"
                )


def _at(graph: Graph, operator: Operator, spot: Spot | None) -> str:
    """Where something of an operator stands: in the file, or else with the operator's name."""
    if spot is None:
        return f"operator {shown(operator.name)}"
    return f"{graph.path}:{spot.line}: {spot.field}"
