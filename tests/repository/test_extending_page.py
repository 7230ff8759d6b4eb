"""What docs/extending.md adds works: each block is registered as the page says, and its command lines run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from extending_page import PAGE, block, command_lines, entry, module
from solver_problems import chain, posed, state_of, violations

from planner.baselines import registry as baselines
from planner.bounds import registry as bounds
from planner.commands import solve
from planner.commands.app import COMMANDS, main
from planner.commands.declared import recorded
from planner.common.budget import Control
from planner.exporters import registry as exporters
from planner.files.plan_file import read_plan
from planner.importers import registry as importers
from planner.objectives import registry as objectives
from planner.search import programme as programmes
from planner.verification import bounds as checked

DOCS = Path(__file__).resolve().parents[2] / "docs"

GRAPH = """
schema: planner/graph@1
name: four
microbatches: 8
operators:
  - {name: a, time: {forward: 1}, parameters: 1, output: 1 GB}
  - {name: b, time: {forward: 1}, parameters: 1, output: 1 GB, inputs: [a]}
"""
CLUSTER = """
schema: planner/cluster@1
name: pair
device_types: {gpu: {}}
devices: [{name: gpu, type: gpu, count: 2}]
network: {within_node: {bandwidth: 2 GB/s}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a graph, a cluster and a plan."""
    monkeypatch.chdir(tmp_path)
    Path("graph.yaml").write_text(GRAPH, encoding="utf-8")
    Path("cluster.yaml").write_text(CLUSTER, encoding="utf-8")
    assert main(["baseline", "1f1b", "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet"]) == 0
    return tmp_path


def run_lines(tag: str) -> None:
    for arguments in command_lines(tag):
        assert main(arguments) == 0, arguments


def test_a_baseline(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = module("baseline", "eager_1f1b", folder, monkeypatch)
    for name, schedule in entry("baseline", baselines, eager_1f1b=made).items():
        monkeypatch.setitem(baselines.SCHEDULES, name, schedule)
    run_lines("baseline")
    assert capsys.readouterr().out.count("eager-1f1b") >= 2
    assert [row.name for row in read_plan("plan.json").baselines] == ["1f1b", "eager-1f1b"]
    assert main(["baseline", "1f1b", "graph.yaml", "cluster.yaml", "-o", "usual.json", "--quiet"]) == 0
    assert read_plan("eager.json").makespan < read_plan("usual.json").makespan  # transfers hide behind forwards
    assert main(["baseline", "2f2b", "graph.yaml", "cluster.yaml"]) == 2
    assert "eager-1f1b" in capsys.readouterr().err


def test_an_exporter(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = module("exporter", "table", folder, monkeypatch)
    for exporter in entry("exporter", exporters, Table=made.Table):
        monkeypatch.setitem(exporters.EXPORTERS, exporter.name, exporter)
    run_lines("exporter")
    lines = Path("plan.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["device,stream,operator,pass,microbatch,start,end", "gpu0,compute,a,F,0,0,1"]
    assert len(lines) == 1 + len(read_plan("plan.json").tasks)
    capsys.readouterr()
    assert main(["export", "--help"]) == 0
    out = capsys.readouterr().out
    assert "table." in out and "--digits" in out
    assert main(["export", "plan.json", "--to", "trace", "--digits", "3"]) == 2
    assert "--digits goes with --to table, not with trace" in capsys.readouterr().err


def test_an_importer(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = module("importer", "layers", folder, monkeypatch)
    for importer in entry("importer", importers, Layers=made.Layers):
        monkeypatch.setitem(importers.IMPORTERS, importer.name, importer)
    Path("layers.csv").write_text("embed,0.5,1e9\nmlp,1,2e9\nhead,0.25,1e9\n", encoding="utf-8")
    run_lines("importer")
    assert "microbatches: 8" in Path("layers.yaml").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["import", "--help"]) == 0
    assert "  layers     A table of layers as a chain." in capsys.readouterr().out
    Path("layers.csv").write_text("embed,0.5,1e9\nmlp,soon\n", encoding="utf-8")
    assert main(["import", "layers", "layers.csv"]) == 2
    assert "layers.csv:2" in capsys.readouterr().err


def test_a_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of a programme it runs, and what it offers is a schedule."""
    made = module("step", "random_placements", folder, monkeypatch)
    extended = entry("step", programmes, RandomPlacements=made.RandomPlacements)
    assert extended[:-1] == programmes.SMALL
    state = state_of(posed(*chain(4), devices=2, microbatches=4))
    assert extended[-1].supports(state)
    extended[-1].run(state)
    assert state.incumbent.best is not None
    assert violations(state.problem, state.incumbent.best.timetable) == []


def test_a_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes part in the bound of the problem."""
    made = module("bound", "weight_traffic", folder, monkeypatch)
    (bound,) = entry("bound", bounds, weight_traffic_bound=made.weight_traffic_bound)
    monkeypatch.setattr(made, "BANDWIDTH", 0.01)
    problem = posed(*chain(4, parameters=1.0), devices=2, microbatches=4)
    before = bounds.problem_bound(problem, Control())
    monkeypatch.setattr(bounds, "BOUNDS", (*bounds.BOUNDS, bound))
    assert bounds.problem_bound(problem, Control()) == bound.value(problem, Control()) > before


def test_an_objective(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = module("objective", "half", folder, monkeypatch)
    for objective in entry("objective", objectives, Half=made.Half):
        monkeypatch.setitem(objectives.OBJECTIVES, objective.name, objective)
    monkeypatch.setattr(checked, "OBJECTIVES", (*checked.OBJECTIVES, "half"))
    run_lines("objective")
    plan = read_plan("half.json")
    assert {task.device for task in plan.tasks} == {"gpu0"}
    assert plan.lower_bound is not None and 0 < plan.lower_bound < plan.makespan
    capsys.readouterr()
    assert main(["solve", "--help"]) == 0
    assert "half" in capsys.readouterr().out


def test_an_option(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A field gives the option, its help, and its place in plan.json."""
    body = "".join(f"    {line}\n" for line in block("python", "option").splitlines())
    names = {**vars(solve), "dataclass": dataclass}
    exec(f"@dataclass(frozen=True)\nclass More(SolveFlags):\n{body}", names)
    seen: list[dict[str, Any]] = []

    def run(flags: Any) -> int:
        seen.append(recorded(flags))
        return 0

    run.__annotations__["flags"] = names["More"]
    monkeypatch.setattr(solve, "run", run)
    assert main(["solve", "graph.yaml", "cluster.yaml", "--horizon", "2 min", "--gap", "1%"]) == 0
    (options,) = seen
    assert (options["horizon"], options["gap"], options["memory_cap"]) == (120.0, 0.01, None)
    assert main(["solve", "--help"]) == 0
    assert "--horizon SECONDS" in capsys.readouterr().out


def test_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry is listed before its file is loaded."""
    monkeypatch.setitem(COMMANDS, "frob", "Frobs.")
    assert main([]) == 0
    assert "  frob       Frobs." in capsys.readouterr().out


def test_names_of_the_registries_stand_in_the_docs() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert all(f"| `{name}`" in pages or f", `{name}`" in pages for name in baselines.BASELINES)
    assert all(f"--to {name}" in pages for name in exporters.EXPORTERS)
    assert all(f"planner import {name}" in pages for name in importers.IMPORTERS)


def test_every_section_of_an_addition_stands_in_the_table() -> None:
    sections = [line.removeprefix("## ") for line in PAGE.splitlines() if line.startswith("## ")]
    assert all(f"](#{section.lower().replace(' ', '-')})" in PAGE for section in sections)
