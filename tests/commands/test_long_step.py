"""A step of millions of tasks on the command line: planned, checked, shown and stretched, or refused with a way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.commands.app import main
from planner.files.plan_file import read_plan

GRAPH = """schema: planner/graph@1
name: long
microbatches: 1000000
operators:
  - {name: a, time: {forward: 1 ms}, parameters: 1 GB, activation: 10 MB, output: 1 MB}
  - {name: b, time: {forward: 1 ms}, parameters: 1 GB, activation: 10 MB, output: 1 MB, inputs: [a]}
"""
CLUSTER = """schema: planner/cluster@1
name: pair
device_types: {h: {memory: 2 GB}}
devices: [{name: gpu, type: h, count: 2}]
network: {within_node: {bandwidth: 100 GB/s}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With graph, cluster, and a plan of a million microbatches."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "cluster.yaml").write_text(CLUSTER)
    where = [str(folder / "graph.yaml"), str(folder / "cluster.yaml")]
    assert main(["solve", *where, "--time-limit", "20", "--quiet", "-o", str(folder / "plan.json")]) == 0
    return folder


def inputs(folder: Path) -> list[str]:
    return ["--graph", str(folder / "graph.yaml"), "--cluster", str(folder / "cluster.yaml")]


def test_the_plan_is_small(folder: Path) -> None:
    """6,000,000 tasks in a file of some kilobytes, with the figures of all microbatches."""
    plan = read_plan(folder / "plan.json")
    assert plan.repeated is not None and (folder / "plan.json").stat().st_size < 500_000
    assert plan.status == "optimal" and plan.makespan == pytest.approx(3000, rel=1e-5)
    assert [device.busy for device in plan.devices] == [pytest.approx(3000)] * 2
    assert json.loads((folder / "plan.json").read_text())["microbatches"] == 1_000_000


def test_it_is_checked_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, page, picture = str(folder / "plan.json"), folder / "page.html", folder / "picture.svg"
    assert main(["verify", plan, *inputs(folder)]) == 0
    assert "for 1000000 microbatches" in capsys.readouterr().out
    drawings = ["--html", str(page), "--svg", str(picture), "--baselines", "1f1b"]
    assert main(["show", plan, *drawings, *inputs(folder)]) == 0
    assert "times more" in capsys.readouterr().out
    assert "times more" in page.read_text() and "times more" in picture.read_text()
    assert main(["baseline", "1f1b", *inputs(folder)[1::2], "-o", str(folder / "1f1b.json"), "--quiet"]) == 0
    assert main(["verify", str(folder / "1f1b.json"), *inputs(folder)]) == 0
    assert main(["compare", plan, str(folder / "1f1b.json")]) == 0


def test_it_is_packed(folder: Path) -> None:
    """The short step in the compact form: the same plan, whose part starts and ends between the same starts."""
    plan, small = read_plan(folder / "plan.json"), folder / "small.json.gz"
    plan.write(small, compact=True)
    assert read_plan(small) == plan and small.stat().st_size < 10_000
    assert main(["verify", str(small), *inputs(folder)]) == 0


def test_it_is_stretched(folder: Path) -> None:
    """To any number that its steady state reaches: in full while that is possible, and back again."""
    plan, few, many = str(folder / "plan.json"), str(folder / "few.json"), str(folder / "many.json")
    listed = read_plan(plan).listed_microbatches
    assert main(["stretch", plan, *inputs(folder), "--microbatches", str(listed + 120), "--quiet", "-o", few]) == 0
    assert main(["stretch", few, *inputs(folder), "--microbatches", "1000000", "--quiet", "-o", many]) == 0
    for path, whole in ((few, True), (many, False)):
        assert main(["verify", path, *inputs(folder)]) == 0
        assert (read_plan(path).repeated is None) is whole
    assert read_plan(many).makespan == pytest.approx(read_plan(plan).makespan, rel=1e-9)


@pytest.mark.parametrize("command", [["simulate"], ["export", "--to", "trace"]])
def test_what_needs_every_task_says_how(command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, str(folder / "plan.json")]) == 2
    assert "planner stretch" in capsys.readouterr().err


def test_more_microbatches_than_there_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan whose part adds more microbatches than the plan has is malformed."""
    raw = json.loads((folder / "plan.json").read_text())
    raw["microbatches"] = 10
    (folder / "wrong.json").write_text(json.dumps(raw))
    assert main(["verify", str(folder / "wrong.json"), *inputs(folder)]) == 2
    assert "repeated" in capsys.readouterr().err
