"""``planner export --to torch-csv``: files, messages and exit codes, and what the page of it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from export_samples import cells, renumbered, run_csv

from planner.commands.app import main
from planner.files.plan_file import read_plan
from planner.plan.plan import plan_to_json

PAGE = Path(__file__).parents[2] / "docs" / "export-torch.md"
GRAPH = """
schema: planner/graph@1
name: four
microbatches: 4
operators:
  - {name: a, time: {forward: 1}, parameters: 1}
  - {name: b, time: {forward: 1}, parameters: 1, inputs: [a]}
  - {name: c, time: {forward: 2}, parameters: 1, inputs: [b]}
  - {name: d, time: {forward: 1}, parameters: 1, inputs: [c]}
"""
CLUSTER = """
schema: planner/cluster@1
name: pair
device_types: {small: {}}
devices: [{name: gpu, type: small, count: 2}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a graph, a cluster and the plan of 1F1B."""
    monkeypatch.chdir(tmp_path)
    Path("graph.yaml").write_text(GRAPH, encoding="utf-8")
    Path("cluster.yaml").write_text(CLUSTER, encoding="utf-8")
    assert main(["baseline", "1f1b", "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet"]) == 0
    return tmp_path


FILES = ["--graph", "graph.yaml", "--cluster", "cluster.yaml"]


def test_the_command_writes_both_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["export", "plan.json", "--to", "torch-csv", *FILES, "-o", "order.csv"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "2 stages on 2 ranks, 4 microbatches; 8 full backward passes, 0 in two halves" in err
    assert "as planned" in err
    run_csv(cells((folder / "order.csv").read_text()), 2, 4)
    document = json.loads((folder / "order.csv.partition.json").read_text())
    assert [rank["device"] for rank in document["ranks"]] == ["gpu0", "gpu1"]
    assert main(["export", "plan.json", "--to", "torch-csv", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out == (folder / "order.csv").read_text()
    assert err == ""


def test_the_command_refuses_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = read_plan(folder / "plan.json")
    (folder / "shuffled.json").write_text(plan_to_json(renumbered(plan, [1, 0, 2, 3])), encoding="utf-8")
    capsys.readouterr()
    assert main(["export", "shuffled.json", "--to", "torch-csv", "-o", "order.csv"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--repair" in err
    assert not (folder / "order.csv").exists()
    assert main(["export", "shuffled.json", "--to", "torch-csv", "-o", "order.csv", "--repair"]) == 0
    assert (folder / "order.csv").exists()


@pytest.mark.parametrize(
    ("graph", "flags", "message"),
    [
        (GRAPH, FILES[:2], "--graph and --cluster go together"),
        (GRAPH.replace("forward: 2", "forward: 3"), FILES, "is no valid plan of graph.yaml and cluster.yaml"),
        (GRAPH.replace("name: d", "name: e"), FILES, "is no valid plan of graph.yaml and cluster.yaml"),
    ],
)
def test_files_that_the_plan_is_not_for(
    folder: Path, capsys: pytest.CaptureFixture[str], graph: str, flags: list[str], message: str
) -> None:
    (folder / "graph.yaml").write_text(graph, encoding="utf-8")
    capsys.readouterr()
    assert main(["export", "plan.json", "--to", "torch-csv", *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        {"tasks": []},
        {"placement": []},
        {"tasks": -1},
        {"devices": []},
        {"microbatches": 3},
        {"microbatches": 9},
        {"microbatches": 10**9},
    ],
    ids=str,
)
def test_damaged_plans_end_in_a_message(
    folder: Path, capsys: pytest.CaptureFixture[str], damage: dict[str, object]
) -> None:
    document = json.loads((folder / "plan.json").read_text())
    for key, value in damage.items():
        document[key] = document[key][:-1] if value == -1 else value
    (folder / "damaged.json").write_text(json.dumps(document), encoding="utf-8")
    capsys.readouterr()
    assert main(["export", "damaged.json", "--to", "torch-csv"]) == 2
    err = capsys.readouterr().err
    assert "internal" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("to", "flags", "message"),
    [
        ("torch-csv", ["--layers", "t=a"], "--layers goes with --to megatron or megatron-bridge or torchtitan"),
        (
            "torch-csv",
            ["--recompute", "full=a"],
            "--recompute goes with --to megatron or megatron-bridge or torchtitan",
        ),
        ("trace", ["--repair"], "--repair goes with --to torch-csv or megatron or megatron-bridge or torchtitan, not"),
    ],
)
def test_flags_of_other_formats(
    folder: Path, capsys: pytest.CaptureFixture[str], to: str, flags: list[str], message: str
) -> None:
    assert main(["export", "plan.json", "--to", to, *flags]) == 2
    assert message in capsys.readouterr().err


def test_the_page_shows_what_the_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    graph, cluster = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[:2]
    Path("graph.yaml").write_text(graph, encoding="utf-8")
    Path("cluster.yaml").write_text(cluster, encoding="utf-8")
    assert main(["baseline", "zbv", "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["export", "plan.json", "--to", "torch-csv", *FILES, "-o", "order.csv"]) == 0
    assert f"```\n{Path('order.csv').read_text()}```" in page
    assert f"```\n{capsys.readouterr().err}```" in page
    plan = read_plan(Path("plan.json"))
    Path("shuffled.json").write_text(plan_to_json(renumbered(plan, [1, 0, 2, 3])), encoding="utf-8")
    assert main(["export", "shuffled.json", "--to", "torch-csv"]) == 2
    said = capsys.readouterr().err.replace("shuffled.json", "plan.json").strip()
    assert said in page.replace("\n", " ")
