"""``planner simulate``: tables, JSON, baselines with and without graph and cluster, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from random_plans import plan_of
from solver_problems import CONFIGS, config

from planner.baselines import baseline_timetable
from planner.commands.app import main
from planner.plan.plan import BaselineFigures, plan_to_json

GRAPH, CLUSTER = (str(CONFIGS / "dualpipe-4x8" / f"{name}.yaml") for name in ("graph", "cluster"))
INPUTS = ["--graph", GRAPH, "--cluster", CLUSTER]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The plan of ZB1P as if solved, naming three baselines."""
    monkeypatch.chdir(tmp_path)
    problem = config("dualpipe-4x8", copies=2)
    made = plan_of(problem, baseline_timetable("zb1p", problem))
    rows = (
        BaselineFigures("1f1b", 33.0, 0.25, 0.25, 4.0, 1, True),
        BaselineFigures("dualpipe", 26.0, 0.1, 0.1, 4.0, 2, True),
        BaselineFigures("zbv", reason="ZB-V needs more"),
    )
    Path("plan.json").write_text(plan_to_json(replace(made, baselines=rows)), encoding="utf-8")
    return "plan.json"


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["simulate", *arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_from_the_plan_alone(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Baselines with their planned makespan only; the table says how to get more."""
    found = document(capsys, plan, "--runs", "50")
    assert found["schema"] == "planner/simulation@1" and found["exact"] is False
    assert [row["name"] for row in found["plans"]] == ["this plan", "1f1b", "dualpipe"]
    first = found["plans"][0]
    assert first["best"] <= first["p5"] <= first["p50"] <= first["p95"] <= first["p99"] <= first["worst"]
    assert first["slowdown"] == pytest.approx(first["mean"] / first["planned"])
    assert found["plans"][1]["planned"] == 33.0 and "mean" not in found["plans"][1]
    assert 0 <= found["plans"][2]["plan_beyond_it"] <= 1
    assert main(["simulate", plan, "--runs", "50"]) == 0
    text = capsys.readouterr().out
    assert "50 runs, seed 0" in text and "1f1b" in text
    words = " ".join(text.split())
    assert "Without graph and cluster the plan does not say what a pass reads" in words
    assert "the plan names only the planned makespan of these baselines" in words and "sends late" not in words
    assert main(["simulate", plan, "--runs", "50", "--baselines", "none"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "--graph GRAPH and --cluster CLUSTER make it exact" in words and "baseline" not in words
    assert main(["simulate", plan, *INPUTS[:2]]) == 2
    assert "--cluster CLUSTER is missing" in capsys.readouterr().err


def test_baselines_are_replayed_with_graph_and_cluster(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, plan, *INPUTS, "--runs", "200", "--jitter", "20%")
    rows = {row["name"]: row for row in found["plans"]}
    assert found["exact"] is True and set(rows) == {"this plan", "1f1b", "dualpipe"}
    assert rows["1f1b"]["mean"] > rows["1f1b"]["planned"]
    assert rows["1f1b"]["plan_faster"] > 0.9
    assert document(capsys, plan, *INPUTS, "--runs", "200", "--jitter", "20%") == found
    named = document(capsys, plan, *INPUTS, "--runs", "5", "--baselines", "gpipe")
    assert [row["name"] for row in named["plans"]] == ["this plan", "gpipe"]


def test_plans_given_as_further_arguments(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A baseline's own file stands for it; without disturbance every figure is the planned makespan."""
    assert main(["baseline", "dualpipe", GRAPH, CLUSTER, "-o", "dual.json", "--quiet"]) == 0
    capsys.readouterr()
    found = document(capsys, plan, "dual.json", "--jitter", "0", "--runs", "3")
    assert [row["name"] for row in found["plans"]] == ["this plan", "dualpipe", "1f1b"]
    for row in found["plans"][:2]:
        assert row["planned"] == row["best"] == row["worst"] == pytest.approx(row["mean"])


def test_slow_flags_add_up(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    slow = ["--slow-device", "gpu0=2", "--slow-link", "gpu0:*=3", "--jitter", "0", "--runs", "1"]
    found = document(capsys, plan, *slow)
    assert found["slow_devices"] == {"gpu0": 2.0} and found["slow_links"] == [{"from": "gpu0", "to": "*", "factor": 3}]
    assert found["plans"][0]["worst"] > 1.5 * found["plans"][0]["planned"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--jitter", "-1"],
        ["--jitter", "2"],
        ["--jitter", "much"],
        ["--runs", "0"],
        ["--seed", "-1"],
        ["--slow-device", "gpu9=2"],
        ["--slow-device", "gpu0"],
        ["--slow-device", "gpu0=0"],
        ["--slow-device", "gpu0=nan"],
        ["--slow-device", "gpu0=inf"],
        ["--slow-link", "gpu0=2"],
        ["--slow-link", "gpu0:gpu9=2"],
        ["--graph", GRAPH],
        ["--baselines", "2f2b"],
        ["missing.json"],
        ["other.json"],
        ["--graph", str(CONFIGS / "dualpipe-8x20" / "graph.yaml"), "--cluster", CLUSTER],
    ],
)
def test_refused(arguments: list[str], plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one line, whatever is wrong with flags or files."""
    other = json.loads(Path(plan).read_text(encoding="utf-8"))
    other["graph"]["sha256"] = "0" * 64
    Path("other.json").write_text(json.dumps(other), encoding="utf-8")
    assert main(["simulate", plan, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("planner: ") and captured.err.count("\n") == 1


def test_times_that_make_no_sense(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    broken = json.loads(Path(plan).read_text(encoding="utf-8"))
    broken["tasks"][3]["end"] = broken["tasks"][3]["start"] - 1
    Path("broken.json").write_text(json.dumps(broken), encoding="utf-8")
    assert main(["simulate", "broken.json"]) == 2
    assert "tasks[3]" in capsys.readouterr().err
