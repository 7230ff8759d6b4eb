"""Sweeps of a small config for tests: the command as a process, its rows, and the grid that it solves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from planner.files import read_cluster, read_graph
from planner.objectives.options import SolveOptions
from planner.problem import Problem
from planner.sweeping import Point

ROOT = Path(__file__).resolve().parents[2]
FILES = [str(ROOT / "configs" / "dualpipe-4x8" / name) for name in ("graph.yaml", "cluster.yaml")]
PLANNER = [sys.executable, "-m", "planner"]


def command(folder: Path, *flags: str) -> list[str]:
    return [*PLANNER, "sweep", *FILES, "-o", str(folder), *flags]


def swept(folder: Path, *flags: str, code: int = 0) -> list[dict[str, Any]]:
    """The rows of sweep.json."""
    run = subprocess.run(command(folder, *flags), capture_output=True, text=True, check=False, env=environment())
    assert run.returncode == code, run.stderr
    return rows(folder)


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "sweep.json").read_text("utf-8"))["rows"]
    return found


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}


def without_clock(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def plans(folder: Path) -> dict[str, Any]:
    """The plans by the names of their files, without the seconds that they took."""
    read = {path.name: json.loads(path.read_text("utf-8")) for path in (folder / "plans").glob("*.json")}
    return {name: {**plan, "solve_seconds": 0.0} for name, plan in read.items()}


def point(effort: int = 30, objective: str = "makespan", **flags: Any) -> Point:
    """A point on the same config."""
    problem = Problem(read_graph(Path(FILES[0])), read_cluster(Path(FILES[1])), flags.pop("microbatches", 8), **flags)
    options = SolveOptions.of(
        problem,
        time_limit=float("inf"),
        effort=effort,
        gap=1e-6,
        seed=0,
        threads=1,
        baselines=("1f1b", "dualpipe"),
        objective=objective,
    )
    return Point(options.flags, problem, options)
