"""JSON Schemas of the three file formats, by name."""

from __future__ import annotations

from typing import Any

NAMES = ("graph", "cluster", "plan")


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``graph``, ``cluster`` or ``plan``; ``KeyError`` for other names.

    Modules load on demand: only that of the format asked for.
    """
    if name == "graph":
        from planner.files.graph_file import graph_schema

        return graph_schema()
    if name == "cluster":
        from planner.files.cluster_file import cluster_schema

        return cluster_schema()
    if name == "plan":
        from planner.files.plan_file import plan_schema

        return plan_schema()
    raise KeyError(f"no file format is called {name!r}: there are {', '.join(NAMES)}")
