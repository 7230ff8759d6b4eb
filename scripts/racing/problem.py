"""A case as files in a folder, and as planner's ``Problem``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.files import read_cluster, read_graph
from planner.problem import Problem
from racing.cases import Case


def write(case: Case, folder: Path) -> None:
    """The two files that `planner solve` reads."""
    (folder / "graph.yaml").write_text(case.graph, encoding="utf-8")
    (folder / "cluster.yaml").write_text(case.cluster, encoding="utf-8")


def read(folder: Path | str, flags: Sequence[str]) -> Problem:
    """The problem of a case's files and flags."""
    graph, cluster = read_graph(Path(folder) / "graph.yaml"), read_cluster(Path(folder) / "cluster.yaml")
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    if unknown := given.keys() - {"--copies", "--layout", "--chunks"}:
        raise ValueError(f"flags that rivals do not know: {unknown}")
    return Problem(
        graph,
        cluster,
        graph.microbatches,
        copies=int(given.get("--copies", 1)),
        layout=given.get("--layout", "auto"),
        chunks=int(given["--chunks"]) if "--chunks" in given else None,
    )
