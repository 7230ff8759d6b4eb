"""``solve --start``: what a search begins with, and plans that are of no use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.commands.app import main

GRAPH = """schema: planner/graph@1
name: small
microbatches: 4
operators:
  - block: layer
    repeat: 6
    operators:
      - name: mlp
        time: {forward: 1 s, input_grad: 1 s, weight_grad: 1 s}
        activation: 4 GiB
        output: 1 GiB
        variants:
          - {name: full, time: {forward: 1 s, input_grad: 3 s}, activation: 1 GiB}
"""
CLUSTER = """schema: planner/cluster@1
name: two
device_types:
  gpu: {memory: 80 GiB}
devices:
  - {name: g, type: gpu, count: 2}
network:
  within_node: {bandwidth: 100 GB/s}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    return tmp_path


def solved(folder: Path, out: str, *flags: str) -> int:
    files = [str(folder / "graph.yaml"), str(folder / "cluster.yaml")]
    return main(["solve", *files, "--baselines", "none", "--quiet", "-o", str(folder / out), *flags])


def plan(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def test_a_start_is_never_lost(folder: Path) -> None:
    """With next to no effort the plan is as short as that of a long search, also with more freedom or memory."""
    assert solved(folder, "long.json", "--effort", "800", "--variants", "base") == 0
    assert solved(folder, "short.json", "--effort", "1", "--layout", "linear") == 0
    long, short = plan(folder, "long.json")["makespan"], plan(folder, "short.json")["makespan"]
    assert long < short
    start = ["--start", str(folder / "long.json")]
    assert solved(folder, "again.json", "--effort", "1", *start) == 0
    assert plan(folder, "again.json")["makespan"] <= long
    assert len(plan(folder, "again.json")["options"]["start"]) == 64
    assert "start" not in plan(folder, "long.json")["options"]
    assert solved(folder, "more.json", "--effort", "1", "--memory-cap", "100GiB", "--copies", "2", *start) == 0
    assert plan(folder, "more.json")["makespan"] <= long


def test_its_order_is_played_on_changed_inputs(folder: Path) -> None:
    """Other times: the plan is not one of the new graph, but its order is."""
    assert solved(folder, "long.json", "--effort", "800") == 0
    (folder / "graph.yaml").write_text(GRAPH.replace("input_grad: 1 s", "input_grad: 1.5 s"))
    assert solved(folder, "new.json", "--effort", "1", "--start", str(folder / "long.json")) == 0
    inputs = ["--graph", str(folder / "graph.yaml"), "--cluster", str(folder / "cluster.yaml")]
    assert main(["verify", str(folder / "new.json"), *inputs]) == 0
    assert solved(folder, "nothing.json", "--effort", "1") == 0
    assert plan(folder, "new.json")["makespan"] < plan(folder, "nothing.json")["makespan"]
    assert plan(folder, "new.json")["makespan"] > plan(folder, "long.json")["makespan"]
    # fewer microbatches: its placement alone
    fewer = ["--microbatches", "3", "--start", str(folder / "long.json")]
    assert solved(folder, "fewer.json", "--effort", "200", *fewer) == 0


def test_less_memory_than_the_start_needs(folder: Path) -> None:
    """It falls away, and the plan fits."""
    assert solved(folder, "long.json", "--effort", "500", "--variants", "base") == 0
    cap = ["--memory-cap", "20GiB", "--start", str(folder / "long.json")]
    assert solved(folder, "less.json", "--effort", "500", *cap) == 0
    assert all(device["peak_memory"] <= 20 * 2**30 for device in plan(folder, "less.json")["devices"])


@pytest.mark.parametrize(
    ("flags", "change", "said"),
    [
        ([], ("name: mlp", "name: attention"), "the plan has an operator 'layer.0.mlp' that the graph has not"),
        (["--variants", "base"], None, "in a variant that --variants does not allow"),
        (["--layout", "linear"], None, "it was not made with layout linear"),
        (["--objective", "memory"], None, "--start goes with --objective makespan"),
        (["--runtime", "megatron"], None, "--start goes with --objective makespan and without --runtime"),
    ],
)
def test_what_is_of_no_use_is_refused(
    folder: Path,
    flags: list[str],
    change: tuple[str, str] | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line that says why, exit code 2."""
    assert solved(folder, "start.json", "--effort", "10", "--variants", "full") == 0
    if change:
        (folder / "graph.yaml").write_text(GRAPH.replace(*change))
    assert solved(folder, "new.json", "--start", str(folder / "start.json"), *flags) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "new.json").exists()


def test_a_start_that_is_not_valid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Times of a plan that somebody has changed are not taken; its order is played. Tasks of nothing are refused."""
    assert solved(folder, "start.json", "--effort", "500") == 0
    changed = plan(folder, "start.json")
    for task in changed["tasks"]:
        task["start"], task["end"] = task["start"] / 2, task["end"] / 2
    (folder / "changed.json").write_text(json.dumps(changed))
    assert solved(folder, "new.json", "--effort", "1", "--start", str(folder / "changed.json")) == 0
    inputs = ["--graph", str(folder / "graph.yaml"), "--cluster", str(folder / "cluster.yaml")]
    assert main(["verify", str(folder / "new.json"), *inputs]) == 0
    changed["tasks"][0]["operator"] = "nothing"
    (folder / "changed.json").write_text(json.dumps(changed))
    capsys.readouterr()
    assert solved(folder, "new.json", "--start", str(folder / "changed.json")) == 2
    assert "its tasks are not those of its placement" in capsys.readouterr().err


def test_from_python(folder: Path) -> None:
    """The same with ``planner.solve``."""
    problem = planner.read_problem(folder / "graph.yaml", folder / "cluster.yaml")
    long = planner.solve(problem, time_limit=None, effort=3000)
    again = planner.solve(problem, time_limit=None, effort=1, start=long)
    assert again.makespan <= long.makespan and len(again.options["start"]) == 64
    with pytest.raises(ValueError, match="start goes with objective makespan"):
        planner.solve(problem, objective="memory", start=long)


def test_a_start_that_is_no_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is named."""
    for name in ("missing.json", "graph.yaml"):
        assert solved(folder, "new.json", "--start", str(folder / name)) == 2
        assert name in capsys.readouterr().err
