"""The examples of docs/formats.md read, and its plan is a valid plan of its graph and cluster."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from planner.bounds import BOUNDS
from planner.files import read_cluster, read_graph
from planner.files.plan_file import read_plan
from planner.verification import Rule, verify_plan

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
GRAPHS = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "planner/graph@1" in text]
CLUSTERS = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "planner/cluster@1" in text]
(PLAN,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", GRAPHS)
def test_graphs_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "graph.yaml").write_text(text, encoding="utf-8")
    assert read_graph(tmp_path / "graph.yaml").operators


@pytest.mark.parametrize("text", CLUSTERS)
def test_clusters_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(text, encoding="utf-8")
    assert read_cluster(tmp_path / "cluster.yaml").devices


def test_the_plan_is_valid(tmp_path: Path) -> None:
    plan = PLAN
    for name, text in (("graph", GRAPHS[0]), ("cluster", CLUSTERS[0])):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        plan = plan.replace('"sha256": "..."', f'"sha256": "{hashlib.sha256(text.encode()).hexdigest()}"', 1)
    (tmp_path / "plan.json").write_text(plan, encoding="utf-8")
    graph, cluster = read_graph(tmp_path / "graph.yaml"), read_cluster(tmp_path / "cluster.yaml")
    read = read_plan(tmp_path / "plan.json")
    violations = verify_plan(read, graph, cluster, copies=1, memory_cap=None, microbatches=1)
    assert [str(violation) for violation in violations] == []


def test_the_page_lists_the_rules() -> None:
    """One row a rule, in the words of the enum."""
    rows = "".join(f"| {rule} | {rule.title} | {rule.meaning} |\n" for rule in Rule)
    assert f"|---|---|---|\n{rows}\n" in PAGE


def test_every_bound_stands_on_its_page() -> None:
    """By the name that the registry gives it."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "bounds.md").read_text(encoding="utf-8")
    assert [bound.name for bound in BOUNDS if f"\n| {bound.name} |" not in page] == []
