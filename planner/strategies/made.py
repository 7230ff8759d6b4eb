"""What a candidate is made into: its graph, its stages, its problem, its two files. Made where the engine works."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from planner.baselines import SCHEDULES
from planner.files.cluster_file import cluster_of
from planner.files.cluster_text import cluster_yaml
from planner.files.graph_file import graph_of
from planner.files.yaml_source import source_of
from planner.importers.document import to_yaml
from planner.prediction.graphs import StrategyGraphs
from planner.problem import Problem
from planner.strategies.request import Request
from planner.strategies.space import Candidate, weight_grad

ROUNDING = 1e-9
"""Relative: of a bound, so that the rounding of sums never lifts it above a plan."""

_known: dict[str, StrategyGraphs] = {}
"""Of the questions that this process has worked on."""


def graphs_of(request: Request) -> StrategyGraphs:
    """The graphs of a question; made once a process."""
    if request.digest not in _known:
        _known.clear()
        _known[request.digest] = StrategyGraphs(
            request.model,
            request.cluster,
            request.name,
            calibration=request.calibration,
            images=request.images,
            image_pixels=request.image_pixels,
        )
    return _known[request.digest]


def cap_of(request: Request) -> float:
    """Bytes of the GPU that has the most; inf where nothing is known."""
    own = [request.memory or part.device.memory or math.inf for part in graphs_of(request).parts]
    return max(own) * (1 + ROUNDING)


def problem_of(request: Request, candidate: Candidate) -> Problem:
    """The problem of a candidate: its graph on a device a stage. Raises ``Impossible``, ``ProblemError``, ``Unfit``."""
    graphs, runtime = graphs_of(request), request.runs
    # what it was made from says which operators are layers: the search cuts as the plan does
    document = graphs.document(candidate.strategy, weight_grad(runtime), runtime)
    graph = graph_of(source_of(to_yaml(document).encode(), Path("graph.yaml")))
    stages = graphs.stages(candidate.strategy, candidate.order)
    copies = 2 if any(SCHEDULES[name].family == "bidirectional" for name in runtime.schedules) else 1
    return Problem(graph, stages, graph.microbatches, copies=copies, memory_cap=request.memory)


@dataclass(frozen=True)
class Inputs:
    """The two files of a candidate, as texts."""

    graph: str
    cluster: str

    def problem(self, copies: int = 1) -> Problem:
        """What they pose, with the names that they have in a folder. ``copies``: most that a plan may have."""
        graph = graph_of(source_of(self.graph.encode(), Path("graph.yaml")))
        cluster = cluster_of(source_of(self.cluster.encode(), Path("cluster.yaml")))
        return Problem(graph, cluster, graph.microbatches, copies=copies)


def inputs_of(request: Request, candidate: Candidate) -> Inputs:
    """The files of a candidate. A device of the cluster is a rank of one stage."""
    graphs, runtime = graphs_of(request), request.runs
    document = graphs.document(candidate.strategy, weight_grad(runtime), runtime)
    header = f"{request.name}: {candidate.name}. Written by planner strategy; times are those of the calibration."
    stages = graphs.stages(candidate.strategy, candidate.order)
    if request.memory is not None:
        types = {name: replace(kind, memory=request.memory) for name, kind in stages.types.items()}
        devices = [replace(each, type=types[each.type.name], memory=request.memory) for each in stages.devices]
        stages = replace(stages, devices=tuple(devices), types=types)
    ranks = candidate.strategy.gpus // candidate.strategy.pp
    comment = f"A device is one of the {ranks} ranks of a pipeline stage."
    return Inputs(to_yaml(replace(document, header=header)), cluster_yaml(stages, comment))
