"""What a candidate is made into: its graph, its stages, its problem, its two files. Made where the engine works."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from planner.baselines import SCHEDULES
from planner.files.cluster_file import cluster_of
from planner.files.cluster_text import cluster_yaml
from planner.files.graph_file import graph_of
from planner.files.yaml_source import source_of
from planner.importers.document import BlockDraft, Document, EntryDraft, to_yaml
from planner.prediction.graphs import StrategyGraphs
from planner.problem import Problem
from planner.strategies.request import Request
from planner.strategies.space import Candidate, weight_grad

ROUNDING = 1e-9
"""Relative: of a bound, so that the rounding of sums never lifts it above a plan."""

LAYERS_KEPT = 3
"""Of each block of a short problem: the first, one that stands for those between, the last."""

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
    # what it was made from says which operators are layers: the search cuts as the plan does
    document = graphs_of(request).document(candidate.strategy, weight_grad(request.runs), request.runs)
    return _posed(request, candidate, document)


def short_problem_of(request: Request, candidate: Candidate) -> tuple[Problem, tuple[int, ...]]:
    """The problem with three of the layers of each block at most, and how many operators each of them stands for.

    The first and the last layer of a block stand for themselves, what is between them for all others: bounds need the
    costs of layers and their number, and the layers of a block cost the same. Raises as ``problem_of`` does.
    """
    document = graphs_of(request).document(candidate.strategy, weight_grad(request.runs), request.runs)
    short: list[EntryDraft] = []
    times: list[int] = []
    for entry in document.operators:
        if not isinstance(entry, BlockDraft):
            short.append(entry)
            times.append(1)
            continue
        kept = min(entry.repeat, LAYERS_KEPT)
        short.append(replace(entry, repeat=kept))
        own = [1] * kept
        own[kept // 2] += entry.repeat - kept
        times += [number for number in own for _ in range(_operators(entry.operators))]
    return _posed(request, candidate, replace(document, operators=short)), tuple(times)


def _operators(entries: Sequence[EntryDraft]) -> int:
    """How many operators the entries become."""
    return sum(entry.repeat * _operators(entry.operators) if isinstance(entry, BlockDraft) else 1 for entry in entries)


def _posed(request: Request, candidate: Candidate, document: Document) -> Problem:
    graph = graph_of(source_of(to_yaml(document).encode(), Path("graph.yaml")))
    stages = graphs_of(request).stages(candidate.strategy, candidate.order)
    copies = 2 if any(SCHEDULES[name].family == "bidirectional" for name in request.runs.schedules) else 1
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
