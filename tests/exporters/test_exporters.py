"""The registry of formats, and a format that is registered: its options, its files, its refusals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from planner.commands.app import main
from planner.exporters import CannotExport, Exported, NoOptions
from planner.exporters.registry import EXPORTERS
from planner.exporters.torch_csv import TorchOptions
from planner.plan.plan import Plan
from planner.problem import Problem

GRAPH = "schema: planner/graph@1\noperators: [{name: a, time: {forward: 1}}]\n"
CLUSTER = "schema: planner/cluster@1\nname: one\ndevice_types: {gpu: {}}\ndevices: [{name: gpu0, type: gpu}]\n"
INPUTS = ["--graph", "graph.yaml", "--cluster", "cluster.yaml"]


@dataclass(frozen=True)
class CountOptions(TorchOptions):
    """``--repair``, which another format has, and one of its own."""

    word: Annotated[str, typer.Option(metavar="WORD", help="For count: what is counted.")] = "tasks"


class Count:
    name = "count"
    help = "How many tasks."
    options = CountOptions

    def export(self, plan: Plan, problem: Problem | None, options: CountOptions) -> Exported:
        if options.word == "sheep":
            raise CannotExport("it holds no sheep")
        text = f"{len(plan.tasks)} {options.word}, {problem is not None}, {options.repair}\n"
        return Exported(text, {".twice": text * 2}, ("counted",))


class Plain:
    name = "plain"
    help = "The makespan."
    options = NoOptions

    def export(self, plan: Plan, problem: Problem | None, options: Any) -> Exported:
        return Exported(f"{plan.makespan:g}\n")


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for exporter in (Count(), Plain()):
        monkeypatch.setitem(EXPORTERS, exporter.name, exporter)
    Path("graph.yaml").write_text(GRAPH, encoding="utf-8")
    Path("cluster.yaml").write_text(CLUSTER, encoding="utf-8")
    assert main(["baseline", "1f1b", "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet"]) == 0
    capsys.readouterr()


def test_names_are_those_of_the_entries() -> None:
    assert list(EXPORTERS)[:5] == ["trace", "torch-csv", "megatron", "megatron-bridge", "torchtitan"]
    assert all(exporter.name == name and exporter.help for name, exporter in EXPORTERS.items())


def test_a_format_takes_its_options_and_writes_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "plan.json", "--to", "count", "--word", "jobs", "--repair", *INPUTS, "-o", "out"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "planner: counted",
        "planner: written to out",
        "planner: written to out.twice",
    ]
    assert Path("out").read_text(encoding="utf-8") == "2 jobs, True, True\n"
    assert Path("out.twice").read_text(encoding="utf-8").count("\n") == 2
    assert main(["export", "plan.json", "--to", "plain", "--quiet"]) == 0
    assert capsys.readouterr().out == "2\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "plain", "--word", "jobs"], "--word goes with --to count, not with plain"),
        (
            ["--to", "plain", "--repair"],
            "--repair goes with --to torch-csv or megatron or megatron-bridge or torchtitan or count, not with plain",
        ),
        (
            ["--to", "count", "--layers", "t=a"],
            "--layers goes with --to megatron or megatron-bridge or torchtitan, not with count",
        ),
        (["--to", "count", "--word", "sheep"], "plan.json cannot be exported to count: it holds no sheep"),
        (["--to", "counts"], "known are"),
    ],
)
def test_refusals(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "plan.json", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == ""
