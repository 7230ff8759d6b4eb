"""``planner stretch``: plans with a window for any larger number of microbatches, and what has no window."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from solver_problems import CONFIGS

from planner.commands.app import main
from planner.files.plan_file import read_plan
from planner.plan.plan import Figure, Plan, PlanWindow, plan_to_json

DUALPIPE = CONFIGS / "dualpipe-4x8"


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The plan of DualPipe's problem on 4 devices with 14 microbatches: 3 x 14 + 1 s, proven."""
    path = tmp_path_factory.mktemp("solved") / "plan.json"
    flags = ["--copies", "2", "--microbatches", "14", "--baselines", "none", "--quiet", "-o", str(path)]
    assert main(["solve", *files(), *flags]) == 0
    return read_plan(path)


def files(config: Path = DUALPIPE) -> list[str]:
    return [str(config / "graph.yaml"), str(config / "cluster.yaml")]


def inputs(config: Path = DUALPIPE) -> list[str]:
    graph, cluster = files(config)
    return ["--graph", graph, "--cluster", cluster]


def written(path: Path, plan: Plan, **changes: Any) -> str:
    path.write_text(plan_to_json(replace(plan, **changes)), encoding="utf-8")
    return str(path)


def stretch(plan: str, microbatches: int, *more: str, config: Path = DUALPIPE) -> int:
    return main(["stretch", plan, *inputs(config), "--microbatches", str(microbatches), *more])


def test_solve_names_the_window(solved: Plan) -> None:
    """One microbatch of each copy every 6 s, once the pipeline is full."""
    assert solved.window is not None
    assert (solved.window.length, solved.window.microbatches) == (6.0, 2)


@pytest.mark.parametrize("microbatches", [14, 16, 40, 200])
def test_any_larger_number(microbatches: int, solved: Plan, tmp_path: Path) -> None:
    """As short as the bound for that number of microbatches, valid, and stretched again it is the same."""
    source, target = written(tmp_path / "plan.json", solved), str(tmp_path / "longer.json")
    assert stretch(source, microbatches, "-o", target, "--quiet") == 0
    plan = read_plan(target)
    assert main(["verify", target, *inputs()]) == 0
    assert (plan.makespan, plan.lower_bound, plan.status) == (3 * microbatches + 1, 3 * microbatches + 1, "optimal")
    assert (plan.microbatches, plan.options["microbatches"], plan.origin) == (microbatches, microbatches, "solve")
    assert plan.notes[0] == "stretched from 14 microbatches"
    assert plan.window == solved.window
    assert max(d.peak_memory for d in plan.devices) == max(d.peak_memory for d in solved.devices)
    again = str(tmp_path / "again.json")
    assert stretch(target, microbatches + 4, "-o", again, "--quiet") == 0
    assert read_plan(again).makespan == 3 * microbatches + 13


def test_plan_of_old_has_a_window_looked_for(solved: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without the key; the document on stdout is the plan, and nothing else."""
    raw = json.loads(plan_to_json(solved))
    del raw["window"], raw["memory_lower_bound"]
    source = tmp_path / "plan.json"
    source.write_text(json.dumps(raw), encoding="utf-8")
    assert stretch(str(source), 18, "--format", "json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["makespan"], found["window"]["length"], captured.err) == (55.0, 6.0, "")


@pytest.mark.parametrize(
    ("name", "config"), [("1f1b", "mixed-cluster"), ("v-half", "deepseek-v3-h800"), ("dualpipe", "dualpipe-8x20")]
)
def test_baselines(name: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With transfers, memory and uneven stages: valid, within the bounds, as long as the schedule of so many is."""
    at, source, target = CONFIGS / config, str(tmp_path / "plan.json"), str(tmp_path / "longer.json")
    for path, microbatches in ((target, "36"), (source, "24")):
        assert main(["baseline", name, *files(at), "--microbatches", microbatches, "-o", path, "--quiet"]) == 0
    published = read_plan(target)
    assert stretch(source, 36, "-o", target, "--quiet", config=at) == 0
    plan = read_plan(target)
    assert main(["verify", target, *inputs(at)]) == 0
    assert (plan.origin, plan.status) == (f"baseline:{name}", "feasible")
    assert plan.makespan == pytest.approx(published.makespan, rel=1e-9)
    assert plan.lower_bound is not None and plan.lower_bound <= plan.makespan


def test_report(solved: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The window in one line; the note and the line of ``--quiet`` as ``solve`` has them."""
    source, target = written(tmp_path / "plan.json", solved), str(tmp_path / "longer.json")
    assert stretch(source, 16, "-o", target) == 0
    captured = capsys.readouterr()
    (line,) = (line for line in captured.out.splitlines() if line.startswith("steady state"))
    assert "every 6 s, 2 microbatches" in line and captured.err == f"planner: plan written to {target}\n"
    assert stretch(source, 16, "--quiet") == 0
    assert capsys.readouterr().out.startswith("solve: makespan 49 s, optimal")


def test_least_memory_stays(solved: Plan, tmp_path: Path) -> None:
    """Where memory is the objective every start stays, and the bound of memory, proven for another number, goes."""
    source, target = tmp_path / "plan.json", tmp_path / "longer.json"
    options = {**solved.options, "objective": "memory", "max_makespan": 50.0}
    figures = (Figure("memory", None, 1.0),)
    changes = {"objective": "memory", "options": options, "figures": figures, "status": "feasible"}
    assert stretch(written(source, solved, **changes), 20, "-o", str(target), "--quiet") == 0
    plan = read_plan(target)
    assert main(["verify", str(target), *inputs()]) == 0
    assert (plan.objective, plan.status, plan.figures) == ("memory", "feasible", ())
    assert plan.options["max_makespan"] is None
    assert [d.peak_memory for d in plan.devices] == [d.peak_memory for d in solved.devices]


@pytest.mark.parametrize(
    ("microbatches", "words"),
    [(12, "is not cut short"), (19, "the nearest are 18 and 20"), (10**9, "at most"), (0, "--microbatches")],
)
def test_numbers_that_cannot_be(
    microbatches: int, words: str, solved: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stretch(written(tmp_path / "plan.json", solved), microbatches, "-o", str(tmp_path / "longer.json")) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "longer.json").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"window": PlanWindow(15.0, 7.0, 2)}, "window: cannot be repeated"),
        ({"window": PlanWindow(0.0, 6.0, 2)}, "window: cannot be repeated"),
        ({"window": PlanWindow(15.0, 6.0, 1)}, "window: cannot be repeated"),
        ({"window": PlanWindow(15.0, 12.0, 2)}, "window: cannot be repeated"),
        ({"tasks": ()}, "is no valid plan"),
        ({"makespan": 44.0}, "is no valid plan"),
        ({"options": {"copies": 1, "microbatches": 14}}, "is no valid plan"),
        ({"options": {"copies": 2, "microbatches": 14, "layout": "circle"}}, "options.layout"),
        ({"options": {"copies": 2, "microbatches": 14, "chunks": 0}}, "options.chunks"),
    ],
)
def test_plans_that_are_wrong(
    changes: dict[str, Any], words: str, solved: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the file and what is wrong with it, and no output."""
    source = written(tmp_path / "plan.json", solved, **changes)
    assert stretch(source, 24, "-o", str(tmp_path / "longer.json")) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"planner: {source}:") and words in captured.err
    assert captured.err.count("\n") == 1 and not (tmp_path / "longer.json").exists()


def test_no_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GPipe runs all forward passes first: there is nothing to repeat."""
    path = str(tmp_path / "plan.json")
    assert main(["baseline", "gpipe", *files(CONFIGS / "mixed-cluster"), "--microbatches", "2", "-o", path]) == 0
    capsys.readouterr()
    assert read_plan(path).window is None
    assert stretch(path, 20, config=CONFIGS / "mixed-cluster") == 4
    captured = capsys.readouterr()
    assert captured.out == "" and "no steady-state pattern" in captured.err
    assert "planner baseline gpipe --microbatches 20 makes the longer plan" in captured.err


def test_a_plan_without_a_window_says_what_to_do(
    solved: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("planner.commands.stretch.pattern_of", lambda *_: None)
    assert stretch(written(tmp_path / "plan.json", solved, window=None), 20) == 4
    assert "planner solve --microbatches 20 plans anew" in (said := capsys.readouterr().err)
    assert "takes more than 14 microbatches, or --objective period" in said and said.count("\n") == 1


def test_inputs_are_not_overwritten(solved: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "plan.json", solved)
    assert stretch(source, 16, "-o", source) == 2
    assert stretch(source, 16, "-o", files()[0]) == 2
    assert stretch(source, 16, "-o", str(tmp_path / "none" / "plan.json")) == 2
    assert read_plan(source) == solved and capsys.readouterr().err.count("\n") == 3


STEPS = """
schema: planner/graph@1
name: whole
microbatches: 12
clip_gradients: true
operators:
  - {name: a, time: {forward: 1, input_grad: 1, weight_grad: 1}, parameters: 1, activation: 1, output: 1,
     step: {reduce: 2, update: 1, gather: 2},
     variants: [{name: lean, time: {input_grad: 3, weight_grad: null}, activation: 0.5}]}
  - {name: b, inputs: [a], time: {forward: 1, input_grad: 1, weight_grad: 1}, parameters: 1, activation: 1,
     step: {reduce: 2, update: 1, gather: 2}}
"""
TWO = """
schema: planner/cluster@1
device_types: {g: {}}
devices: [{name: g, type: g, count: 2}]
"""


@pytest.mark.parametrize("variant", ["base", "lean"])
def test_step_tasks_stay_at_the_end(variant: str, tmp_path: Path) -> None:
    """However often the pattern runs, they come as long after the last microbatch as before."""
    graph, cluster = tmp_path / "graph.yaml", tmp_path / "cluster.yaml"
    graph.write_text(STEPS, encoding="utf-8")
    cluster.write_text(TWO, encoding="utf-8")
    given = [str(graph), str(cluster)]
    here = ["--graph", str(graph), "--cluster", str(cluster)]
    short, long = str(tmp_path / "short.json"), str(tmp_path / "long.json")
    assert main(["baseline", "1f1b", *given, "--variant", variant, "--quiet", "-o", short]) == 0
    assert main(["stretch", short, *here, "--microbatches", "36", "-o", long, "--quiet"]) == 0
    assert main(["verify", long, *here]) == 0
    before, after = read_plan(short), read_plan(long)
    more = after.makespan - before.makespan
    assert more > 0 and len(after.step_tasks) == len(before.step_tasks) == 6
    assert sorted(t.start + more for t in before.step_tasks) == pytest.approx(sorted(t.start for t in after.step_tasks))
