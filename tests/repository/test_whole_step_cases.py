"""The bench of whole steps: its goals compare what was measured, its page shows it, its graphs are what they claim."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from case_studies.whole_graphs import CHOSEN, graph_for
from case_studies.whole_listed import (
    BEGUN,
    CAPS,
    OURS,
    Goal,
    against_baselines,
    against_uniform,
    all_valid,
    below,
    best_baseline,
    best_uniform,
    both_with_additions,
    cases,
    frontier,
    gap_as_without,
    gap_at_most,
)
from case_studies.whole_page import frontier_points, page, text
from case_studies.whole_plot import plot
from planner.files import read_graph

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ROOT / "configs" / "deepseek-v3-h800-whole" / "graph.yaml"


def run(makespan: float, gap: float, verified: bool = True, **more: object) -> dict[str, object]:
    plan = {"makespan": makespan, "lower_bound": makespan * (1 - gap), "gap": gap, "peak_memory": 2**30, "copies": 2}
    plan |= {"versions": {"layer.*.mlp": {"base": 3, "recompute": 5}}, "tasks": 10, "step_tasks": 3, "exchanges": 2}
    plan |= {"last_microbatch": makespan - 0.5, "exchange_seconds": 0.25}
    return {"plan": plan | more, "verified": verified, "limit": 60.0, "wall_seconds": 60.5, "peak_rss": 2e8} | {
        "machine": "a machine"
    }


ROW = {
    "runs": {OURS: run(3.0, 0.2), "base": run(4.0, 0.2), "recompute": run(3.0, 0.1), "fused": run(1.0, 0.1, False)},
    "baselines": [
        {"name": "zb2p", "choice": "base", "makespan": 2.0, "fits": False},
        {"name": "1f1b", "choice": "recompute", "makespan": 3.5, "fits": True},
        {"name": "dualpipe", "choice": "base", "makespan": 3.25, "fits": True},
    ],
    "plans": {"dualpipe": run(3.25, 0.2) | {"choice": "base", "without_exchanges": 3.125}},
}


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (against_uniform(equal=True), True),  # a plan that is not valid is none
        (against_uniform(equal=False), False),
        (against_baselines(), True),  # what does not fit is no rival
        (against_baselines("zb2p"), None),
        (below(3.1), True),
        (below(3.0), False),
        (gap_at_most(0.2), True),
        (gap_at_most(0.19), False),
        (gap_as_without(), True),
        (all_valid(), False),
        (both_with_additions("dualpipe"), True),
        (both_with_additions("1f1b"), None),
    ],
)
def test_goals(goal: Goal, reached: bool | None) -> None:
    assert goal.reached(ROW) is reached
    assert goal.reached({}) is None


def test_a_plan_of_two_copies_without_exchanges_lacks_an_addition() -> None:
    bare = {**ROW, "runs": {**ROW["runs"], OURS: run(3.0, 0.2, exchanges=0)}}
    single = {**ROW, "runs": {**ROW["runs"], OURS: run(3.0, 0.2, exchanges=0, copies=1)}}
    assert both_with_additions("dualpipe").reached(bare) is False
    assert both_with_additions("dualpipe").reached(single) is True


def test_the_best_uniform_choice_and_the_best_baseline() -> None:
    assert best_uniform(ROW) == ("recompute", 3.0)
    found = best_baseline(ROW), best_baseline(ROW, choice="recompute"), best_baseline(ROW, "zb2p")
    assert [None if each is None else each["name"] for each in found] == ["dualpipe", "1f1b", None]


def test_the_page_shows_choices_goals_and_what_was_not_run() -> None:
    rows = {"32 layers, two copies": ROW, "32 layers, 48 GiB": {**ROW, "runs": {OURS: {**ROW["runs"][OURS]}}}}
    shown = page({"rows": rows}, cases(), "picture.svg")
    line = "| 3 s | 2.4 s | 20.00% | 1 GiB | 60.5 | 3 s recompute | - | 3.25 s dualpipe |"
    assert f"| 32 layers, two copies {line}" in shown
    assert "| 32 layers, two copies | layer.\\*.mlp: 5 recompute, 3 base |" in shown
    assert "| 32 layers, two copies | all plans valid | **no** (4 of 5) |" in shown
    assert "| 32 layers, two copies | recompute | 3 s | 2.7 s | 10.00% | 1 GiB | 60.5 | 3.5 s 1f1b |" in shown
    assert "| dualpipe | base | 3.25 s | 3.125 s | 2 | 250 ms (2) | 500 ms | 1 GiB |" in shown
    assert "![Makespan over the cap of memory](picture.svg)" in shown and "| 48 GiB | 3 s | - |" in shown
    assert "Not run: 61 layers, whole step; 61 layers, no step tasks; 32 layers, 56 GiB; " in shown
    assert "layer.*.mlp: 5 recompute" in text({"rows": rows}, cases())


def test_a_run_that_began_with_the_best_uniform_plan_stands_beside_it() -> None:
    """It is no uniform choice itself, and has a goal, a column and a command of its own."""
    row = {**ROW, "runs": {**ROW["runs"], BEGUN: run(2.5, 0.2)}}
    assert best_uniform(row) == ("recompute", 3.0)
    assert against_uniform(equal=True, choice=BEGUN).reached(row) is True
    assert against_uniform(equal=True, choice=BEGUN).reached(ROW) is None
    shown = page({"rows": {"32 layers, 48 GiB": row}}, cases(), "picture.svg")
    line = "| 3 s | 2.4 s | 20.00% | 1 GiB | 60.5 | 3 s recompute | 2.5 s | 3.25 s dualpipe |"
    assert f"| 32 layers, 48 GiB {line}" in shown
    assert "any uniform choice, begun with it | yes (2.5 s, 3 s recompute) |" in shown
    assert "`deepseek-v3-h800-whole --memory-cap 48GiB --variants all --time-limit 60 --start PLAN`" in shown
    assert frontier_points({"rows": {"32 layers, 48 GiB": row}}, cases())["planner"] == [(48.0, 2.5)]


def test_the_picture_has_a_line_for_each_choice() -> None:
    rows = {case.name: {**ROW, "runs": {**ROW["runs"], OURS: run(3.0 - case.cap / 100, 0.2)}} for case in cases()[2:6]}
    points = frontier_points({"rows": rows}, cases())
    assert [cap for cap, _ in points["planner"]] == list(CAPS)
    assert list(points) == ["best baseline", "uniform: base", "uniform: recompute", "bound", "planner"]
    drawn = plot(points, "caps & seconds")
    assert drawn.count("stroke-width='3'") == 1 and drawn.count("stroke-dasharray") == 1 and "caps &amp; sec" in drawn
    assert plot({}, "nothing").endswith("</svg>\n")


def test_a_graph_without_step_tasks_and_one_with_a_choice_by_kind(tmp_path: Path) -> None:
    assert graph_for(LAYERS, True, {}, tmp_path / "none.yaml") == LAYERS
    whole = read_graph(LAYERS)
    bare = read_graph(graph_for(LAYERS, False, {}, tmp_path / "bare.yaml"))
    assert not bare.clip_gradients and not any(operator.step for operator in bare.operators)
    assert [o.variants for o in bare.operators] == [o.variants for o in whole.operators]
    chosen = read_graph(graph_for(LAYERS, True, {"attention": "recompute"}, tmp_path / "chosen.yaml"))
    for ours, theirs in zip(chosen.operators, whole.operators, strict=True):
        assert (ours.times, ours.step, ours.gradient) == (theirs.times, theirs.step, theirs.gradient)
        if ours.name.endswith("attention"):
            assert [v.name for v in ours.variants] == [CHOSEN]
            assert ours.variants[0].activation == theirs.variants[0].activation
        else:
            assert not ours.variants


def test_every_case_names_a_config_its_choices_and_goals() -> None:
    assert len({case.name for case in cases()}) == len(cases())
    assert [case.cap for case in cases() if frontier(case)] == list(CAPS)
    for case in cases():
        graph = read_graph(ROOT / "configs" / case.config / "graph.yaml")
        names = {name for operator in graph.operators for name in operator.versions}
        assert case.goals and {choice.name for choice in case.choices if not choice.kinds} == names
        kinds = {(o.name.split(".")[-1], name) for o in graph.operators for name in o.versions}
        assert all(set(choice.kinds.items()) <= kinds for choice in case.choices)


def test_the_script_runs_a_case_keeps_it_and_leaves_out_what_is_there(tmp_path: Path) -> None:
    kept, shown = tmp_path / "rows.json", tmp_path / "steps.md"
    script = [sys.executable, str(ROOT / "scripts" / "whole_step_cases.py"), "--json", str(kept), "--page", str(shown)]
    flags = ["--only", "piper*", "--seconds", "1"]
    done = subprocess.run([*script, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    row = json.loads(kept.read_text(encoding="utf-8"))["rows"]["piper, bert32"]
    assert set(row["runs"]) == {"all", "base", "recompute"} and all(each["verified"] for each in row["runs"].values())
    assert {b["choice"] for b in row["baselines"]} == {"base", "recompute"} and len(row["plans"]) == 1
    assert "| piper, bert32 |" in shown.read_text(encoding="utf-8") and shown.with_suffix(".svg").is_file()
    before = kept.read_bytes()
    again = subprocess.run([*script, *flags, "--missing"], capture_output=True, text=True, check=False)
    assert again.returncode == 0 and kept.read_bytes() == before and "..." not in again.stderr
