"""What a strategy leaves on disk: the graphs of decode and prefill, the stages, and the plan of decode steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from planner.common.budget import Control
from planner.files.cluster_file import cluster_of
from planner.files.cluster_text import cluster_yaml
from planner.files.graph_file import graph_of
from planner.files.whole import write_whole
from planner.files.yaml_source import source_of
from planner.importers.document import to_yaml
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.registry import solve
from planner.plan.plan import Plan, plan_to_json
from planner.prediction.strategy import Strategy
from planner.problem import Impossible, Problem
from planner.strategies.inference.phases import Phases


def texts_of(phases: Phases, strategy: Strategy) -> dict[str, str]:
    """The input files by name: ``graph.yaml`` of decode, ``prefill.yaml``, ``cluster.yaml``."""
    decode, prefill = phases.documents(strategy)
    cluster = replace(phases.stages(strategy), name="stages")
    ranks = strategy.tp * strategy.ep
    comment = f"A device is one of the {ranks} ranks of a pipeline stage." if ranks > 1 else "A device is a stage."
    return {
        "graph.yaml": to_yaml(decode),
        "prefill.yaml": to_yaml(prefill),
        "cluster.yaml": cluster_yaml(cluster, comment),
    }


def plan_of(phases: Phases, strategy: Strategy, seconds: float) -> Plan | None:
    """The plan of least period of decode steps on contiguous stages, verified; None where none is found in time."""
    texts = texts_of(phases, strategy)
    graph = graph_of(source_of(texts["graph.yaml"].encode(), Path("graph.yaml")))
    cluster = cluster_of(source_of(texts["cluster.yaml"].encode(), Path("cluster.yaml")))
    problem = Problem(graph, cluster, graph.microbatches, layout="linear")
    options = SolveOptions.of(
        problem, time_limit=seconds, effort=None, gap=1e-6, seed=0, threads=1, baselines=(), objective="period"
    )
    try:
        return solve(problem, Control(seconds), options)
    except (Impossible, NoPlan):
        return None


def write_folder(folder: Path, phases: Phases, strategy: Strategy, plan: Plan | None) -> None:
    """Write the input files and, where there is one, ``plan.json``. Raises ``InputError`` where that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts_of(phases, strategy).items():
        write_whole(str(folder / name), text)
    if plan is not None:
        write_whole(str(folder / "plan.json"), plan_to_json(plan, compact=True))
