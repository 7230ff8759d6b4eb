"""``planner init``: two files to start from, which plan in a moment."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from planner.commands.app import main
from planner.commands.init import FILES
from planner.files import read_cluster, read_graph
from planner.files.plan_file import read_plan
from planner.problem import PASS_ORDER, Problem

NAMES = ["cluster.yaml", "graph.yaml"]


def test_it_prints_the_command_that_plans_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a folder that is made for it; the command runs as printed and proves its plan."""
    folder = tmp_path / "a new" / "place"
    assert main(["init", str(folder)]) == 0
    captured = capsys.readouterr()
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert captured.err == "".join(f"planner: written to {folder / name}\n" for name in FILES)
    command = shlex.split(captured.out)
    assert command == ["planner", "solve", str(folder / "graph.yaml"), str(folder / "cluster.yaml")]
    plan = tmp_path / "plan.json"
    assert main([*command[1:], "-o", str(plan), "--quiet", "--time-limit", "20"]) == 0
    assert read_plan(plan).status == "optimal"


def test_here_without_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--quiet"]) == 0
    assert capsys.readouterr() == ("planner solve graph.yaml cluster.yaml\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES


def test_every_kind_of_entry_is_shown(tmp_path: Path) -> None:
    """A block, pass times and work; with the cluster's rates the work takes as long as the times."""
    main(["init", str(tmp_path), "--quiet"])
    graph, cluster = read_graph(tmp_path / "graph.yaml"), read_cluster(tmp_path / "cluster.yaml")
    problem = Problem(graph, cluster, graph.microbatches)
    assert [operator.name for operator in graph.operators] == [
        *("embed", "layer.0.attention", "layer.0.mlp", "layer.1.attention", "layer.1.mlp", "head")
    ]
    assert all(operator.times.keys() == set(PASS_ORDER) for operator in graph.operators)
    assert problem.duration.ravel().tolist() == pytest.approx([1e-3] * problem.duration.size)
    assert problem.transfer(0, 0, 1) > 0


@pytest.mark.parametrize("there", NAMES)
def test_nothing_is_overwritten(there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file in the way: neither is written, until --force."""
    (tmp_path / there).write_text("mine", encoding="utf-8")
    assert main(["init", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert there in captured.err
    assert "--force" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text(encoding="utf-8") == "mine"
    assert main(["init", str(tmp_path), "--force"]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == FILES


def test_a_folder_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["init", str(wrong)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
