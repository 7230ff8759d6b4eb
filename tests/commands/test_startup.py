"""What is loaded before the first plan: each of these takes longer than a small plan."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).parents[2] / "configs" / "dualpipe-4x8"

UNTIL_THE_FIRST_PLAN = f"""
import sys
from planner.commands import solve
from planner.common.budget import Control
from planner.files import read_cluster, read_graph
from planner.problem import Problem
from planner.objectives.options import SolveOptions
from planner.objectives.registry import solve

def look(progress):
    if progress.best is not None and not loaded:
        loaded.append({{"numba", "highspy", "pulp", "networkx", "rich", "planner.files.plan_file"}} & set(sys.modules))

loaded = []
graph, cluster = read_graph({str(CONFIG / "graph.yaml")!r}), read_cluster({str(CONFIG / "cluster.yaml")!r})
plan = solve(Problem(graph, cluster, 8, copies=2), Control(10.0, look), SolveOptions({{}}, baselines=("1f1b",)))
assert plan.status == "optimal"
assert loaded == [set()], loaded
"""


def test_the_first_plan_waits_for_no_solver_and_no_compiled_code() -> None:
    subprocess.run([sys.executable, "-c", UNTIL_THE_FIRST_PLAN], check=True)
