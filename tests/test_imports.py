"""The layers of the packages, read from the imports: no cycle, no import from a higher layer."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import networkx as nx

import planner

ROOT = Path(planner.__file__).parent

FLOORS = (
    ("common",),
    ("problem",),
    ("timetable", "placement"),
    ("plan",),
    ("verification", "files", "events", "baselines", "scheduling"),
    ("bounds", "exact", "costs", "engine"),
    ("importers",),
    ("runtimes",),
    ("search",),
    ("objectives", "report"),
    ("exporters", "simulate", "explain", "prediction", "sweeping"),
    ("strategies",),
    ("api_values",),
    ("api",),
    ("planner",),  # planner/__init__.py
    ("commands",),
    ("__main__",),
)
"""Lowest first. A package imports from floors below its own, and from others of its floor if that makes no cycle."""

FLOOR = {package: height for height, floor in enumerate(FLOORS) for package in floor}


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("planner", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports() -> dict[str, set[str]]:
    """The modules of the project that each module imports, anywhere in it, for types too."""
    known, found = modules(), defaultdict[str, set[str]](set)
    for module, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                each = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in known else str(node.module) for name in each]
            else:
                continue
            found[module].update(name for name in names if name in known and name != module)
    return found


def package(module: str) -> str:
    return [*module.split("."), "planner"][1]


def test_every_package_has_its_floor() -> None:
    assert {package(module) for module in modules()} == set(FLOOR)


def test_no_import_goes_up() -> None:
    """Each package imports from floors below, or from its own."""
    up = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if FLOOR[package(module)] < FLOOR[package(other)]
    ]
    assert up == []


def test_no_cycle() -> None:
    """Of packages, and of modules."""
    found = imports()
    of_modules = nx.DiGraph((a, b) for a, others in found.items() for b in others)
    of_packages = nx.DiGraph(
        (package(a), package(b)) for a, others in found.items() for b in others if package(a) != package(b)
    )
    for graph in (of_modules, of_packages):
        assert [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1] == []


def test_files_can_be_read_in_one_sitting() -> None:
    long = {str(path): n for path in ROOT.rglob("*.py") if (n := len(path.read_text().splitlines())) > 500}
    assert long == {}
